-- Forget a dead letter: it was sent again, or dropped.
-- KEYS 1 letters  2 order
-- ARGV 1 id
-- Reply  {now, 1 if it was there}
local now = now_ms()
redis.call('ZREM', KEYS[2], ARGV[1])
return {now, redis.call('HDEL', KEYS[1], ARGV[1])}
