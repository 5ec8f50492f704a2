-- Decides a batch of requests, each all or nothing, by this server's clock.
--
-- KEYS: the counters, group by group; those of one request side by side. Each has one key; that of a sliding window is a hash,
--   in which each window has a field, named by its end. The mark follows the counters of a group that removes it. No
--   other key is touched.
-- ARGV: for each group of requests that are alike: its kind, how many requests there are, and
--   'mark': nothing;
--   'reset': whether a mark follows, 1 or 0;
--   'back': how many tokens each gives back, and whether a mark follows;
--   'fade': how many tokens each gives back to a sliding window, and the window's end;
--   'arrival': how many tokens of GCRA each gives back, the nanoseconds of a token, the capacity and the length;
--   'take': how many tokens each takes, in units of how many, the limit, the window's end and its length;
--   'all': how many rules each has, how many requests are the same as it, and for each rule
--     its algorithm, its capacity, how many tokens a request costs, how many it takes if there are as many, whether the
--     rule may refuse (1 or 0), and the window's end, or the nanoseconds of a token, and the length.
-- A mark is a key with the time in microseconds at which it was made, which is after all that was reset or given back before.
-- Returns the server's time (seconds, microseconds), then what was there before each request: a mark, a counter's number, or a
-- sliding window's two, or the seconds and the nanoseconds at which all tokens of GCRA are back, zeros if they are; -1 in place
-- of each where a window is not the current one: that request was not counted, and is to be asked again by the time returned.
-- The first value of a request that failed is an error. What it had counted was taken back.
--
-- A counter is made together with its expiry, within this script, so that nothing can leave it without one. A value that
-- is no count was not written here, and is replaced. Every other error of a command fails the request that it belongs to.
--
-- The commands are those of Redis 6.0: SET has no EXAT there.

local call, pcall, try, min, ceil = redis.call, redis.pcall, pcall, math.min, math.ceil

-- More than any limit; beyond, a number might not survive its way through Lua and back.
local MOST = 4294967296

local time = pcall('TIME')
if time.err then
  return {err = time.err .. ' [TIME]'}
end
local now, micros = tonumber(time[1]), tonumber(time[2])
local reply, replied = {now, micros}, 2

-- What most batches do without: the kinds of groups but 'take', each a function, and `mend`. A script makes its functions
-- anew at each call, so those that are seldom used are made by functions, too.
local function other_functions()
  local max, floor, format, find, match = math.max, math.floor, string.format, string.find, string.match

  local function answer(value)
    replied = replied + 1
    reply[replied] = value
  end

  -- Runs a command, or raises its error, and which command that was: Redis 7.0 does not say.
  local function must(command, ...)
    local answered = pcall(command, ...)
    if type(answered) == 'table' and answered.err then
      error({err = answered.err .. ' [' .. command .. ']'}, 0)
    end
    return answered
  end

  -- Whether an error means that a key holds a value that was not written here.
  local function is_foreign(text)
    return find(text, '^%-?WRONGTYPE')
      or find(text, '^%-?ERR value is not an integer')
      or find(text, '^%-?ERR hash value is not an integer')
      or find(text, '^%-?ERR increment or decrement would overflow')
  end

  -- What a command answered that reads a text; empty for none.
  local function read(held, command)
    if type(held) == 'string' then
      return held
    elseif held and not is_foreign(held.err) then
      error({err = held.err .. ' [' .. command .. ']'}, 0)
    end
    return ''
  end

  -- A text as a count; zero for what is none.
  local function number(held)
    return find(held, '^[1-9]%d*$') and min(tonumber(held), MOST) or 0
  end

  -- Makes a counter, where INCRBY has answered an error, or no more than it added: gives it an expiry, or replaces what is no
  -- count. Returns what it holds, or an error. Then no key stays without an expiry, if any command is allowed that prevents it.
  local function mend(key, held, tokens, text, expiry)
    if type(held) == 'table' and not is_foreign(held.err) then
      return {err = held.err .. ' [INCRBY]'}
    end
    if held ~= tokens then
      -- A second more, since EX counts from the start of the script and not from TIME.
      local set = pcall('SET', key, text, 'EX', format('%d', expiry - now + 1))
      return set.err and {err = set.err .. ' [SET]'} or tokens
    end
    local expiring = pcall('EXPIREAT', key, expiry)
    if expiring == 1 then
      return tokens
    end
    if type(pcall('DEL', key)) ~= 'number' and pcall('SET', key, '0', 'EX', '1').err then
      pcall('INCRBY', key, '-' .. text)
    end
    return {err = expiring.err .. ' [EXPIREAT]'}
  end

  -- Takes the steps of a group's requests. Where one fails, what it did is undone, and it is answered with the error.
  local function each(first, requests, keys, values, step, undo)
    local key, last, before = first, first + (requests - 1) * keys, replied
    local function steps()
      while key <= last do
        step(key)
        key = key + keys
      end
    end
    while key <= last do
      local done, cause = try(steps)
      if not done then
        if undo then
          undo(key)
        end
        replied = before + (key - first) / keys * values
        answer(type(cause) == 'table' and cause or {err = 'ERR ' .. tostring(cause)})
        for _ = 2, values do
          answer(0)
        end
        key = key + keys
      end
    end
  end

  -- Each algorithm is how a request of a rule looks at its counter, which tells what is there, and returns how much of it is
  -- used; how it takes so many tokens, none included; and how what it did is undone, as far as that is allowed. Windows add all
  -- that the rule's requests may take when they look, and take back what is too much.
  local function fixed()
    local function look(rule, key)
      rule.added = 0
      if rule.most == 0 then
        rule.used = number(read(pcall('GET', key), 'GET'))
      else
        local held = pcall('INCRBY', key, rule.most_text)
        if type(held) ~= 'number' or held <= rule.most then
          held = mend(key, held, rule.most, rule.most_text, rule.window_end)
          if type(held) == 'table' then
            error(held, 0)
          end
        end
        rule.added = rule.most
        rule.used = min(held - rule.most, MOST)
      end
      answer(rule.used)
      return rule.used
    end

    local function take(rule, key, tokens)
      if tokens == rule.added then
        return
      elseif tokens == 0 and rule.used == 0 then
        must('DEL', key)
      else
        must('INCRBY', key, tokens == 0 and '-' .. rule.most_text or tokens - rule.added)
      end
      rule.added = tokens
    end

    local function undo(rule, key)
      if rule.added > 0 and (rule.used > 0 or type(pcall('DEL', key)) ~= 'number') then
        pcall('INCRBY', key, -rule.added)
      end
    end

    return {look = look, take = take, undo = undo}
  end

  local function sliding()
    -- What was counted in the window that ends then.
    local function count_in(key, window_end)
      local held = pcall('HGET', key, window_end)
      return held and number(read(held, 'HGET')) or 0
    end

    -- Adds to a window. The hash stays as long as that counts, also in the window after it.
    local function add(rule, key)
      local held = pcall('HINCRBY', key, rule.end_text, rule.most_text)
      if type(held) == 'table' and not is_foreign(held.err) then
        error({err = held.err .. ' [HINCRBY]'}, 0)
      elseif type(held) == 'table' and find(held.err, '^%-?WRONGTYPE') then
        must('DEL', key)
        held = must('HINCRBY', key, rule.end_text, rule.most_text)
      elseif type(held) == 'table' or held < rule.most then
        must('HDEL', key, rule.end_text)
        held = must('HINCRBY', key, rule.end_text, rule.most_text)
      end
      rule.added = rule.most
      rule.used = min(held - rule.most, MOST)
      rule.expires = held > rule.most
      if not rule.expires then
        local next_end = rule.window_end + rule.length
        -- Before anything else can fail.
        must('EXPIREAT', key, next_end)
        rule.expires = true
        -- If something was counted in the next window already, this clock was set back, or it is behind that of another server.
        if count_in(key, next_end) > 0 then
          must('EXPIREAT', key, next_end + rule.length)
        end
        must('HDEL', key, rule.window_end - 2 * rule.length)
      end
    end

    local function look(rule, key)
      rule.added = 0
      if rule.most == 0 then
        rule.used = count_in(key, rule.end_text)
      else
        add(rule, key)
      end
      local before = count_in(key, rule.last_text)
      answer(rule.used)
      answer(before)
      -- Multiplied first: so what comes out even stays so.
      local whole = rule.length * 1e6
      local left = min((rule.window_end - now) * 1e6 - micros, whole)
      return rule.used + ceil(before * left / whole)
    end

    local function take(rule, key, tokens)
      if tokens == rule.added then
        return
      elseif tokens == 0 and rule.used == 0 then
        must('HDEL', key, rule.end_text)
      else
        must('HINCRBY', key, rule.end_text, tokens == 0 and '-' .. rule.most_text or tokens - rule.added)
      end
      rule.added = tokens
    end

    local function undo(rule, key)
      if rule.added == 0 or rule.used == 0 and type(pcall('HDEL', key, rule.end_text)) == 'number' then
        return
      elseif rule.expires or type(pcall('DEL', key)) ~= 'number' then
        pcall('HINCRBY', key, rule.end_text, -rule.added)
      end
    end

    -- Takes back what was counted and not used.
    local function give_back(key, tokens, window_end)
      local held = count_in(key, window_end)
      if held > tokens then
        must('HINCRBY', key, window_end, -tokens)
      elseif held > 0 then
        must('HDEL', key, window_end)
      end
      answer(held)
    end

    return {look = look, take = take, undo = undo, give_back = give_back}
  end

  -- A counter of GCRA holds a bucket for each rate and burst under which it is used, as `nanoseconds of a
  -- token:capacity:seconds:nanoseconds`, the latest first. What is taken from one is taken from all, as far as they have some;
  -- a bucket that had too little is marked as overdrawn by `!` until it is full again. To that, nothing is given back but what its own
  -- rule took, since it is not known how much of it was taken from there.
  local function gcra()
    -- How many of them a counter has at most.
    local BUCKETS = 4

    -- More nanoseconds than the tokens of any rule take to come back, and few enough for Lua's numbers.
    local LONGEST = 8e15

    -- Later than any time, in seconds: in the year 2286.
    local LATEST = 9999999999

    -- How far a time is ahead, in nanoseconds: never further than all tokens. If it seems to be, the clock was set back;
    -- what is further still starts anew.
    local function ahead_of(seconds, nanos, full, length)
      local ahead = (seconds - now) * 1e9 + nanos - micros * 1e3
      return ahead <= 2 * max(full, length * 1e9) and min(max(ahead, 0), full) or 0
    end

    -- So many nanoseconds ahead as a time: seconds and nanoseconds.
    local function time_of(ahead)
      local nanos = micros * 1e3 + ahead
      local whole = floor(nanos / 1e9)
      return now + whole, nanos - whole * 1e9
    end

    local function buckets_in(text, length)
      local buckets = {}
      for name, emission, capacity, seconds, nanos, mark in string.gmatch(text, '((%d+):(%d+)):(%d+):(%d+)(!?)') do
        local bucket = {name = name, emission = tonumber(emission), overdrawn = mark == '!'}
        bucket.full = bucket.emission * tonumber(capacity)
        if bucket.full > 0 and bucket.full <= LONGEST and #buckets < BUCKETS then
          bucket.ahead = ahead_of(min(tonumber(seconds), LATEST), min(tonumber(nanos), 1e9), bucket.full, length)
          buckets[#buckets + 1] = bucket
        end
      end
      return buckets
    end

    -- They live as long as the last of them has tokens to come back.
    local function write(key, name, ahead, overdrawn, others)
      local seconds, nanos = time_of(ahead)
      local text, latest = format('%s:%d:%d', name, seconds, nanos), seconds
      if overdrawn then
        text = text .. '!'
      end
      for index = 1, others and min(#others, BUCKETS - 1) or 0 do
        local other = others[index]
        seconds, nanos = time_of(other.ahead)
        text = format('%s %s:%d:%d%s', text, other.name, seconds, nanos, other.overdrawn and '!' or '')
        latest = max(latest, seconds)
      end
      -- Two seconds more: the time is cut to seconds, and EX counts from the start of the script and not from TIME.
      must('SET', key, text, 'EX', format('%d', latest - now + 2))
    end

    local function write_all(key, buckets)
      local first = table.remove(buckets, 1)
      write(key, first.name, first.ahead, first.overdrawn, buckets)
    end

    local function look(rule, key)
      rule.wrote, rule.others, rule.overdrawn = false, nil, false
      local held = read(pcall('GET', key), 'GET')
      rule.held = held
      local name, seconds, nanos = match(held, '^(%d+:%d+):(%d+):(%d+)$')
      if name == rule.bucket then
        -- Nearly always.
        seconds, nanos = min(tonumber(seconds), LATEST), min(tonumber(nanos), 1e9)
        rule.ahead = ahead_of(seconds, nanos, rule.full, rule.length)
      elseif held == '' then
        rule.ahead, seconds, nanos = 0, 0, 0
      else
        local own, used = nil, 0
        rule.others = {}
        for _, bucket in ipairs(buckets_in(held, rule.length)) do
          if bucket.name == rule.bucket then
            own = bucket
          else
            rule.others[#rule.others + 1] = bucket
            used = max(used, ceil(bucket.ahead / bucket.emission))
          end
        end
        -- A new bucket goes on from what was taken from the others.
        rule.ahead = own and own.ahead or min(used, rule.capacity) * rule.emission
        rule.overdrawn = own and own.overdrawn or not own and used > rule.capacity
        seconds, nanos = 0, 0
        if rule.ahead > 0 then
          seconds, nanos = time_of(rule.ahead)
        end
      end
      answer(seconds)
      answer(nanos)
      return ceil(rule.ahead / rule.emission)
    end

    local function take(rule, key, tokens)
      if tokens > 0 then
        for index = 1, rule.others and #rule.others or 0 do
          local other = rule.others[index]
          local ahead = other.ahead + tokens * other.emission
          other.overdrawn = other.overdrawn and other.ahead > 0 or ahead > other.full
          other.ahead = min(ahead, other.full)
        end
        local overdrawn = rule.overdrawn and rule.ahead > 0
        write(key, rule.bucket, rule.ahead + tokens * rule.emission, overdrawn, rule.others)
        rule.wrote = true
      end
    end

    local function undo(rule, key)
      if rule.wrote then
        local buckets = buckets_in(rule.held, rule.length)
        if #buckets == 0 then
          pcall('DEL', key)
        else
          try(write_all, key, buckets)
        end
      end
    end

    local function give_back(key, tokens, name, length)
      local buckets = buckets_in(read(pcall('GET', key), 'GET'), length)
      local were_there, ahead = #buckets > 0, 0
      for _, bucket in ipairs(buckets) do
        if bucket.name == name or not bucket.overdrawn then
          bucket.ahead = max(bucket.ahead - tokens * bucket.emission, 0)
        end
        ahead = max(ahead, bucket.ahead)
      end
      if ahead > 0 then
        write_all(key, buckets)
      elseif were_there then
        must('DEL', key)
      end
      answer(were_there and 1 or 0)
    end

    return {look = look, take = take, undo = undo, give_back = give_back}
  end

  local algorithms = {fixed = fixed, sliding = sliding, gcra = gcra}

  -- Each kind takes its first key, how many requests there are, and where its arguments begin, and returns where the next
  -- group's keys and arguments do.
  local kinds = {}

  -- Requests of any rules: looked at together, then counted as far as all agree.
  function kinds.all(first, requests, arg)
    local rules, times = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
    local values, current = 0, true
    local all, used = {}, {}
    for index = 1, rules do
      local at = arg + 2 + 7 * (index - 1)
      local name, capacity, last = ARGV[at], ARGV[at + 1], ARGV[at + 5]
      local rule = {
        capacity = tonumber(capacity),
        cost = tonumber(ARGV[at + 2]),
        lot = tonumber(ARGV[at + 3]),
        refuses = ARGV[at + 4] == '1',
        length = tonumber(ARGV[at + 6]),
      }
      used[name] = used[name] or algorithms[name]()
      rule.look, rule.take, rule.undo = used[name].look, used[name].take, used[name].undo
      if name == 'gcra' then
        rule.emission, rule.bucket = tonumber(last), last .. ':' .. capacity
        rule.full = rule.emission * rule.capacity
      else
        rule.most = max(rule.lot, times * rule.cost)
        rule.most_text = format('%.0f', rule.most)
        rule.end_text, rule.window_end = last, tonumber(last)
        rule.last_text = format('%.0f', rule.window_end - rule.length)
        current = current and now < rule.window_end and now >= rule.window_end - rule.length
      end
      values = values + (name == 'fixed' and 1 or 2)
      all[index] = rule
    end
    local next_key, next_arg = first + rules * requests, arg + 2 + 7 * rules
    if not current then
      for _ = 1, requests * values do
        answer(-1)
      end
      return next_key, next_arg
    end
    -- How many of the rules were looked at.
    local looked
    local function step(key)
      local admitted = times
      for index = 1, rules do
        looked = index
        local rule = all[index]
        local cost, free = rule.cost, rule.capacity - rule.look(rule, KEYS[key + index - 1])
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
        rule.take(rule, KEYS[key + index - 1], tokens)
      end
    end
    local function undo(key)
      for index = 1, looked do
        all[index].undo(all[index], KEYS[key + index - 1])
      end
    end
    each(first, requests, rules, values, step, undo)
    return next_key, next_arg
  end

  local function add_other_kinds()
    -- How long a mark is kept: a day. Who reads it makes it anew.
    local MARK_SECONDS = 86400

    -- Where there is no mark, it is made.
    function kinds.mark(first, requests, arg)
      each(first, requests, 1, 1, function(key)
        local held, time = read(pcall('GET', KEYS[key]), 'GET'), now * 1e6 + micros
        -- One that is ahead is of a clock that was set back since.
        if not find(held, '^%d+$') or tonumber(held) > time then
          held = format('%.0f', time)
          must('SET', KEYS[key], held, 'EX', MARK_SECONDS)
        end
        answer(tonumber(held))
      end)
      return first + requests, arg
    end

    -- Removes the mark that stands behind a group's keys, if one does: those who read it will find another one, and so learn
    -- that a counter has more room. Returns how, and where the next group's keys begin.
    local function mark_behind(keys, is_there)
      local is_removed = is_there ~= '1'
      local function remove()
        if not is_removed then
          must('DEL', KEYS[keys])
          is_removed = true
        end
      end
      return remove, keys + tonumber(is_there)
    end

    function kinds.reset(first, requests, arg)
      local remove_mark, next_key = mark_behind(first + requests, ARGV[arg])
      each(first, requests, 1, 1, function(key)
        local were_there = must('DEL', KEYS[key])
        remove_mark()
        answer(were_there)
      end)
      return next_key, arg + 1
    end

    -- Takes back what was counted and not used. What has expired, or was deleted, stays away.
    function kinds.back(first, requests, arg)
      local tokens = tonumber(ARGV[arg])
      local remove_mark, next_key = mark_behind(first + requests, ARGV[arg + 1])
      each(first, requests, 1, 1, function(key)
        local held = number(read(pcall('GET', KEYS[key]), 'GET'))
        if held > tokens then
          must('INCRBY', KEYS[key], -tokens)
        elseif held > 0 then
          -- What counts nothing takes no memory.
          must('DEL', KEYS[key])
        end
        if held > 0 then
          remove_mark()
        end
        answer(held)
      end)
      return next_key, arg + 2
    end

    function kinds.fade(first, requests, arg)
      local tokens, window_end, give_back = tonumber(ARGV[arg]), ARGV[arg + 1], sliding().give_back
      each(first, requests, 1, 1, function(key)
        give_back(KEYS[key], tokens, window_end)
      end)
      return first + requests, arg + 2
    end

    function kinds.arrival(first, requests, arg)
      local tokens, name, length = tonumber(ARGV[arg]), ARGV[arg + 1] .. ':' .. ARGV[arg + 2], tonumber(ARGV[arg + 3])
      local give_back = gcra().give_back
      each(first, requests, 1, 1, function(key)
        give_back(KEYS[key], tokens, name, length)
      end)
      return first + requests, arg + 4
    end
  end

  local function decide(kind, first, requests, arg)
    if not kinds[kind] then
      add_other_kinds()
    end
    return kinds[kind](first, requests, arg)
  end

  return {decide = decide, mend = mend}
end

local functions
local key, arg = 1, 1
while key <= #KEYS do
  local kind, requests = ARGV[arg], tonumber(ARGV[arg + 1])
  if kind == 'take' then
    -- Requests of one rule with a fixed window: counted at once, and what was too many taken back. A number would have
    -- to be made a text again for each command.
    local taken, expiry = ARGV[arg + 2], ARGV[arg + 5]
    local tokens, unit, limit = tonumber(taken), tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4])
    local window_end, untaken = tonumber(expiry), '-' .. taken
    local current = now < window_end and now >= window_end - tonumber(ARGV[arg + 6])
    for index = key, key + requests - 1 do
      local before = -1
      if current then
        local counter, failed = KEYS[index], false
        local held = pcall('INCRBY', counter, taken)
        if type(held) ~= 'number' or held < tokens or held == tokens and pcall('EXPIREAT', counter, expiry) ~= 1 then
          functions = functions or other_functions()
          held = functions.mend(counter, held, tokens, taken, window_end)
          failed = type(held) == 'table'
        end
        if failed then
          before = held
        else
          before = min(held - tokens, MOST)
          if held > limit then
            local back = before >= limit and tokens or min(tokens, ceil((held - limit) / unit) * unit)
            local left = pcall('INCRBY', counter, back == tokens and untaken or -back)
            -- Cheaper than to look at the type alone.
            if left ~= held - back and type(left) == 'table' then
              before = {err = left.err .. ' [INCRBY]'}
            end
          end
        end
      end
      replied = replied + 1
      reply[replied] = before
    end
    key, arg = key + requests, arg + 7
  else
    functions = functions or other_functions()
    key, arg = functions.decide(kind, key, requests, arg + 2)
  end
end
return reply
