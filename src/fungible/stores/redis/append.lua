-- Adds an item to a feed. ARGV: ttl_ms; a mark, which no other item has; the item.
local FEW = 4
local key, ttl = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Each appending looks at the next few entries and takes those that have expired: more than it adds, and never a long
-- wait. Where the next one begins stands in the item that is added; after the last entry it begins anew. So one item
-- that lives for long keeps none of those behind it. The newest stays: it is what most readers have seen last.
local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local place = '-'
if newest then
  local entries = redis.call('XRANGE', key, newest[2][8] or '-', '+', 'COUNT', FEW + 1)
  if entries[FEW + 1] then
    place = entries[FEW + 1][1]
  end
  for index = 1, math.min(#entries, FEW) do
    local id, fields = entries[index][1], entries[index][2]
    if tonumber(fields[2]) <= now and id ~= newest[1] then
      redis.call('XDEL', key, id)
    end
  end
end
local expiry = string.format('%.0f', now + ttl + 1)
redis.call('XADD', key, '*', 'until', expiry, 'mark', ARGV[2], 'item', ARGV[3], 'place', place)
if redis.call('PTTL', key) < ttl then
  redis.call('PEXPIRE', key, ttl + 1)
end
return 0
