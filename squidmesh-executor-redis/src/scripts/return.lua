
-- KEYS: dead letters, stream, streams in use. ARGV: id, group, payload. Returns whether it existed.
if must('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
ready(KEYS[2], ARGV[2])
if ids_exhausted(try('XADD', KEYS[2], '*', 'payload', ARGV[3])) then
  -- Creates the stream again; the next sweep announces what it contained.
  must('DEL', KEYS[2])
  ready(KEYS[2], ARGV[2])
  must('XADD', KEYS[2], '*', 'payload', ARGV[3])
end
must('SADD', KEYS[3], KEYS[2])
return 1
