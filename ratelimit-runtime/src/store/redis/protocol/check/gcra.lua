  -- A counter of GCRA holds one bucket for each rate and burst under which it is used, the latest first. A bucket is written as
  -- `nanoseconds of a token:capacity:seconds:nanoseconds`, the last two being the time at which it is full again. Tokens are taken
  -- from all buckets, as far as they have some. A bucket that had too few is marked as overdrawn by `!` until it is full again. It
  -- gets refunds of its own rule only, because nobody can tell how many of the others' tokens came from it.
  local function gcra()
    -- The most buckets of a counter.
    local BUCKETS = 4

    -- More nanoseconds than the tokens of any rule need to come back, and few enough for Lua's numbers.
    local LONGEST = 8e15

    -- Later than any time, in seconds: in the year 2286.
    local LATEST = 9999999999

    -- How far a time is ahead, in nanoseconds, and at most as far as all tokens. A time further ahead means that the clock was set
    -- back. A time that is much further ahead starts from zero.
    local function ahead_of(seconds, nanos, full, length)
      local ahead = (seconds - now) * 1e9 + nanos - micros * 1e3
      return ahead <= 2 * max(full, length * 1e9) and min(max(ahead, 0), full) or 0
    end

    -- The time that is so many nanoseconds ahead, as seconds and nanoseconds.
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

    -- Writes the buckets. The key lives until the last of them is full again.
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

    -- Reads the buckets. Returns the seconds and nanoseconds at which the rule's own is full again.
    local function find_buckets(rule, key)
      rule.wrote, rule.others, rule.overdrawn = false, nil, false
      local held = read(pcall('GET', key), 'GET')
      rule.held = held
      local name, seconds, nanos = match(held, '^(%d+:%d+):(%d+):(%d+)$')
      if name == rule.bucket then
        -- The usual case: one bucket, of this rule.
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
        -- A new bucket starts with what was taken from the others.
        rule.ahead = own and own.ahead or min(used, rule.capacity) * rule.emission
        rule.overdrawn = own and own.overdrawn or not own and used > rule.capacity
        seconds, nanos = 0, 0
        if rule.ahead > 0 then
          seconds, nanos = time_of(rule.ahead)
        end
      end
      return seconds, nanos
    end

    local function look(rule, key)
      local seconds, nanos = find_buckets(rule, key)
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
        write(key, rule.bucket, min(rule.ahead + tokens * rule.emission, rule.full), overdrawn, rule.others)
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

    local function refund(key, tokens, name, length)
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

    -- Takes as many tokens as there are, and answers how many.
    local function overdraw(rule, key, tokens)
      find_buckets(rule, key)
      take(rule, key, tokens)
      answer(min(tokens, floor((rule.full - rule.ahead) / rule.emission)))
    end

    return {look = look, take = take, undo = undo, refund = refund, overdraw = overdraw}
  end

