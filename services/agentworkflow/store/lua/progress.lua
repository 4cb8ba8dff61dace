-- Append a progress entry, which no fold reads, while the attempt that reports it is running.
-- KEYS 1 head  2 log
-- ARGV 1 run  2 field of the step or item  3 attempt  4 its state ('' is any)  5 entry  6 channel
-- Reply  {now, appended}
local now = now_ms()
local head = redis.call('HMGET', KEYS[1], 'v', 'p', 'done', ARGV[2])
if not head[1] or head[3] or not head[4] then
  return {now, 0}
end
local slot = cjson.decode(head[4])
if slot.n ~= tonumber(ARGV[3]) or (ARGV[4] ~= '' and slot.st ~= ARGV[4]) then
  return {now, 0}
end
local count = tonumber(head[2] or 0) + 1
redis.call('XADD', KEYS[2], head[1] .. '-' .. count, 'e', ARGV[5])
redis.call('HSET', KEYS[1], 'p', count)
redis.call('PUBLISH', ARGV[6], ARGV[1])
return {now, 1}
