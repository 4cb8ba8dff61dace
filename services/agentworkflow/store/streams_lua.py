"""The Lua scripts of `agentworkflow.store.streams`: each touches the keys of one broker only.

An entry of the stream has one field, ``e``.
``due`` is a sorted set of postponed entries by the time they are due, ``records`` a hash of their
bodies and states, ``holders`` a hash of who works on which of them.
"""

from typing import Final

_NOW: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

# KEYS stream · ARGV limit, body…
APPEND: Final = """
if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then return 0 end
for n = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'e', ARGV[n]) end
return 1
"""

# KEYS stream, tick · ARGV limit, tick in ms, body · -1 full, 0 fired before, 1 appended
TICK: Final = """
local last = redis.call('GET', KEYS[2])
if last and tonumber(last) >= tonumber(ARGV[2]) then return 0 end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return -1 end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('XADD', KEYS[1], '*', 'e', ARGV[3])
return 1
"""

# KEYS stream, due, records, holders · ARGV group, consumer, fresh, postponed, lease in ms
TAKE: Final = (
    _NOW
    + """
local fresh, again = {}, {}
if tonumber(ARGV[4]) > 0 then
  local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[4])
  for _, id in ipairs(ids) do
    local record = redis.call('HGET', KEYS[3], id)
    if record then
      local at = string.find(record, '\\n', 1, true)
      again[#again + 1] = {id, string.sub(record, at + 1), string.sub(record, 1, at - 1)}
      redis.call('ZADD', KEYS[2], now + ARGV[5], id)
      redis.call('HSET', KEYS[4], id, ARGV[2])
    else
      redis.call('ZREM', KEYS[2], id)
    end
  end
end
if tonumber(ARGV[3]) > 0 then
  local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3],
                          'STREAMS', KEYS[1], '>')
  if read then
    for _, entry in ipairs(read[1][2]) do fresh[#fresh + 1] = {entry[1], entry[2][2]} end
  end
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local wait = -1
if first[2] then wait = math.max(0, tonumber(first[2]) - now) end
return {fresh, again, wait, redis.call('ZCARD', KEYS[2])}
"""
)

# KEYS stream, due, records, holders
# ARGV group, number done, id…, number postponed, (id, body, state, delay in ms)…, reply…
# The id of a copy is not one of the stream, and XACK would refuse it.
SETTLE: Final = (
    _NOW
    + """
local function leave(id)
  if string.match(id, '^%d+%-%d+$') then redis.call('XACK', KEYS[1], ARGV[1], id) end
  redis.call('HDEL', KEYS[4], id)
end
local n = 2 + ARGV[2]
for i = 3, n do
  leave(ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
  redis.call('HDEL', KEYS[3], ARGV[i])
end
local postponed = tonumber(ARGV[n + 1])
n = n + 2
for _ = 1, postponed do
  local id = ARGV[n]
  leave(id)
  redis.call('HSET', KEYS[3], id, ARGV[n + 2] .. '\\n' .. ARGV[n + 1])
  redis.call('ZADD', KEYS[2], now + ARGV[n + 3], id)
  n = n + 4
end
for i = n, #ARGV do redis.call('XADD', KEYS[1], '*', 'e', ARGV[i]) end
return 1
"""
)

# KEYS stream, due, holders · ARGV group, consumer, lease in ms, id…
CLAIM: Final = (
    _NOW
    + """
for n = 4, #ARGV do
  local id = ARGV[n]
  if redis.call('HGET', KEYS[3], id) == ARGV[2] then
    redis.call('ZADD', KEYS[2], 'XX', now + ARGV[3], id)
  elseif string.match(id, '^%d+%-%d+$') then
    local mine = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
    if mine[1] then
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
    end
  end
end
return 1
"""
)

# KEYS due, holders · ARGV consumer
RELEASE: Final = (
    _NOW
    + """
local held = redis.call('HGETALL', KEYS[2])
for n = 1, #held, 2 do
  if held[n + 1] == ARGV[1] then
    redis.call('ZADD', KEYS[1], 'XX', now, held[n])
    redis.call('HDEL', KEYS[2], held[n])
  end
end
return 1
"""
)

# KEYS stream · ARGV room, group…
TRIM: Final = """
local length = redis.call('XLEN', KEYS[1])
if length == 0 then return 0 end
local served = {}
for n = 2, #ARGV do served[ARGV[n]] = true end
local function before(a, b)
  local a1, a2 = string.match(a, '(%d+)-(%d+)')
  local b1, b2 = string.match(b, '(%d+)-(%d+)')
  if a1 ~= b1 then return tonumber(a1) < tonumber(b1) end
  return tonumber(a2) < tonumber(b2)
end
local oldest = nil
local function hold(id)
  if oldest == nil or before(id, oldest) then oldest = id end
end
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for n = 1, #info, 2 do group[info[n]] = info[n + 1] end
  if served[group['name']] or length <= tonumber(ARGV[1]) then
    local pending = redis.call('XPENDING', KEYS[1], group['name'])
    if pending[1] > 0 then hold(pending[2]) end
    -- '(' makes a range exclusive: the first entry that this group has not read.
    local unread = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+',
                              'COUNT', 1)
    if unread[1] then hold(unread[1][1]) end
  end
end
if oldest == nil then return redis.call('XTRIM', KEYS[1], 'MAXLEN', 0) end
return redis.call('XTRIM', KEYS[1], 'MINID', oldest)
"""
