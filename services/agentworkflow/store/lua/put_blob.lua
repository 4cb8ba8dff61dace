-- Keep a value of a run, unless the run is gone: nothing would ever remove it.
-- KEYS 1 head  2 blobs
-- ARGV 1 digest  2 value
-- Reply  {now, kept}
local now = now_ms()
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {now, 0}
end
redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2])
return {now, 1}
