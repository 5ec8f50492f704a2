  local function sliding()
    -- The count of the window with this end.
    local function count_in(key, window_end)
      local held = pcall('HGET', key, window_end)
      return held and number(read(held, 'HGET')) or 0
    end

    -- Adds to a window. The hash lives as long as this window counts, including in the window after it.
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
        -- First of all, because the other commands may fail.
        must('EXPIREAT', key, next_end)
        rule.expires = true
        -- A count in the next window means that this clock was set back, or is behind that of another server.
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
      -- The multiplication comes first, so that whole results stay exact.
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

    -- Refunds what was counted and not used.
    local function refund(key, tokens, window_end)
      local held = count_in(key, window_end)
      if held > tokens then
        must('HINCRBY', key, window_end, -tokens)
      elseif held > 0 then
        must('HDEL', key, window_end)
      end
      answer(held)
    end

    return {look = look, take = take, undo = undo, refund = refund, add = add}
  end

