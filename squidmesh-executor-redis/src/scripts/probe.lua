
-- KEYS: a stream, a hash, a set and a text that no other process uses. ARGV: group.
-- Returns the commands that the executor needs and the server refuses, each followed by the reason.
local stream, hash, set, text, group = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local found = {}
local function needs(name, ...)
  local answer = redis.pcall(name, ...)
  if failed(answer) and refused(answer) then
    found[#found + 1] = name
    found[#found + 1] = answer['err']
  end
  return answer
end

needs('TYPE', stream)
needs('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
local id = needs('XADD', stream, '*', 'payload', '')
if failed(id) then id = '0-1' end
needs('XINFO', 'GROUPS', stream)
needs('XRANGE', stream, id, id)
needs('XLEN', stream)
needs('XREADGROUP', 'GROUP', group, 'probe', 'COUNT', 1, 'STREAMS', stream, '>')
needs('XPENDING', stream, group, id, id, 1)
needs('XAUTOCLAIM', stream, group, 'probe', 0, '0-0', 'COUNT', 1)
needs('XINFO', 'CONSUMERS', stream, group)
needs('XACK', stream, group, id)
needs('XDEL', stream, id)
needs('XGROUP', 'DELCONSUMER', stream, group, 'probe')
needs('HSET', hash, 'job', '1')
needs('HGET', hash, 'job')
needs('HDEL', hash, 'job')
needs('SADD', set, 'stream')
needs('SMEMBERS', set)
needs('SREM', set, 'stream')
needs('SET', text, '1', 'PX', 1000)
needs('PTTL', text)
for _, key in ipairs(KEYS) do needs('PEXPIRE', key, 1000) end
needs('DEL', stream, hash, set, text)
return found
