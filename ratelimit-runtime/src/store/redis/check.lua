-- Decides a batch of requests, each all or nothing, by this server's clock.
--
-- KEYS: the counters, those of one request side by side.
-- ARGV: for each request the number of its rules, and how many requests there are that are the same (of one rule);
--       then for each rule its limit, whether it may refuse (1 or 0), and the start and the end of the window in its
--       key (seconds).
-- Returns the server's time (seconds, microseconds), then for each rule what its counter held before the request,
-- or -1 for every rule of a request whose windows are not the current ones: it was not counted, and is to be asked
-- again by the time returned.
--
-- A counter is made together with its expiry, within this script, so that nothing can leave it without one. What is no
-- count was not written here, and is replaced: it must not stop the rest of the batch.

-- More than any limit; beyond, a number might not survive its way through Lua and back.
local MOST = 4294967296

local time = redis.call('TIME')
local now = tonumber(time[1])
local reply = {now, tonumber(time[2])}
local replied = 2

-- A request of one rule, `times` over: counted at once, and what was too many taken back.
local function one(counter, arg, times)
  local limit, last = tonumber(ARGV[arg]), ARGV[arg + 3]
  if now < tonumber(ARGV[arg + 2]) or now >= tonumber(last) then
    return -1
  end
  local held = redis.pcall('INCRBY', counter, times)
  if type(held) ~= 'number' or held < times then
    redis.call('SET', counter, times, 'EXAT', last)
    held = times
  elseif held == times then
    redis.call('EXPIREAT', counter, last)
  end
  if held > limit then
    redis.call('DECRBY', counter, math.min(held - limit, times))
  end
  return math.min(held - times, MOST)
end

local key, arg = 1, 1
while key <= #KEYS do
  local rules = tonumber(ARGV[arg])
  if rules == 1 then
    replied = replied + 1
    reply[replied] = one(KEYS[key], arg + 2, tonumber(ARGV[arg + 1]))
  else
    local current, admitted = true, true
    local used, fits = {}, {}
    for rule = 1, rules do
      local at = arg + 4 * rule - 2
      current = current and now >= tonumber(ARGV[at + 2]) and now < tonumber(ARGV[at + 3])
      local held = redis.pcall('GET', KEYS[key + rule - 1])
      local is_count = type(held) == 'string' and string.find(held, '^[1-9]%d*$')
      used[rule] = is_count and math.min(tonumber(held), MOST) or 0
      fits[rule] = used[rule] < tonumber(ARGV[at])
      admitted = admitted and (fits[rule] or ARGV[at + 1] == '0')
    end
    for rule = 1, rules do
      local counter = KEYS[key + rule - 1]
      if current and admitted and fits[rule] then
        if used[rule] == 0 then
          redis.call('SET', counter, 1, 'EXAT', ARGV[arg + 4 * rule + 1])
        else
          redis.call('INCR', counter)
        end
      end
      replied = replied + 1
      reply[replied] = current and used[rule] or -1
    end
  end
  key = key + rules
  arg = arg + 2 + 4 * rules
end
return reply
