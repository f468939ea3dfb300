
-- KEYS: dead letters, stream. ARGV: id, group, payload. Answers whether it was there to be returned.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
ready(KEYS[2], ARGV[2])
if used_up(redis.pcall('XADD', KEYS[2], '*', 'payload', ARGV[3])) then
  -- The stream begins anew, and the next sweep announces what was in it.
  redis.call('DEL', KEYS[2])
  ready(KEYS[2], ARGV[2])
  redis.call('XADD', KEYS[2], '*', 'payload', ARGV[3])
end
return 1
