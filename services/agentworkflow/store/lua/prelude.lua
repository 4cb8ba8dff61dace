-- Put before every script. A reply starts with the server's time, so that each answer also sets
-- the caller's clock.

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Give ARGV[first..last] to one command, in even pieces: Lua's stack does not hold 20,000 of them.
local function feed(command, key, first, last)
  while first <= last do
    local stop = math.min(first + 999, last)
    redis.call(command, key, unpack(ARGV, first, stop))
    first = stop + 1
  end
end
