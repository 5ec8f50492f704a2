-- Decides a batch of requests, each all or nothing, by this server's clock.
--
-- KEYS: the counters, group by group; those of one request side by side.
-- ARGV: for each group of requests that are alike: how many rules each has, how many requests there are, and
--   for no rule (tokens are given back): how many;
--   for one rule: how many tokens are taken at once, in units of how many, the limit, the window's end and its length;
--   for more: for each rule the limit, the window's end and its length, how many tokens a request costs, how many it
--   takes if there are as many, and whether the rule may refuse (1 or 0).
-- Returns the server's time (seconds, microseconds), then for each counter what it held before, or -1 where the window
-- is not the current one: that request was not counted, and is to be asked again by the time returned.
--
-- A counter is made together with its expiry, within this script, so that nothing can leave it without one. What is no
-- count was not written here, and is replaced: it must not stop the rest of the batch.

local call, pcall, min, ceil = redis.call, redis.pcall, math.min, math.ceil

-- More than any limit; beyond, a number might not survive its way through Lua and back.
local MOST = 4294967296

local time = call('TIME')
local now = tonumber(time[1])
local reply, replied = {now, tonumber(time[2])}, 2

local function is_current(window_end, length)
  return now < window_end and now >= window_end - length
end

-- The count in a key; zero for none.
local function count(key)
  local held = pcall('GET', key)
  return type(held) == 'string' and string.find(held, '^[1-9]%d*$') and min(tonumber(held), MOST) or 0
end

-- Takes back what was counted and not used. What has expired, or was deleted, stays away.
local function give_back(first, last, arg)
  local tokens = tonumber(ARGV[arg])
  for key = first, last do
    local held = count(KEYS[key])
    if held > 0 then
      call('DECRBY', KEYS[key], min(held, tokens))
    end
    replied = replied + 1
    reply[replied] = held
  end
end

-- Requests of one rule: counted at once, and what was too many taken back.
local function take(first, last, arg)
  -- A number would have to be made a text again for each command.
  local taken, expiry = ARGV[arg], ARGV[arg + 3]
  local tokens, unit, limit = tonumber(taken), tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local current = is_current(tonumber(expiry), tonumber(ARGV[arg + 4]))
  for key = first, last do
    local before = -1
    if current then
      local held = pcall('INCRBY', KEYS[key], taken)
      if type(held) ~= 'number' or held < tokens then
        call('SET', KEYS[key], taken, 'EXAT', expiry)
        held = tokens
      elseif held == tokens then
        call('EXPIREAT', KEYS[key], expiry)
      end
      if held > limit then
        call('DECRBY', KEYS[key], min(tokens, ceil((held - limit) / unit) * unit))
      end
      before = min(held - tokens, MOST)
    end
    replied = replied + 1
    reply[replied] = before
  end
end

-- Requests of several rules: looked at together, then counted where all agree.
local function take_all(first, last, arg, rules)
  local limit, expiry, cost, lot, refuses = {}, {}, {}, {}, {}
  local current = true
  for rule = 1, rules do
    local at = arg + 6 * (rule - 1)
    limit[rule], expiry[rule] = tonumber(ARGV[at]), ARGV[at + 1]
    current = current and is_current(tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
    cost[rule], lot[rule], refuses[rule] = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5] == '1'
  end
  local used = {}
  for key = first, last, rules do
    local admitted = current
    for rule = 1, rules do
      used[rule] = current and count(KEYS[key + rule - 1]) or -1
      admitted = admitted and (used[rule] + cost[rule] <= limit[rule] or not refuses[rule])
    end
    for rule = 1, rules do
      if admitted and used[rule] + cost[rule] <= limit[rule] then
        local tokens = min(lot[rule], limit[rule] - used[rule])
        if used[rule] == 0 then
          call('SET', KEYS[key + rule - 1], tokens, 'EXAT', expiry[rule])
        else
          call('INCRBY', KEYS[key + rule - 1], tokens)
        end
      end
      replied = replied + 1
      reply[replied] = used[rule]
    end
  end
end

local key, arg = 1, 1
while key <= #KEYS do
  local rules, requests = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  local last = key + math.max(rules, 1) * requests - 1
  arg = arg + 2
  if rules == 0 then
    give_back(key, last, arg)
    arg = arg + 1
  elseif rules == 1 then
    take(key, last, arg)
    arg = arg + 5
  else
    take_all(key, last, arg, rules)
    arg = arg + 6 * rules
  end
  key = last + 1
end
return reply
