-- Decides a batch of requests, each all or nothing, by this server's clock.
--
-- KEYS: the counters, group by group; those of one request side by side. Each has one key. That of a sliding window is a hash, in
-- which each window has a field, named by its end.
-- ARGV: for each group of requests that are alike: its kind, how many requests there are, and
--   'mark': nothing;
--   'reset': the mark;
--   'back': how many tokens each gives back, and the mark;
--   'fade': how many tokens each gives back to a sliding window, and the window's end;
--   'arrival': how many nanoseconds of GCRA each gives back;
--   'take': how many tokens each takes, in units of how many, the limit, the window's end and its length;
--   'all': how many rules each has, how many requests are the same as it, and for each rule
--     its algorithm, its capacity, how many tokens a request costs, how many it takes if there are as many, whether the
--     rule may refuse (1 or 0), and the window's end, or the nanoseconds of a token, and the length.
-- A mark is a key with the time in microseconds at which it was made, which is after all that was reset or given back before; where
-- nobody reads it, an empty text.
-- Returns the server's time (seconds, microseconds), then what was there before each request: a mark, a counter's number, or a
-- sliding window's two, or the seconds and the nanoseconds of GCRA; -1 in place of each where a window is not the
-- current one: that request was not counted, and is to be asked again by the time returned.
--
-- A counter is made together with its expiry, within this script, so that nothing can leave it without one. What is no
-- count was not written here, and is replaced: it must not stop the rest of the batch.

local call, pcall, min, ceil = redis.call, redis.pcall, math.min, math.ceil

-- More than any limit; beyond, a number might not survive its way through Lua and back.
local MOST = 4294967296

-- Later than any time, in seconds: in the year 2286.
local LATEST = 9999999999

-- How long a mark is kept: a day. Who reads it makes it anew.
local MARK_SECONDS = 86400

local time = call('TIME')
local now, micros = tonumber(time[1]), tonumber(time[2])
local reply, replied = {now, micros}, 2

-- What most batches can do without, and what is not made for them: for each kind of group but 'take' a function of its
-- first key, of how many requests there are, and of where its arguments begin, that returns where the next group's keys
-- and arguments do.
local function other_kinds()
  local max, floor = math.max, math.floor

  local function answer(number)
    replied = replied + 1
    reply[replied] = number
  end

  local function is_current(window_end, length)
    return now < window_end and now >= window_end - length
  end

  -- A count as it was read; zero for none.
  local function number(held)
    return type(held) == 'string' and string.find(held, '^[1-9]%d*$') and min(tonumber(held), MOST) or 0
  end

  -- The count in a key.
  local function count(key)
    return number(pcall('GET', key))
  end

  -- What was counted in the window of a hash that ends then.
  local function count_in(key, window_end)
    return number(pcall('HGET', key, window_end))
  end

  -- Counts all that a rule's requests may take, and tells what was there before: what they do not take is taken back.
  local function count_most(rule, key, expiry)
    if rule.most == 0 then
      return count(key)
    end
    local held = pcall('INCRBY', key, rule.most_text)
    if type(held) ~= 'number' or held < rule.most then
      call('SET', key, rule.most_text, 'EXAT', expiry)
      held = rule.most
    elseif held == rule.most then
      call('EXPIREAT', key, expiry)
    end
    return min(held - rule.most, MOST)
  end

  local function take_back(rule, key, tokens)
    if tokens == 0 and rule.used == 0 and rule.most > 0 then
      call('DEL', key)
    elseif tokens < rule.most then
      call('DECRBY', key, rule.most - tokens)
    end
  end

  -- As `count_most`, in a window of a hash: the hash stays as long as that counts, also in the window after it.
  local function count_most_in(rule, key)
    if rule.most == 0 then
      return count_in(key, rule.end_text)
    end
    local held = pcall('HINCRBY', key, rule.end_text, rule.most_text)
    if type(held) ~= 'number' or held < rule.most then
      if type(held) == 'table' and string.find(held.err, 'WRONGTYPE', 1, true) then
        call('DEL', key)
      else
        call('HDEL', key, rule.end_text)
      end
      held = call('HINCRBY', key, rule.end_text, rule.most_text)
    end
    if held == rule.most then
      local next_end = rule.window_end + rule.length
      -- If something was counted in the next window already, this clock was set back, or it is behind that of another server.
      call('EXPIREAT', key, count_in(key, next_end) > 0 and next_end + rule.length or next_end)
      call('HDEL', key, rule.window_end - 2 * rule.length)
    end
    return min(held - rule.most, MOST)
  end

  local function take_back_in(rule, key, tokens)
    if tokens == 0 and rule.used == 0 and rule.most > 0 then
      call('HDEL', key, rule.end_text)
    elseif tokens < rule.most then
      call('HINCRBY', key, rule.end_text, tokens == 0 and '-' .. rule.most_text or tokens - rule.most)
    end
  end

  -- GCRA's arrival time in a key: seconds and nanoseconds, zeros for none.
  local function arrival(key)
    local held = pcall('GET', key)
    if type(held) == 'string' then
      local seconds, nanos = string.match(held, '^(%d+):(%d+)$')
      if seconds then
        return min(tonumber(seconds), LATEST), min(tonumber(nanos), 1e9)
      end
    end
    return 0, 0
  end

  -- `seconds` and `nanos`, of which there may be more than a second's.
  local function arrival_text(seconds, nanos)
    local whole = floor(nanos / 1e9)
    return string.format('%.0f:%.0f', seconds + whole, nanos - whole * 1e9), seconds + whole
  end

  -- For each algorithm what is there, and how much of it is used; and how so many tokens are taken, none included.
  local algorithms = {
    fixed = {
      look = function(rule, key)
        rule.used = count_most(rule, KEYS[key], rule.window_end)
        answer(rule.used)
        return rule.used
      end,
      take = function(rule, key, tokens)
        take_back(rule, KEYS[key], tokens)
      end,
    },
    sliding = {
      look = function(rule, key)
        rule.used = count_most_in(rule, KEYS[key])
        local before = count_in(KEYS[key], rule.last_text)
        answer(rule.used)
        answer(before)
        -- Multiplied first: so what comes out even stays so.
        local whole = rule.length * 1e6
        local left = min((rule.window_end - now) * 1e6 - micros, whole)
        return rule.used + ceil(before * left / whole)
      end,
      take = function(rule, key, tokens)
        take_back_in(rule, KEYS[key], tokens)
      end,
    },
    gcra = {
      look = function(rule, key)
        local seconds, nanos = arrival(KEYS[key])
        answer(seconds)
        answer(nanos)
        -- Never further ahead than all tokens: if it seems to be, the clock was set back, or there is another rule. What
        -- is further still starts anew.
        local ahead, all = (seconds - now) * 1e9 + nanos - micros * 1e3, rule.capacity * rule.emission
        rule.ahead = ahead <= 2 * max(all, rule.length * 1e9) and min(max(ahead, 0), all) or 0
        return ceil(rule.ahead / rule.emission)
      end,
      take = function(rule, key, tokens)
        if tokens > 0 then
          local text, seconds = arrival_text(now, micros * 1e3 + rule.ahead + tokens * rule.emission)
          call('SET', KEYS[key], text, 'EXAT', seconds + 1)
        end
      end,
    },
  }

  -- Lets those who read the mark know that a counter has more room: they will find another one.
  local function remove(mark)
    if mark ~= '' then
      call('DEL', mark)
    end
  end

  local kinds = {}

  -- Where there is no mark, it is made, unless there is no memory for it.
  function kinds.mark(first, requests, arg)
    for key = first, first + requests - 1 do
      local held = pcall('GET', KEYS[key])
      local time = now * 1e6 + micros
      -- One that is ahead is of a clock that was set back since.
      if type(held) ~= 'string' or not string.find(held, '^%d+$') or tonumber(held) > time then
        held = string.format('%.0f', time)
        if pcall('SET', KEYS[key], held, 'EX', MARK_SECONDS).err then
          held = '-1'
        end
      end
      answer(tonumber(held))
    end
    return first + requests, arg
  end

  function kinds.reset(first, requests, arg)
    for key = first, first + requests - 1 do
      answer(call('DEL', KEYS[key]))
    end
    remove(ARGV[arg])
    return first + requests, arg + 1
  end

  -- Takes back what was counted and not used. What has expired, or was deleted, stays away.
  function kinds.back(first, requests, arg)
    local tokens = tonumber(ARGV[arg])
    for key = first, first + requests - 1 do
      local held = count(KEYS[key])
      if held > 0 then
        pcall('DECRBY', KEYS[key], min(held, tokens))
        remove(ARGV[arg + 1])
      end
      answer(held)
    end
    return first + requests, arg + 2
  end

  -- The same of a sliding window.
  function kinds.fade(first, requests, arg)
    local tokens, window_end = tonumber(ARGV[arg]), ARGV[arg + 1]
    for key = first, first + requests - 1 do
      local held = count_in(KEYS[key], window_end)
      if held > 0 then
        call('HINCRBY', KEYS[key], window_end, -min(held, tokens))
      end
      answer(held)
    end
    return first + requests, arg + 2
  end

  function kinds.arrival(first, requests, arg)
    local back = tonumber(ARGV[arg])
    for key = first, first + requests - 1 do
      local seconds, nanos = arrival(KEYS[key])
      if seconds > 0 then
        call('SET', KEYS[key], (arrival_text(max(seconds - floor(back / 1e9), 1), nanos - back % 1e9)), 'KEEPTTL')
      end
      answer(seconds)
    end
    return first + requests, arg + 1
  end

  -- Requests of any rules: looked at together, then counted as far as all agree.
  function kinds.all(first, requests, arg)
    local rules, times = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
    local current = true
    local all = {}
    for index = 1, rules do
      local at = arg + 2 + 7 * (index - 1)
      local rule = {
        algorithm = algorithms[ARGV[at]],
        capacity = tonumber(ARGV[at + 1]),
        cost = tonumber(ARGV[at + 2]),
        lot = tonumber(ARGV[at + 3]),
        refuses = ARGV[at + 4] == '1',
      }
      rule.look, rule.take = rule.algorithm.look, rule.algorithm.take
      rule.length = tonumber(ARGV[at + 6])
      rule.most = max(rule.lot, times * rule.cost)
      rule.most_text = string.format('%.0f', rule.most)
      if ARGV[at] == 'gcra' then
        rule.emission = tonumber(ARGV[at + 5])
      else
        rule.end_text = ARGV[at + 5]
        rule.window_end = tonumber(rule.end_text)
        rule.last_text = string.format('%.0f', rule.window_end - rule.length)
        current = current and is_current(rule.window_end, rule.length)
      end
      all[index] = rule
    end
    local last = first + rules * requests - 1
    if not current then
      for _ = first, last, rules do
        for index = 1, rules do
          answer(-1)
          if all[index].algorithm ~= algorithms.fixed then
            answer(-1)
          end
        end
      end
      return last + 1, arg + 2 + 7 * rules
    end
    for key = first, last, rules do
      local admitted = times
      for index = 1, rules do
        local rule = all[index]
        local cost, free = rule.cost, rule.capacity - rule.look(rule, key + index - 1)
        -- How many of the requests fit.
        local fits = cost == 0 and times or max(min(floor(free / cost), times), 0)
        rule.free, rule.fits = free, fits
        if rule.refuses and fits < admitted then
          admitted = fits
        end
      end
      for index = 1, rules do
        local rule = all[index]
        local tokens = min(admitted, rule.fits) * rule.cost
        if tokens > 0 and rule.lot > rule.cost then
          tokens = min(rule.lot, rule.free)
        end
        rule.take(rule, key + index - 1, tokens)
      end
    end
    return last + 1, arg + 2 + 7 * rules
  end

  return kinds
end

local kinds
local key, arg = 1, 1
while key <= #KEYS do
  local kind, requests = ARGV[arg], tonumber(ARGV[arg + 1])
  if kind == 'take' then
    -- Requests of one rule with a fixed window: counted at once, and what was too many taken back. A number would have
    -- to be made a text again for each command.
    local taken, expiry = ARGV[arg + 2], ARGV[arg + 5]
    local tokens, unit, limit = tonumber(taken), tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4])
    local window_end = tonumber(expiry)
    local current = now < window_end and now >= window_end - tonumber(ARGV[arg + 6])
    for index = key, key + requests - 1 do
      local before = -1
      if current then
        local counter = KEYS[index]
        local held = pcall('INCRBY', counter, taken)
        if type(held) ~= 'number' or held < tokens then
          call('SET', counter, taken, 'EXAT', expiry)
          held = tokens
        elseif held == tokens then
          call('EXPIREAT', counter, expiry)
        end
        before = min(held - tokens, MOST)
        if held > limit then
          call('DECRBY', counter, before >= limit and taken or min(tokens, ceil((held - limit) / unit) * unit))
        end
      end
      replied = replied + 1
      reply[replied] = before
    end
    key, arg = key + requests, arg + 7
  else
    kinds = kinds or other_kinds()
    key, arg = kinds[kind](key, requests, arg + 2)
  end
end
return reply
