
-- KEYS: dead letters, stream. ARGV: id, group, payload. Answers whether it was there to be returned.
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
ready(KEYS[2], ARGV[2])
redis.call('XADD', KEYS[2], '*', 'payload', ARGV[3])
return 1
