-- Decides a batch of requests, each all or nothing, by this server's clock.
--
-- KEYS: the counters, those of one request side by side.
-- ARGV: for each request the number of its rules, then for each rule
--       its limit, whether it may refuse (1 or 0), and the start and the end of the window in its key (seconds).
-- Returns the server's time (seconds, microseconds), then for each rule what its counter held before the request,
-- or -1 for every rule of a request whose windows are not the current ones: it was not counted, and is to be asked
-- again by the time returned.
local time = redis.call('TIME')
local now = tonumber(time[1])
local reply = {now, tonumber(time[2])}
local key, arg = 1, 1
while key <= #KEYS do
  local rules = tonumber(ARGV[arg])
  local current, admitted = true, true
  local used, fits = {}, {}
  for rule = 1, rules do
    local at = arg + 4 * rule - 3
    if now < tonumber(ARGV[at + 2]) or now >= tonumber(ARGV[at + 3]) then
      current = false
      break
    end
    -- What is no count was not written here, and is replaced: it must not stop the rest of the batch.
    local held = redis.pcall('GET', KEYS[key + rule - 1])
    used[rule] = math.max(type(held) == 'string' and tonumber(held) or 0, 0)
    fits[rule] = used[rule] < tonumber(ARGV[at])
    admitted = admitted and (fits[rule] or ARGV[at + 1] == '0')
  end
  for rule = 1, rules do
    if not current then
      reply[#reply + 1] = -1
    else
      if admitted and fits[rule] then
        local counter = KEYS[key + rule - 1]
        if used[rule] == 0 then
          -- Made together with its expiry, so that nothing can leave it without one.
          redis.call('SET', counter, 1, 'EXAT', ARGV[arg + 4 * rule])
        else
          redis.call('INCR', counter)
        end
      end
      reply[#reply + 1] = used[rule]
    end
  end
  key = key + rules
  arg = arg + 1 + 4 * rules
end
return reply
