
-- KEYS: stream, dead letters. ARGV: group, consumer, idle for so many ms, most entries, most dead letters, longest entry, most
-- deliveries, time in ms after which a consumer that has nothing is forgotten, where to begin.
-- Answers where to go on, and with the id and the fields of each entry that was taken over.
local stream, dead = KEYS[1], KEYS[2]
local group, consumer, idle, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local bound, longest, most, forget = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local found = {}
-- Looks at ten times as many as it takes, and strikes those off that were deleted while pending.
local answer = redis.pcall('XAUTOCLAIM', stream, group, consumer, idle, ARGV[9], 'COUNT', count)
if failed(answer) then return {'0-0', found} end
for _, entry in ipairs(answer[2]) do
  -- Before version 7 an entry that was deleted while pending comes without its fields.
  if entry and entry[1] and entry[2] then
    local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
    local deliveries = pending[1] and pending[1][4] or 0
    if deliveries > most then
      park(stream, group, entry[1], dead, bound, longest, 'it was delivered ' .. deliveries .. ' times and never settled',
        #entry[2] == 2 and entry[2][2] or as_text(entry[2], longest))
    elseif fits(stream, group, entry[1], entry[2], dead, bound, longest) then
      found[#found + 1] = {entry[1], entry[2]}
    end
  end
end

-- Only what has nothing in its hands may go: the entries of a consumer that is deleted are lost.
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if not failed(consumers) then
  for _, one in ipairs(consumers) do
    local about = {}
    for place = 1, #one, 2 do about[one[place]] = one[place + 1] end
    if about['pending'] == 0 and about['idle'] > forget and about['name'] ~= consumer then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, about['name'])
    end
  end
end
return {answer[1], found}
