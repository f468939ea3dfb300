
-- KEYS: stream, dead letters.
-- ARGV: group, consumer, minimum idle time in ms, maximum number of entries, maximum number of dead letters, longest
-- entry, maximum number of deliveries, time in ms after which a consumer without entries is removed, start position.
-- Returns the position to continue from, and the id and the fields of each entry that was taken over.
local stream, dead = KEYS[1], KEYS[2]
local group, consumer, idle, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local bound, longest, most, consumer_ttl = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local found = {}
-- The server examines ten times as many entries as it takes, and removes those that were deleted while pending.
local answer = try('XAUTOCLAIM', stream, group, consumer, idle, ARGV[9], 'COUNT', count)
if failed(answer) then return {'0-0', found} end
for _, entry in ipairs(answer[2]) do
  -- Before version 7, an entry that was deleted while pending is returned without its fields.
  if entry and entry[1] and entry[2] then
    local pending = must('XPENDING', stream, group, entry[1], entry[1], 1)
    local deliveries = pending[1] and pending[1][4] or 0
    if deliveries > most then
      local reason = 'it was delivered ' .. deliveries .. ' times and never settled'
      park(stream, group, entry[1], dead, bound, longest, reason,
        #entry[2] == 2 and entry[2][2] or as_text(entry[2], longest))
    elseif fits(stream, group, entry[1], entry[2], dead, bound, longest) then
      found[#found + 1] = {entry[1], entry[2]}
    end
  end
end

remove_consumers(stream, group, consumer_ttl, consumer)
return {answer[1], found}
