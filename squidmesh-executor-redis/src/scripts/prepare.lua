
-- KEYS: streams. ARGV: group, time to live in ms of those that are created.
for _, stream in ipairs(KEYS) do
  ready(stream, ARGV[1])
  if must('PTTL', stream) == -1 then must('PEXPIRE', stream, ARGV[2]) end
end
return #KEYS
