  local algorithms = {fixed = fixed, sliding = sliding, gcra = gcra, concurrency = concurrency}

  -- Each kind gets its first key, the number of requests, and the index of its arguments. It returns the indices of the next group's
  -- keys and arguments.
  local kinds = {}

  -- Requests with any rules: all counters are looked at first, then each request counts if all rules admit it.
  function kinds.all(first, requests, arg)
    local rules, times = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
    local values, current, places, blocks = 0, true, 0, 0
    local all, used = {}, {}
    for index = 1, rules do
      local at = arg + 2 + 7 * (index - 1)
      local name, capacity, last = ARGV[at], ARGV[at + 1], ARGV[at + 5]
      -- A rule that blocks: its durations follow the rules, and the key of its block follows the counters.
      local blocks_subjects = sub(name, -1) == '!'
      name = blocks_subjects and sub(name, 1, -2) or name
      local rule = {
        capacity = tonumber(capacity),
        cost = tonumber(ARGV[at + 2]),
        wanted = tonumber(ARGV[at + 3]),
        refuses = ARGV[at + 4] == '1',
        length = tonumber(ARGV[at + 6]),
      }
      if blocks_subjects then
        blocks = blocks + 1
        rule.block_index, rule.durations = blocks, durations_of(ARGV[arg + 1 + 7 * rules + blocks])
        rule.longest = rule.durations[#rule.durations]
        values = values + 1
      end
      used[name] = used[name] or algorithms[name]()
      rule.look, rule.take, rule.undo = used[name].look, used[name].take, used[name].undo
      if name == 'gcra' then
        rule.emission, rule.bucket = tonumber(last), last .. ':' .. capacity
        rule.full = rule.emission * rule.capacity
      elseif name == 'concurrency' then
        places = places + 1
        rule.place_index = places
      else
        rule.most = max(rule.wanted, times * rule.cost)
        rule.most_text = format('%.0f', rule.most)
        rule.end_text, rule.window_end = last, tonumber(last)
        rule.last_text = format('%.0f', rule.window_end - rule.length)
        current = current and now < rule.window_end and now >= rule.window_end - rule.length
      end
      values = values + ((name == 'fixed' or name == 'concurrency') and 1 or 2)
      all[index] = rule
    end
    local places_at, keys = arg + 2 + 7 * rules + blocks, rules + blocks
    local next_key, next_arg = first + keys * requests, places_at + places * requests
    if not current then
      for _ = 1, requests * values do
        answer(-1)
      end
      return next_key, next_arg
    end
    -- How many rules were looked at, for `undo`.
    local looked
    local function step(key)
      local admitted = times
      for index = 1, rules do
        looked = index
        local rule = all[index]
        if rule.place_index then
          rule.place = ARGV[places_at + (key - first) / keys * places + rule.place_index - 1]
        end
        local cost, free = rule.cost, rule.capacity - rule.look(rule, KEYS[key + index - 1])
        -- How many of the requests fit.
        local fits = cost == 0 and times or max(min(floor(free / cost), times), 0)
        if rule.block_index then
          rule.block_ends, rule.level = read_block(KEYS[key + rules + rule.block_index - 1], rule.longest)
          rule.is_over = fits == 0
          fits = rule.block_ends > now and 0 or fits
        end
        rule.free, rule.fits = free, fits
        if rule.refuses and fits < admitted then
          admitted = fits
        end
      end
      for index = 1, rules do
        local rule = all[index]
        local tokens = min(admitted, rule.fits) * rule.cost
        if tokens > 0 and rule.wanted > rule.cost then
          tokens = min(rule.wanted, rule.free)
        end
        rule.take(rule, KEYS[key + index - 1], tokens)
      end
      -- Requests under a rule that blocks are decided one by one.
      for index = 1, blocks > 0 and rules or 0 do
        local rule = all[index]
        if rule.block_index then
          if rule.block_ends <= now and rule.is_over then
            local level = min(rule.level + 1, #rule.durations)
            local key_of_block = KEYS[key + rules + rule.block_index - 1]
            rule.block_ends = write_block(key_of_block, rule.durations[level], level, rule.longest)
          end
          answer(rule.block_ends > now and rule.block_ends or 0)
        end
      end
    end
    local function undo(key)
      for index = 1, looked do
        all[index].undo(all[index], KEYS[key + index - 1])
      end
    end
    each(first, requests, keys, values, step, undo)
    return next_key, next_arg
  end

  -- Releases places. It is as frequent as the requests that take them.
  function kinds.release(first, requests, arg)
    local release = concurrency().release
    each(first, requests, 1, 1, function(key)
      release(KEYS[key], ARGV[arg + key - first])
    end)
    return first + requests, arg + requests
  end

  local function add_other_kinds()
    -- How long a mark lives: one day. The next reader creates it again.
    local MARK_SECONDS = 86400

    -- Reads the mark, and creates it if there is none.
    function kinds.mark(first, requests, arg)
      each(first, requests, 1, 1, function(key)
        local held, time = read(pcall('GET', KEYS[key]), 'GET'), now * 1e6 + micros
        -- A mark from the future means that the clock was set back.
        if not find(held, '^%d+$') or tonumber(held) > time then
          held = format('%.0f', time)
          must('SET', KEYS[key], held, 'EX', MARK_SECONDS)
        end
        answer(tonumber(held))
      end)
      return first + requests, arg
    end

    -- Removes the mark that follows a group's keys, if there is one. Its readers then find a new mark, and so learn that a counter has
    -- more room. Returns a function that removes it, and the index of the next group's keys.
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

    -- Blocks by hand for so many seconds, and leaves the level as it is.
    function kinds.block(first, requests, arg)
      local seconds, longest = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
      each(first, requests, 1, 1, function(key)
        local _, level = read_block(KEYS[key], longest)
        answer(write_block(KEYS[key], seconds, level, longest))
      end)
      return first + requests, arg + 2
    end

    -- Refunds what was counted and not used. A counter that has expired or was deleted is not created again.
    function kinds.refund_fixed(first, requests, arg)
      local tokens = tonumber(ARGV[arg])
      local remove_mark, next_key = mark_behind(first + requests, ARGV[arg + 1])
      each(first, requests, 1, 1, function(key)
        local held = number(read(pcall('GET', KEYS[key]), 'GET'))
        if held > tokens then
          must('INCRBY', KEYS[key], -tokens)
        elseif held > 0 then
          -- A counter at zero needs no memory.
          must('DEL', KEYS[key])
        end
        if held > 0 then
          remove_mark()
        end
        answer(held)
      end)
      return next_key, arg + 2
    end

    function kinds.refund_sliding(first, requests, arg)
      local tokens, window_end, refund = tonumber(ARGV[arg]), ARGV[arg + 1], sliding().refund
      each(first, requests, 1, 1, function(key)
        refund(KEYS[key], tokens, window_end)
      end)
      return first + requests, arg + 2
    end

    function kinds.refund_gcra(first, requests, arg)
      local tokens, name, length = tonumber(ARGV[arg]), ARGV[arg + 1] .. ':' .. ARGV[arg + 2], tonumber(ARGV[arg + 3])
      local refund = gcra().refund
      each(first, requests, 1, 1, function(key)
        refund(KEYS[key], tokens, name, length)
      end)
      return first + requests, arg + 4
    end
  end

  local function add_overdrafts()
    -- Takes tokens whether or not they fit, in the window in which a request was charged, and nothing if that is over.
    function kinds.overdraw_fixed(first, requests, arg)
      local text, window_end = ARGV[arg], tonumber(ARGV[arg + 1])
      local tokens = tonumber(text)
      each(first, requests, 1, 1, function(key)
        if now >= window_end then
          answer(0)
          return
        end
        local held = pcall('INCRBY', KEYS[key], text)
        if type(held) ~= 'number' or held <= tokens then
          held = mend(KEYS[key], held, tokens, text, window_end)
          if type(held) == 'table' then
            error(held, 0)
          end
        end
        answer(tokens)
      end)
      return first + requests, arg + 2
    end

    function kinds.overdraw_sliding(first, requests, arg)
      local counter, tokens = sliding(), tonumber(ARGV[arg])
      local rule = {
        most = tokens,
        most_text = ARGV[arg],
        end_text = ARGV[arg + 1],
        window_end = tonumber(ARGV[arg + 1]),
        length = tonumber(ARGV[arg + 2]),
      }
      each(first, requests, 1, 1, function(key)
        rule.added = 0
        -- The window counts in the next one, too.
        if now >= rule.window_end + rule.length then
          answer(0)
        else
          counter.add(rule, KEYS[key])
          answer(tokens)
        end
      end, function(key)
        counter.undo(rule, KEYS[key])
      end)
      return first + requests, arg + 3
    end

    function kinds.overdraw_gcra(first, requests, arg)
      local counter, tokens = gcra(), tonumber(ARGV[arg])
      local rule = {
        emission = tonumber(ARGV[arg + 1]),
        capacity = tonumber(ARGV[arg + 2]),
        bucket = ARGV[arg + 1] .. ':' .. ARGV[arg + 2],
        length = tonumber(ARGV[arg + 3]),
      }
      rule.full = rule.emission * rule.capacity
      each(first, requests, 1, 1, function(key)
        counter.overdraw(rule, KEYS[key], tokens)
      end, function(key)
        counter.undo(rule, KEYS[key])
      end)
      return first + requests, arg + 4
    end
  end

  local function decide(kind, first, requests, arg)
    if not kinds[kind] then
      add_other_kinds()
      add_overdrafts()
    end
    return kinds[kind](first, requests, arg)
  end

  return {decide = decide, mend = mend}
end

