-- Renew leases, but never bring back an entry that is no longer due.
-- KEYS 1 due
-- ARGV 1 lease ms  then members
-- Reply  {now, {members that are gone}}
local now = now_ms()
local gone = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[1]), ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
  end
end
return {now, gone}
