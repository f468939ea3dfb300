
-- KEYS: stream, dead letters. ARGV: group, id, maximum number of dead letters, longest entry, reason, payload.
return park(KEYS[1], ARGV[1], ARGV[2], KEYS[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]) or 1
