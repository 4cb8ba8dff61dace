-- Remove a due entry of a run if nothing was committed since; else make it due now.
-- KEYS 1 due  2 tries  3 head
-- ARGV 1 member  2 version that the entry was acted on
-- Reply  {now, 1 if it was removed}
local now = now_ms()
local version = redis.call('HGET', KEYS[3], 'v')
if version and version ~= ARGV[2] then
  redis.call('ZADD', KEYS[1], 'XX', now, ARGV[1])
  return {now, 0}
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return {now, 1}
