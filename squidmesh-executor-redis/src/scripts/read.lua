
-- KEYS: the streams, then the dead letters. ARGV: group, consumer, most entries, most dead letters, longest entry, then how many
-- streams each class has. Answers with the place of the stream, the id and the fields of each entry.
local group, consumer, left = ARGV[1], ARGV[2], tonumber(ARGV[3])
local bound, longest = ARGV[4], tonumber(ARGV[5])
local dead = KEYS[#KEYS]
local found = {}

local function read(place, count)
  local stream = KEYS[place]
  local answer = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  if failed(answer) then
    ready(stream, group)
    answer = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  end
  if not answer then return 0 end
  local entries = answer[1][2]
  for _, entry in ipairs(entries) do
    if fits(stream, group, entry[1], entry[2], dead, bound, longest) then
      found[#found + 1] = {place, entry[1], entry[2]}
      left = left - 1
    end
  end
  return #entries
end

local first = 1
for class = 6, #ARGV do
  local streams = tonumber(ARGV[class])
  if streams > 0 and left > 0 then
    local share = math.max(1, math.floor(left / streams))
    local full = {}
    for place = first, first + streams - 1 do
      if left > 0 then
        local count = math.min(share, left)
        if read(place, count) == count then full[#full + 1] = place end
      end
    end
    for _, place in ipairs(full) do
      if left > 0 then read(place, left) end
    end
  end
  first = first + streams
end
return found
