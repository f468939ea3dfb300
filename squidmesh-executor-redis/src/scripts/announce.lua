
-- KEYS: stream, index. ARGV: group, most entries, time to live in ms, then job and payload of each.
-- Answers with how many were announced, and for how many there was no room.
local stream, index = KEYS[1], KEYS[2]
local group, most, live = ARGV[1], tonumber(ARGV[2]), ARGV[3]

ready(stream, group)
typed(index, 'hash')

local last = '0-0'
for _, found in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local about = {}
  for place = 1, #found, 2 do about[found[place]] = found[place + 1] end
  if about['name'] == group then last = about['last-delivered-id'] end
end

-- Announced means: the entry is there, and is either still to be read or in somebody's hands.
local function announced(id)
  local entry = redis.pcall('XRANGE', stream, id, id)
  if failed(entry) or entry[1] == nil then return false end
  if comes_after(id, last) then return true end
  local pending = redis.call('XPENDING', stream, group, id, id, 1)
  if pending[1] ~= nil then return true end
  redis.call('XDEL', stream, id)
  return false
end

local length = redis.call('XLEN', stream)
local added, refused = 0, 0
for place = 4, #ARGV, 2 do
  local job, payload = ARGV[place], ARGV[place + 1]
  local id = redis.call('HGET', index, job)
  if not (id and announced(id)) then
    if length >= most then
      redis.call('HDEL', index, job)
      refused = refused + 1
    else
      id = redis.pcall('XADD', stream, '*', 'payload', payload)
      if used_up(id) then
        -- The stream begins anew, and the next sweep announces what was in it.
        redis.call('DEL', stream, index)
        ready(stream, group)
        id = redis.pcall('XADD', stream, '*', 'payload', payload)
      end
      if failed(id) then return id end
      redis.call('HSET', index, job, id)
      length = length + 1
      added = added + 1
    end
  end
end
redis.call('PEXPIRE', stream, live)
redis.call('PEXPIRE', index, live)
return {added, refused}
