-- Deletes a record, and holds its key. ARGV: tombstone_ms, 0 for none.
local tombstone = tonumber(ARGV[1])
if redis.call('HGET', KEYS[1], '\0') == '-' then
  if redis.call('PTTL', KEYS[1]) >= tombstone then
    return 0
  end
else
  redis.call('DEL', KEYS[1])
end
if tombstone > 0 then
  redis.call('HSET', KEYS[1], '\0', '-')
  redis.call('PEXPIRE', KEYS[1], tombstone + 1)
end
return 0
