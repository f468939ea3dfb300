
-- KEYS: stream, the stream of the entry's own version. ARGV: group, id, most entries there, time to live there in ms, payload.
-- What is there is not ours: it is added to, and nothing of it is changed.
local stream, other = KEYS[1], KEYS[2]
local length = redis.pcall('XLEN', other)
if not failed(length) and length < tonumber(ARGV[3]) then
  redis.pcall('XADD', other, '*', 'payload', ARGV[5])
  redis.pcall('PEXPIRE', other, ARGV[4])
end
redis.pcall('XACK', stream, ARGV[1], ARGV[2])
redis.pcall('XDEL', stream, ARGV[2])
return 1
