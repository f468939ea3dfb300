
-- KEYS: streams in use, then each stream with its index of jobs.
-- ARGV: group, then the number of the stream, the id and the job of each entry.
local group = ARGV[1]
for position = 2, #ARGV, 3 do
  local of = tonumber(ARGV[position])
  local stream, index, id, job = KEYS[of * 2], KEYS[of * 2 + 1], ARGV[position + 1], ARGV[position + 2]
  try('XACK', stream, group, id)
  try('XDEL', stream, id)
  -- The job may have been announced again meanwhile.
  if try('HGET', index, job) == id then must('HDEL', index, job) end
end
for position = 2, #KEYS, 2 do
  -- What the index of an empty stream still contains belongs to entries that were lost.
  if try('XLEN', KEYS[position]) == 0 then
    must('DEL', KEYS[position + 1])
    try('SREM', KEYS[1], KEYS[position])
  end
end
return #ARGV
