-- KEYS: the hash of a rule and a window. ARGV: the limit, the end of the window, then the counters, fields of the hash.
-- Returns the server's time, then what each counter holds with this check in it.
local call = redis.call
local hash, limit = KEYS[1], tonumber(ARGV[1])
local time = call('TIME')
local reply = {tonumber(time[1]), tonumber(time[2])}
local fields = {unpack(ARGV, 3)}
local found = call('HMGET', hash, unpack(fields))
local counts, changes = {}, {}
for at = 1, #fields do
  local field = fields[at]
  local held = (counts[field] or tonumber(found[at] or 0)) + 1
  counts[field] = math.min(held, limit)
  changes[2 * at - 1], changes[2 * at] = field, counts[field]
  reply[at + 2] = held
end
call('HSET', hash, unpack(changes))
if call('TTL', hash) < 0 then
  call('EXPIREAT', hash, ARGV[2])
end
return reply
