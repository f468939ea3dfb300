
-- KEYS: stream, the stream of the entry's own version.
-- ARGV: group, id, maximum length of the other stream, its time to live in ms, payload.
-- The other stream belongs to processes of another version: it is only added to.
local stream, other = KEYS[1], KEYS[2]
local length = try('XLEN', other)
if not failed(length) and length < tonumber(ARGV[3]) then
  try('XADD', other, '*', 'payload', ARGV[5])
  try('PEXPIRE', other, ARGV[4])
end
try('XACK', stream, ARGV[1], ARGV[2])
try('XDEL', stream, ARGV[2])
return 1
