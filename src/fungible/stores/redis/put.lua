-- Writes a whole record.
-- ARGV: incarnation of the expected record, or of the new one; ttl_ms; what is expected: any, absent or record;
--   how many fields the expected record has; name and value of each of these; name and value of each new field.
-- Gives the record's meta field; the record as it stands where something else was expected; 0 where it is gone.
local CHUNK = 4000
-- Lua 5.4, which some engines have, has no global of this name.
local unpack = table.unpack or unpack
local key, incarnation, expected = KEYS[1], ARGV[1], ARGV[3]
local read_to = 4 + 2 * ARGV[4]

local meta = redis.call('HGET', key, '\0')
if meta == '-' then
  return 0
end
if expected == 'absent' and meta then
  return redis.call('HGETALL', key)
end
if expected == 'record' then
  if not meta or string.sub(meta, 1, 8) ~= incarnation then
    return 0
  end
  local standing, held = redis.call('HGETALL', key), {}
  for index = 1, #standing, 2 do
    held[standing[index]] = standing[index + 1]
  end
  -- One more than the fields: the meta field.
  if #standing ~= 2 * ARGV[4] + 2 then
    return standing
  end
  for index = 5, read_to, 2 do
    if held[ARGV[index]] ~= ARGV[index + 1] then
      return standing
    end
  end
end

local time = redis.call('TIME')
local expiry = string.format('%.0f', time[1] * 1000 + math.ceil(time[2] / 1000) + ARGV[2])
-- Overwriting does not make another record of it: who has read it may still change it.
local kept = meta and string.sub(meta, 1, 8) or incarnation
-- Only where there is something: a server out of memory refuses a script's first write alone, and DEL would be that.
if meta then
  redis.call('DEL', key)
end
redis.call('HSET', key, '\0', kept .. expiry)
for first = read_to + 1, #ARGV, CHUNK do
  redis.call('HSET', key, unpack(ARGV, first, math.min(first + CHUNK - 1, #ARGV)))
end
redis.call('PEXPIREAT', key, expiry)
return kept .. expiry
