-- Remove a run that has ended, with everything that only it used.
-- KEYS 1 head  2 log  3 due  4 tries  5 blobs  6 tombstone  7 definition  8 active  9 finished
--      10 workflows   with a session: 11 runs of the session
-- ARGV 1 run  2 tombstone's time to live, ms (0: none)  3 workflow
-- Reply  {now, 'purged'|'gone'|'active'}
local now = now_ms()
local run = ARGV[1]
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[3], 'purge|' .. run)
  return {now, 'gone'}
end
if redis.call('HEXISTS', KEYS[1], 'done') == 0 then
  return {now, 'active'}
end
-- Removing comes first: a server out of memory allows it, and then the rest.
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[5])
local entries = {'purge|' .. run, 'hook|' .. run, 'start|' .. run, 'timer|' .. run .. '|deadline'}
redis.call('ZREM', KEYS[3], unpack(entries))
redis.call('HDEL', KEYS[4], unpack(entries))
redis.call('ZREM', KEYS[8], run)
redis.call('ZREM', KEYS[9], run)
if redis.call('EXISTS', KEYS[8], KEYS[9]) == 0 then
  redis.call('SREM', KEYS[10], ARGV[3])
end
if KEYS[11] then
  redis.call('ZREM', KEYS[11], run)
end
if redis.call('HINCRBY', KEYS[7], 'runs', -1) <= 0 then
  redis.call('UNLINK', KEYS[7])
end
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[6], '1', 'PX', ARGV[2])
end
return {now, 'purged'}
