-- KEYS: counters. ARGV: for each how many rules it stands for (one), how many checks, its limit, whether it may refuse,
-- and the start and the end of its window.
-- Returns the server's time, then what each counter held before this check.
local time = redis.call('TIME')
local now = tonumber(time[1])
local reply = {now, tonumber(time[2])}
for key = 1, #KEYS do
  local argument = 6 * key - 5
  local times, limit, ends = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2]), ARGV[argument + 5]
  local before = -1
  if now >= tonumber(ARGV[argument + 4]) and now < tonumber(ends) then
    local held = redis.call('INCRBY', KEYS[key], times)
    if held == times then
      redis.call('EXPIREAT', KEYS[key], ends)
    end
    if held > limit then
      redis.call('DECRBY', KEYS[key], math.min(held - limit, times))
    end
    before = held - times
  end
  reply[key + 2] = before
end
return reply
