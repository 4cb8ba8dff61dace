-- Keep a user's event until it is published.
-- KEYS 1 event  2 due
-- ARGV 1 member  2 event  3 delay ms
-- Reply  {now, 1 if it is new}
local now = now_ms()
if not redis.call('SET', KEYS[1], ARGV[2], 'NX') then
  return {now, 0}
end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), ARGV[1])
return {now, 1}
