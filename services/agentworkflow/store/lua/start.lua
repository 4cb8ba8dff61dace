-- Create a run once, with its first entries, and join its session.
-- KEYS 1 head  2 log  3 due  4 blobs  5 tombstone  6 definition  7 active  8 workflows
--      with a session: 9 session  10 queue  11 runs of the session
-- ARGV 1 run  2 call id  3 request hash ('' is never compared)  4 meta  5 secret  6 created ms
--      7 workflow  8 definition ('' if the shard should have it)  9 session version ('' is any)
--      10 channel  11 number of openings (2: one for a busy session)  12 blob arguments
--      then the blobs, then each opening: its counts of events, field and due arguments, and those
-- Reply  {now, 'created'|'busy', version} | {now, 'existing', same} | {now, 'tombstone'}
--        | {now, 'definition'} | {now, 'changed', value or false, version, active or false}
local now = now_ms()
local run, call_id, hash = ARGV[1], ARGV[2], ARGV[3]
local session = KEYS[9]

local old = redis.call('HMGET', KEYS[1], 'v', 'c', 'rh')
if old[1] then
  if old[2] == call_id then
    local waits = session and redis.call('ZSCORE', KEYS[10], run)
    return {now, waits and 'busy' or 'created', tonumber(old[1])}
  end
  return {now, 'existing', (hash == '' or old[3] == hash) and 1 or 0}
end
if redis.call('EXISTS', KEYS[5]) == 1 then
  return {now, 'tombstone'}
end
if ARGV[8] == '' and redis.call('EXISTS', KEYS[6]) == 0 then
  return {now, 'definition'}
end

local queued = false
if session then
  local state = redis.call('HMGET', session, 'value', 'n', 'active')
  queued = state[3] and true or false
  local stale = ARGV[9] ~= '' and ARGV[9] ~= (state[2] or '0')
  if (queued and ARGV[11] == '1') or (stale and not queued) then
    return {now, 'changed', state[1], tonumber(state[2] or 0), state[3]}
  end
end

local blobs = 13
local at = blobs + tonumber(ARGV[12])
if queued then
  at = at + 3 + tonumber(ARGV[at]) + tonumber(ARGV[at + 1]) + tonumber(ARGV[at + 2])
end
local events, fields, due = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
at = at + 3

for n = 1, events do
  redis.call('XADD', KEYS[2], n .. '-0', 'e', ARGV[at + n - 1])
end
at = at + events
redis.call('HSET', KEYS[1], 'v', events, 'p', 0, 'c', call_id, 'meta', ARGV[4], 'secret', ARGV[5])
if hash ~= '' then
  redis.call('HSET', KEYS[1], 'rh', hash)
end
feed('HSET', KEYS[1], at, at + fields - 1)
feed('ZADD', KEYS[3], at + fields, at + fields + due - 1)
feed('HSET', KEYS[4], blobs, blobs + tonumber(ARGV[12]) - 1)

if ARGV[8] ~= '' then
  redis.call('HSETNX', KEYS[6], 'json', ARGV[8])
end
redis.call('HINCRBY', KEYS[6], 'runs', 1)
redis.call('ZADD', KEYS[7], ARGV[6], run)
redis.call('SADD', KEYS[8], ARGV[7])
if session then
  redis.call('ZADD', KEYS[11], ARGV[6], run)
  if queued then
    redis.call('ZADD', KEYS[10], redis.call('HINCRBY', session, 'q', 1), run)
  else
    redis.call('HSET', session, 'active', run)
    redis.call('HINCRBY', session, 'n', 1)
    redis.call('PERSIST', session)
  end
end
redis.call('PUBLISH', ARGV[10], run)
return {now, queued and 'busy' or 'created', events}
