
-- KEYS: streams in use, then some streams to check: another program may have added to them.
-- ARGV: group, time in ms after which a consumer without entries is removed.
-- Returns the streams in use.
typed(KEYS[1], 'set')
local names = must('SMEMBERS', KEYS[1])
local known = {}
for _, name in ipairs(names) do known[name] = true end
for index = 2, #KEYS do
  local stream = KEYS[index]
  local used = in_use(stream, ARGV[1])
  if used and not known[stream] then
    must('SADD', KEYS[1], stream)
    names[#names + 1] = stream
  elseif known[stream] and not used then
    must('SREM', KEYS[1], stream)
  end
end
-- One stream at a time, since this is not urgent.
if KEYS[2] then remove_consumers(KEYS[2], ARGV[1], tonumber(ARGV[2])) end
return names
