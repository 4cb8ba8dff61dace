-- Append what happened to a run, if it is still at the version that this was decided on.
-- KEYS 1 head  2 log  3 due  4 tries  5 blobs   if it ends: 6 active  7 finished
--      if it ends and has a session: 8 session  9 queue
-- ARGV 1 run  2 expected version  3 call id  4 channel
--      counts of arguments: 5 events  6 fields  7 dropped fields  8 due  9 undue  10 blobs
--      if it ends: 11 '1'  12 finished ms  13 purge ms  14 session has a new value  15 that value
--      16 session's time to live, ms  17 lease on the start of the next run, ms
--      from 18: the lists, in the order of their counts
-- Reply  {now, 'committed', version, next run or false} | {now, 'conflict', version, {entries}}
--        | {now, 'gone'}
-- It reads two fields and writes what it was given: its cost does not grow with the run.
local now = now_ms()
local run, expected, call_id = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local head = redis.call('HMGET', KEYS[1], 'v', 'c')
if not head[1] then
  return {now, 'gone'}
end
local version, events = tonumber(head[1]), tonumber(ARGV[5])

if version ~= expected then
  if head[2] == call_id and version == expected + events then
    -- Our own commit, whose answer was lost.
    return {now, 'committed', version, KEYS[8] and redis.call('HGET', KEYS[8], 'active') or false}
  end
  local since = {}
  for n = expected + 1, math.min(version, expected + 100) do
    local entry = redis.call('XRANGE', KEYS[2], n .. '-0', n .. '-0')[1]
    since[#since + 1] = entry and entry[2][2]
  end
  return {now, 'conflict', version, since}
end

-- The first write is one that a server out of memory refuses; after it, none is refused.
local at = 18
for n = 1, events do
  redis.call('XADD', KEYS[2], (expected + n) .. '-0', 'e', ARGV[at + n - 1])
end
at = at + events
redis.call('HSET', KEYS[1], 'v', expected + events, 'c', call_id)
if events > 0 then
  redis.call('HSET', KEYS[1], 'p', 0)
end
local function take(command, key, count)
  feed(command, key, at, at + count - 1)
  at = at + count
end
take('HSET', KEYS[1], tonumber(ARGV[6]))
take('HDEL', KEYS[1], tonumber(ARGV[7]))
local due = at
at = at + tonumber(ARGV[8])
local undue = tonumber(ARGV[9])
feed('HDEL', KEYS[4], at, at + undue - 1)
take('ZREM', KEYS[3], undue)
feed('ZADD', KEYS[3], due, due + tonumber(ARGV[8]) - 1)
take('HSET', KEYS[5], tonumber(ARGV[10]))

local next_run = false
if ARGV[11] == '1' then
  local created = redis.call('ZSCORE', KEYS[6], run) or ARGV[12]
  redis.call('ZREM', KEYS[6], run)
  redis.call('ZADD', KEYS[7], created, run)
  redis.call('HSET', KEYS[1], 'done', ARGV[12])
  redis.call('ZADD', KEYS[3], ARGV[13], 'purge|' .. run)
  if KEYS[8] then
    if redis.call('HGET', KEYS[8], 'active') == run then
      if ARGV[14] == '1' then
        redis.call('HSET', KEYS[8], 'value', ARGV[15])
      end
      redis.call('HINCRBY', KEYS[8], 'n', 1)
      next_run = redis.call('ZPOPMIN', KEYS[9])[1] or false
      if next_run then
        redis.call('HSET', KEYS[8], 'active', next_run)
        redis.call('ZADD', KEYS[3], now + tonumber(ARGV[17]), 'start|' .. next_run)
      else
        redis.call('HDEL', KEYS[8], 'active')
        redis.call('PEXPIRE', KEYS[8], ARGV[16])
      end
    else
      redis.call('ZREM', KEYS[9], run)
    end
  end
end
if events > 0 then
  redis.call('PUBLISH', ARGV[4], run)
end
return {now, 'committed', expected + events, next_run}
