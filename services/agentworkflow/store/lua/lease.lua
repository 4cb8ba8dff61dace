-- Take what is due, for a while: nobody else is given it before the lease ends.
-- KEYS 1 due
-- ARGV 1 limit  2 lease ms
-- Reply  {now, 'leased', {member, due ms, …}, ms of the next entry or false}
--        | {now, 'full', {purge member, due ms, …}}
-- A server out of memory cannot lease, but a purge needs no lease and makes room.
local now = now_ms()
local taken = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for i = 1, #taken, 2 do
  local reply = redis.pcall('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), taken[i])
  if type(reply) == 'table' and reply.err then
    if i > 1 or not string.find(reply.err, 'OOM', 1, true) then
      return reply
    end
    local purges = {}
    local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 10000)
    for n = 1, #due, 2 do
      if string.sub(due[n], 1, 6) == 'purge|' and #purges < 2 * tonumber(ARGV[1]) then
        purges[#purges + 1] = due[n]
        purges[#purges + 1] = due[n + 1]
      end
    end
    return {now, 'full', purges}
  end
end
return {now, 'leased', taken, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or false}
