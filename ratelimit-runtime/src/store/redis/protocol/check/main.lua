local functions
local key, arg = 1, 1
while key <= #KEYS do
  local kind, requests = ARGV[arg], tonumber(ARGV[arg + 1])
  if kind == 'take' then
    -- Requests of one rule with a fixed window: all tokens are taken at once, and the excess is returned. The arguments stay texts,
    -- because Lua would convert a number to a text for each command.
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
            -- The comparison is cheaper than the type check, and rarely true.
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
