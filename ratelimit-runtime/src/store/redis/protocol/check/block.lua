
  -- The key of a block holds the second at which the block ends, and how many blocks there were. It is kept for the longest block after
  -- that, so that the next refusal finds it.
  local LONGEST_BLOCK = 7776000

  -- Reads a block: its end and its level, zeros if there is none that still counts.
  local function read_block(key, longest)
    local ends, level = match(read(pcall('GET', key), 'GET'), '^(%d+) (%d%d?)$')
    ends = tonumber(ends) or 0
    -- A block far in the future is from before the clock was set back.
    if ends + longest <= now or ends > now + 2 * LONGEST_BLOCK then
      return 0, 0
    end
    return ends, tonumber(level)
  end

  -- Writes a block of so many seconds, rounded up, and returns its end.
  local function write_block(key, seconds, level, longest)
    local ends = now + (micros > 0 and 1 or 0) + seconds
    must('SET', key, format('%d %d', ends, level), 'EX', format('%d', ends - now + longest + 1))
    return ends
  end

  -- Reads the durations of a rule's blocks.
  local function durations_of(text)
    local durations = {}
    for seconds in string.gmatch(text, '%d+') do
      durations[#durations + 1] = tonumber(seconds)
    end
    return durations
  end
