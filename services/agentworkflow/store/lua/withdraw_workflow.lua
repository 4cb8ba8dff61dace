-- Take a workflow out of the registry and tell everyone.
-- KEYS 1 registry  2 version
-- ARGV 1 namespace/name  2 channel
-- Reply  {now, 1 if it was there}
local now = now_ms()
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
  return {now, 0}
end
redis.call('PUBLISH', ARGV[2], redis.call('INCR', KEYS[2]))
return {now, 1}
