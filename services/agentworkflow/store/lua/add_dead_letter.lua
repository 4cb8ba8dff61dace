-- Keep an event that could not be delivered.
-- KEYS 1 letters  2 order
-- ARGV 1 id  2 letter  3 ms
-- Reply  {now, 1 if it is new}
local now = now_ms()
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return {now, 0}
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return {now, 1}
