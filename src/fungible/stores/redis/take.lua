-- Takes from a rate. ARGV: cost and tolerance in microseconds.
-- Gives how far the theoretical arrival time was ahead of now before, in microseconds: all else follows from it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead = math.max((redis.call('GET', KEYS[1]) or now) - now, 0)
local wanted = ahead + ARGV[1]
if wanted <= tonumber(ARGV[2]) then
  -- A key ends at a whole millisecond: one more than what the division gives, so that it never ends before its time.
  local life = math.ceil(wanted / 1000) + 1
  redis.call('SET', KEYS[1], string.format('%.0f', now + wanted), 'PX', string.format('%.0f', life))
end
return ahead
