-- Put a workflow into the registry and tell everyone.
-- KEYS 1 registry  2 version
-- ARGV 1 namespace/name  2 record  3 channel
-- Reply  {now, registry version}
local now = now_ms()
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local version = redis.call('INCR', KEYS[2])
redis.call('PUBLISH', ARGV[3], version)
return {now, version}
