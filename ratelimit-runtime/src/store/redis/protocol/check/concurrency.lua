
  -- A counter of places holds a text: for each place the 16 digits of its name, and the 10 digits of the second at which it ends. A
  -- renewed place moves to the end, so the first to end comes first.
  local function concurrency()
    local NAME, WIDTH = 16, 26

    -- The places, without those that have ended. A place that ends much too late is from before the clock was set back.
    local function places_in(text, length)
      if #text % WIDTH ~= 0 then
        return ''
      end
      local at = 1
      while at <= #text do
        local ends = tonumber(sub(text, at + NAME, at + WIDTH - 1))
        if ends and ends > now and ends <= now + 2 * length + 1 then
          break
        end
        at = at + WIDTH
      end
      return at > 1 and sub(text, at) or text
    end

    -- The text without a place, and whether it was there.
    local function without(text, name)
      local at = 1
      repeat
        local found = find(text, name, at, true)
        if found and found % WIDTH == 1 then
          return sub(text, 1, found - 1) .. sub(text, found + WIDTH), true
        end
        at = found and found + 1
      until not found
      return text, false
    end

    local function look(rule, key)
      rule.wrote, rule.before = false, places_in(read(pcall('GET', key), 'GET'), rule.length)
      local is_there
      rule.others, is_there = without(rule.before, rule.place)
      local used = #rule.others / WIDTH
      if is_there then
        -- A place that is there is renewed.
        used = min(used, rule.capacity - 1)
      end
      answer(used)
      return used
    end

    -- A place lives a second longer, since the time is cut to seconds. The key lives another second longer, since EX counts from the start
    -- of the script and not from TIME.
    local function take(rule, key, tokens)
      if tokens > 0 then
        local ends = format('%010d', min(now + rule.length + 1, 9999999999))
        must('SET', key, rule.others .. rule.place .. ends, 'EX', format('%d', rule.length + 2))
        rule.wrote = true
      end
    end

    local function undo(rule, key)
      if rule.wrote and rule.before == '' then
        pcall('DEL', key)
      elseif rule.wrote then
        pcall('SET', key, rule.before, 'EX', format('%d', rule.length + 2))
      end
    end

    local function release(key, place)
      local left, is_there = without(read(pcall('GET', key), 'GET'), place)
      if is_there and left == '' then
        must('DEL', key)
      elseif is_there then
        must('SET', key, left, 'KEEPTTL')
      end
      answer(is_there and 1 or 0)
    end

    return {look = look, take = take, undo = undo, release = release}
  end

