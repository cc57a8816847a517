-- Extends a record's life. ARGV: ttl_ms. Gives its expiry in Unix milliseconds, 0 where there is no record.
local meta = redis.call('HGET', KEYS[1], '\0')
if not meta or meta == '-' then
  return 0
end
local time = redis.call('TIME')
local expiry = time[1] * 1000 + math.ceil(time[2] / 1000) + ARGV[1]
local standing = tonumber(string.sub(meta, 9))
if expiry <= standing then
  return standing
end
local text = string.format('%.0f', expiry)
redis.call('HSET', KEYS[1], '\0', string.sub(meta, 1, 8) .. text)
redis.call('PEXPIREAT', KEYS[1], text)
return expiry
