-- Adds an item to a feed. ARGV: ttl_ms; a mark, which no other item has; the item.
local FEW = 4
local key, ttl = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Each appending takes a few that have expired off the front: that is more than it adds, and never a long wait.
for _, entry in ipairs(redis.call('XRANGE', key, '-', '+', 'COUNT', FEW)) do
  if tonumber(entry[2][2]) > now then
    break
  end
  redis.call('XDEL', key, entry[1])
end
redis.call('XADD', key, '*', 'until', string.format('%.0f', now + ttl + 1), 'mark', ARGV[2], 'item', ARGV[3])
if redis.call('PTTL', key) < ttl then
  redis.call('PEXPIRE', key, ttl + 1)
end
return 0
