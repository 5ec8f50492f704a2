-- KEYS: counters, those of one rule side by side.
-- ARGV: for each rule how many counters it has here, its limit, and the end of its window.
-- Returns the server's time, then what each counter holds with this check in it.
local call = redis.call
local keys, arguments = KEYS, ARGV
local time = call('TIME')
local reply = {tonumber(time[1]), tonumber(time[2])}
local key = 0
for rule = 1, #arguments, 3 do
  local limit, ends = tonumber(arguments[rule + 1]), arguments[rule + 2]
  for _ = 1, arguments[rule] do
    key = key + 1
    local counter = keys[key]
    local held = call('INCR', counter)
    if held == 1 then
      call('EXPIREAT', counter, ends)
    end
    if held > limit then
      call('DECR', counter)
    end
    reply[key + 2] = held
  end
end
return reply
