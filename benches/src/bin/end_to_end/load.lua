-- The requests of one run, and what came of them. Arguments: how many keys (one: told by its address, no header), how
-- many requests are pipelined, and the key to begin with, so that successive runs go on around the circle of keys.

function init(args)
  local keys, depth, first = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  -- Without a function `request`, wrk sends one request over and over, and Lua takes no time.
  if keys == 1 and depth == 1 then
    return
  end
  -- Made before the clock starts, for the same reason.
  local batches = {}
  for batch = 1, keys do
    local requests = {}
    for position = 1, depth do
      local headers = nil
      if keys > 1 then
        headers = { ["Host"] = wrk.headers["Host"], ["X-Api-Key"] = "client-" .. batch }
      end
      requests[position] = wrk.format(nil, nil, headers)
    end
    batches[batch] = table.concat(requests)
  end
  local next = first
  request = function()
    next = next % keys + 1
    return batches[next]
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    "result %d %d %d %d %d %d",
    summary.requests,
    summary.duration,
    errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50),
    latency:percentile(99)
  ))
end
