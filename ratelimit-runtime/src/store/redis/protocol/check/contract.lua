-- Decides a batch of requests by this server's clock. Each request counts in all of its rules or in none.
--
-- KEYS: the counters, group by group; those of one request side by side, followed by the keys of its blocks. Each counter has one
--   key. The key of a sliding window is a hash, in which each window has a field, named by its end. The mark follows the counters of
--   a group that removes it. The script touches no other key.
-- ARGV: for each group of requests of one kind: the kind, how many requests there are, and
--   'mark': nothing;
--   'reset': whether a mark follows, 1 or 0;
--   'refund_fixed': how many tokens each refunds, and whether a mark follows;
--   'refund_sliding': how many tokens each refunds, and the window's end;
--   'refund_gcra': how many tokens each refunds, the nanoseconds of a token, the capacity and the length;
--   'overdraw_fixed': how many tokens each takes, whether or not they fit, and the window's end;
--   'overdraw_sliding': the same, and the length;
--   'overdraw_gcra': how many tokens each takes, as far as there are some, the nanoseconds of a token, the capacity and the length;
--   'release': for each the name of its place;
--   'block': how many seconds, and the longest block of the rule;
--   'take': how many tokens each takes, in units of how many, the limit, the window's end and its length;
--   'all': how many rules each has, how many requests are the same as it, and for each rule
--     its algorithm, its capacity, how many tokens a request costs, how many it takes if there are as many, whether the
--     rule may refuse (1 or 0), and the window's end, or the nanoseconds of a token, or nothing for places, and the length;
--     the algorithm ends with `!` if the rule blocks whom it refuses; then the durations of each such rule, as in `60,600`;
--     then for each request the names of its places, one for each rule of places.
-- A mark is a key that holds the time in microseconds at which it was made, which is after all earlier resets and refunds.
-- Returns the server's time (seconds, microseconds), then what each request found: the value of a mark, the number in a counter, the
-- two numbers of a sliding window, how many tokens were overdrawn, how many other places are held, or the seconds and nanoseconds at
-- which all tokens of GCRA are back, zeros if they are; behind the values of all rules, for each that blocks, the second at which the block
-- ends, or zero without one. Each value
-- is -1 if a window is not the current one: that request was not counted and must be sent again for the time returned. The
-- first value of a request that failed is an error, and its changes were undone.
--
-- A counter is created together with its expiry, so that none is left without one. A value that is no count comes from another
-- program and is replaced. Every other error of a command fails the request that it belongs to.
--
-- The commands are those of Redis 6.0: SET has no EXAT there.

local call, pcall, try, min, ceil = redis.call, redis.pcall, pcall, math.min, math.ceil

-- More than any limit. Larger numbers might lose digits in Lua.
local MOST = 4294967296

local time = pcall('TIME')
if time.err then
  return {err = time.err .. ' [TIME]'}
end
local now, micros = tonumber(time[1]), tonumber(time[2])
local reply, replied = {now, micros}, 2

