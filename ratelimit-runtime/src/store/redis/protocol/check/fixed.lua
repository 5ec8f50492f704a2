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

