
-- KEYS: stream, index of jobs, streams in use.
-- ARGV: group, maximum length of the stream, time to live in ms, how many ms a consumer may hold an entry, then job and
-- payload of each.
-- Returns the number of jobs that were announced, and of those for which there was no room.
local stream, index, used = KEYS[1], KEYS[2], KEYS[3]
local group, most, live, held = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

ready(stream, group)
typed(index, 'hash')
typed(used, 'set')

local last = '0-0'
for _, found in ipairs(must('XINFO', 'GROUPS', stream)) do
  local group_info = {}
  for position = 1, #found, 2 do group_info[found[position]] = found[position + 1] end
  if group_info['name'] == group then last = group_info['last-delivered-id'] end
end

-- A job is announced if its entry exists, and is either unread or held by a consumer that is alive.
local function announced(id)
  local entry = try('XRANGE', stream, id, id)
  if failed(entry) or entry[1] == nil then return false end
  if comes_after(id, last) then return true end
  local pending = must('XPENDING', stream, group, id, id, 1)
  if pending[1] ~= nil and pending[1][3] <= held then return true end
  must('XACK', stream, group, id)
  must('XDEL', stream, id)
  return false
end

local length = must('XLEN', stream)
local added, full = 0, 0
for position = 5, #ARGV, 2 do
  local job, payload = ARGV[position], ARGV[position + 1]
  local id = must('HGET', index, job)
  if not (id and announced(id)) then
    if length >= most then
      must('HDEL', index, job)
      full = full + 1
    else
      id = try('XADD', stream, '*', 'payload', payload)
      if ids_exhausted(id) then
        -- Creates the stream again; the next sweep announces what it contained.
        must('DEL', stream, index)
        ready(stream, group)
        id = try('XADD', stream, '*', 'payload', payload)
      end
      if failed(id) then return id end
      must('HSET', index, job, id)
      length = length + 1
      added = added + 1
    end
  end
end
must('SADD', used, stream)
must('PEXPIRE', used, live)
must('PEXPIRE', stream, live)
must('PEXPIRE', index, live)
return {added, full}
