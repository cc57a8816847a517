-- Reads a feed. ARGV: ID and mark of the last item seen, both empty for none; how many entries to look at.
-- Gives the ID and mark of the last entry looked at, how many were looked at, then those items that are live.
local key, seen, mark, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local entries, first = {}, 2
if seen ~= '' then
  entries = redis.call('XRANGE', key, seen, '+', 'COUNT', most + 1)
end
-- IDs are times. Where the server has lost what we have seen, or a part of it, and its clock has stepped back, newer
-- items may have lower IDs: without the very item that we have seen last, everything is read again.
if not entries[1] or entries[1][1] ~= seen or entries[1][2][4] ~= mark then
  entries, first = redis.call('XRANGE', key, '-', '+', 'COUNT', most), 1
end
local last = entries[#entries]
if not last then
  return {'', '', 0}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local page = {last[1], last[2][4], #entries - first + 1}
for index = first, #entries do
  local item = entries[index][2]
  if tonumber(item[2]) > now then
    page[#page + 1] = item[6]
  end
end
return page
