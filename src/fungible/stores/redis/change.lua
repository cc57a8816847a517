-- Sets and removes fields of a record, if each named field holds what the caller has read.
-- ARGV: a head, which is the incarnation, ttl_ms (0 to keep the expiry), how many of the named fields were there when
--   read, how many were not, and how many are set; then the names of the first, the names of the second, what the
--   first held, name and value of each that is set, and the names that are removed.
-- Gives the record's meta field; the record as it stands where a named field has changed; 0 where it is gone.
-- No more than CHUNK values are unpacked at once: Lua's stack ends at about 8000.
local CHUNK = 4000
-- Lua 5.4, which some engines have, has no global of this name.
local unpack = table.unpack or unpack
local key = KEYS[1]
-- One string of numbers costs both sides less than as many arguments.
local incarnation, ttl, there, absent, sets = struct.unpack('>c8dI4I4I4', ARGV[1])
local named = there + absent
local names_to = 1 + named
local pairs_from = names_to + there + 1
local pairs_to = pairs_from + 2 * sets - 1

local meta
for first = 2, math.max(names_to, 2), CHUNK do
  local last = math.min(first + CHUNK - 1, names_to)
  local held = redis.call('HMGET', key, '\0', unpack(ARGV, first, last))
  meta = held[1]
  if not meta or string.sub(meta, 1, 8) ~= incarnation then
    return 0
  end
  for index = first, last do
    local read = index - 1 <= there and ARGV[index + named]
    if held[index - first + 2] ~= read then
      return redis.call('HGETALL', key)
    end
  end
end

for first = pairs_from, pairs_to, CHUNK do
  redis.call('HSET', key, unpack(ARGV, first, math.min(first + CHUNK - 1, pairs_to)))
end
for first = pairs_to + 1, #ARGV, CHUNK do
  redis.call('HDEL', key, unpack(ARGV, first, math.min(first + CHUNK - 1, #ARGV)))
end

if ttl > 0 then
  local time = redis.call('TIME')
  local expiry = time[1] * 1000 + math.ceil(time[2] / 1000) + ttl
  if expiry > tonumber(string.sub(meta, 9)) then
    local text = string.format('%.0f', expiry)
    meta = incarnation .. text
    redis.call('HSET', key, '\0', meta)
    redis.call('PEXPIREAT', key, text)
  end
end
return meta
