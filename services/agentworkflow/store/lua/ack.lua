-- Remove due entries that are done.
-- KEYS 1 due  2 tries
-- ARGV members
-- Reply  {now, how many were there}
local now = now_ms()
feed('HDEL', KEYS[2], 1, #ARGV)
local before = redis.call('ZCARD', KEYS[1])
feed('ZREM', KEYS[1], 1, #ARGV)
return {now, before - redis.call('ZCARD', KEYS[1])}
