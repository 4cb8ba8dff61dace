-- Make a due entry due again at another time, and count how often that happened.
-- KEYS 1 due  2 tries
-- ARGV 1 member  2 delay ms
-- Reply  {now, how often, or -1 if the entry is gone}
local now = now_ms()
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return {now, -1}
end
redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), ARGV[1])
return {now, redis.call('HINCRBY', KEYS[2], ARGV[1], 1)}
