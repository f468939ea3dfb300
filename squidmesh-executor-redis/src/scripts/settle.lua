
-- KEYS: stream and index, as often as wanted. ARGV: group, then the place of the stream, the id and the job of each entry.
local group = ARGV[1]
for place = 2, #ARGV, 3 do
  local of = tonumber(ARGV[place])
  local stream, index, id, job = KEYS[of * 2 - 1], KEYS[of * 2], ARGV[place + 1], ARGV[place + 2]
  redis.pcall('XACK', stream, group, id)
  redis.pcall('XDEL', stream, id)
  -- Another may have announced the job anew.
  if redis.pcall('HGET', index, job) == id then redis.call('HDEL', index, job) end
end
for place = 1, #KEYS, 2 do
  -- What the index of an empty stream still has is of entries that were lost.
  if redis.pcall('XLEN', KEYS[place]) == 0 then redis.call('DEL', KEYS[place + 1]) end
end
return #ARGV
