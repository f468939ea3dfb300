
-- KEYS: streams in use, the dead letters, then the streams.
-- ARGV: group, consumer, maximum number of entries, maximum number of dead letters, longest entry, then the number of
-- streams of each class.
-- Returns the streams in use, and the index of the stream, the id and the fields of each entry.
local group, consumer, left = ARGV[1], ARGV[2], tonumber(ARGV[3])
local bound, longest = ARGV[4], tonumber(ARGV[5])
local used, dead = KEYS[1], KEYS[2]
typed(used, 'set')
local found = {}

local function read(index, count)
  local stream = KEYS[index + 2]
  local answer = try('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  if failed(answer) then
    ready(stream, group)
    answer = must('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  end
  if not answer then return 0 end
  local entries = answer[1][2]
  for _, entry in ipairs(entries) do
    if fits(stream, group, entry[1], entry[2], dead, bound, longest) then
      found[#found + 1] = {index, entry[1], entry[2]}
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
    for index = first, first + streams - 1 do
      if left > 0 then
        local count = math.min(share, left)
        if read(index, count) == count then full[#full + 1] = index end
      end
    end
    for _, index in ipairs(full) do
      if left > 0 then read(index, left) end
    end
  end
  first = first + streams
end
-- From here on nothing may fail: the entries that were read would be pending without their consumer knowing.
for index = 3, #KEYS do
  redis.pcall(in_use(KEYS[index], group) and 'SADD' or 'SREM', used, KEYS[index])
end
local names = redis.pcall('SMEMBERS', used)
return {failed(names) and {} or names, found}
