-- What most batches do not need: all kinds of groups except 'take', and `mend`. A script creates its functions at each call, so
-- functions that are seldom used are created by functions, too. The files tools.lua to kinds.lua are the body of this one.
local function other_functions()
  local max, floor, format = math.max, math.floor, string.format
  local find, match, sub = string.find, string.match, string.sub

  local function answer(value)
    replied = replied + 1
    reply[replied] = value
  end

  -- Runs a command, or raises its error with the command's name, which Redis 7.0 leaves out.
  local function must(command, ...)
    local answered = pcall(command, ...)
    if type(answered) == 'table' and answered.err then
      error({err = answered.err .. ' [' .. command .. ']'}, 0)
    end
    return answered
  end

  -- Whether an error means that another program wrote the value.
  local function is_foreign(text)
    return find(text, '^%-?WRONGTYPE')
      or find(text, '^%-?ERR value is not an integer')
      or find(text, '^%-?ERR hash value is not an integer')
      or find(text, '^%-?ERR increment or decrement would overflow')
  end

  -- The text that a command has read; empty if there is none.
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

  -- Repairs a counter after INCRBY failed or created it: sets its expiry, or replaces a value that is no count. Returns what the
  -- counter holds, or an error. No key stays without an expiry, as long as the user may run one command that prevents it.
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

  -- Runs a step for each request of a group. If a step fails, it is undone, and the request is answered with the error.
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

  -- Each algorithm has three functions: `look` answers what a counter holds and returns how much of it is used; `take` takes a number
  -- of tokens, which may be zero; `undo` restores the counter as far as the user's privileges allow. Windows add the most that
  -- the requests may take in `look`, and remove the excess in `take`.
