-- Tries all that the other scripts do with one kind of key, and leaves nothing. ARGV: record, rate or feed; a head as
-- change.lua is given it: the incarnation `8 bytes.`, 1.5, 2, 3 and 4.
-- Gives a command and what the server had against it, for each that it had something against; empty where all is well.
local unpack = table.unpack or unpack
local key, kind = KEYS[1], ARGV[1]
local found, right = {}, false
local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    found[#found + 1] = command
    found[#found + 1] = reply.err
    return {}
  end
  return reply
end

local time = try('TIME')
-- What needs memory comes first: only a script's first write is refused for want of it.
if kind == 'record' then
  try('HSET', key, '\0', '-', 'a', 'b')
  local field, fields = try('HGET', key, '\0'), try('HMGET', key, '\0', unpack({'a', 'c'}, 1, 2))
  local whole = try('HGETALL', key)
  try('HDEL', key, 'a')
  try('PEXPIREAT', key, string.format('%.0f', (time[1] or 0) * 1000 + 3600000))
  local left = try('PTTL', key)
  try('PEXPIRE', key, 60000)
  local incarnation, ttl, there, absent, sets = struct.unpack('>c8dI4I4I4', ARGV[2])
  right = field == '-' and fields[2] == 'b' and fields[3] == false and #whole == 4 and tonumber(left) and left > 60000
    and incarnation == '8 bytes.' and ttl == 1.5 and there == 2 and absent == 3 and sets == 4
elseif kind == 'rate' then
  local exact = string.format('%.0f', 4503599627370496 + 1)
  try('SET', key, exact, 'PX', '60000')
  right = try('GET', key) == '4503599627370497'
else
  local id = try('XADD', key, '*', 'until', '1', 'mark', 'a', 'item', 'b', 'place', '-')
  local newest, entries = try('XREVRANGE', key, '+', '-', 'COUNT', 1), try('XRANGE', key, '-', '+', 'COUNT', 2)
  try('PEXPIRE', key, 60000)
  local left = try('PTTL', key)
  right = newest[1] and entries[1] and newest[1][1] == id and entries[1][2][6] == 'b' and tonumber(left) and left > 0
  try('XDEL', key, type(id) == 'string' and id or '0-1')
end
try('DEL', key)
if not right and not found[1] then
  return {'EVAL', 'ERR its scripts do not work as those of Redis do'}
end
return found
