-- Forget a user's event: it is published, or kept as a dead letter.
-- KEYS 1 event  2 due  3 tries
-- ARGV 1 member
-- Reply  {now, 1 if it was there}
local now = now_ms()
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return {now, redis.call('UNLINK', KEYS[1])}
