-- Functions that the scripts share. A key of the wrong type is deleted: the store has what it should contain.

local function failed(answer)
  return type(answer) == 'table' and answer['err'] ~= nil
end

-- Whether the server does not permit the command, or does not know it.
local function refused(answer)
  local why = answer['err']
  return string.find(why, "can't run this command", 1, true) or string.find(why, "can't access", 1, true)
    or string.find(why, 'NOPERM', 1, true) or string.find(why, 'nknown Redis command', 1, true)
end

-- Runs a command and returns its error, except for a refusal, which fails the script and names the command.
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  if failed(answer) and refused(answer) then error('Redis refuses ' .. name .. ' (' .. answer['err'] .. ')') end
  return answer
end

-- Runs a command; an error fails the script.
local function must(...)
  local answer = try(...)
  if failed(answer) then return redis.call(...) end
  return answer
end

local function typed(key, kind)
  local found = must('TYPE', key)['ok']
  if found ~= kind and found ~= 'none' then
    must('DEL', key)
  end
end

-- Ensures that the stream and the group exist. A group that was lost begins at the first entry.
local function ready(stream, group)
  typed(stream, 'stream')
  try('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
end

-- Compares ids, whose numbers may exceed the range of Lua.
local function comes_after(one, other)
  local function parts(id)
    local time, counter = string.match(id, '^(%d+)%-(%d+)$')
    return time or '0', counter or '0'
  end
  local function compare(a, b)
    if #a ~= #b then return #a > #b and 1 or -1 end
    if a == b then return 0 end
    return a > b and 1 or -1
  end
  local time, counter = parts(one)
  local other_time, other_counter = parts(other)
  local order = compare(time, other_time)
  if order == 0 then order = compare(counter, other_counter) end
  return order > 0
end

-- Whether nothing can be added to the stream any more, because its ids are exhausted. Other errors, such as a lack of
-- memory, are temporary.
local function ids_exhausted(answer)
  return failed(answer)
    and (string.find(answer['err'], 'exhausted') ~= nil or string.find(answer['err'], 'equal or smaller') ~= nil)
end

-- Moves an entry to the dead letters. Returns the error, if there is one: the entry then stays pending, and is
-- delivered again.
local function park(stream, group, id, dead, bound, longest, reason, payload)
  typed(dead, 'stream')
  local pending = try('XPENDING', stream, group, id, id, 1)
  local deliveries = (not failed(pending) and pending[1]) and pending[1][4] or 0
  local cut = #payload > longest and '1' or '0'
  local function set_aside()
    return try('XADD', dead, 'MAXLEN', '~', bound, '*', 'reason', reason, 'payload',
      string.sub(payload, 1, longest), 'cut', cut, 'stream', stream, 'entry', id, 'deliveries', tostring(deliveries))
  end
  local set = set_aside()
  if ids_exhausted(set) then
    must('DEL', dead)
    set = set_aside()
  end
  if failed(set) then return set end
  try('XACK', stream, group, id)
  try('XDEL', stream, id)
end

-- The fields of an entry as one text, for an operator.
local function as_text(fields, longest)
  local parts = {}
  local size = 0
  for _, part in ipairs(fields) do
    parts[#parts + 1] = part
    size = size + #part
    if size > longest then break end
  end
  return table.concat(parts, ' ')
end

-- Whether an entry is small enough to be sent to a worker. A larger one is moved to the dead letters, or stays pending
-- if that fails.
local function fits(stream, group, id, fields, dead, bound, longest)
  local size = 0
  for _, part in ipairs(fields) do size = size + #part end
  if size <= longest and #fields <= 16 then return true end
  local reason = 'the entry is too large: ' .. size .. ' bytes in ' .. #fields .. ' parts'
  park(stream, group, id, dead, bound, longest, reason, as_text(fields, longest))
  return false
end

-- Removes consumers that were idle for long. Only a consumer without pending entries may be removed, because they would
-- be lost with it. If the server refuses, the consumers stay.
local function remove_consumers(stream, group, idle, keep)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
  if failed(consumers) then return end
  for _, one in ipairs(consumers) do
    local info = {}
    for index = 1, #one, 2 do info[one[index]] = one[index + 1] end
    if info['pending'] == 0 and info['idle'] > idle and info['name'] ~= keep then
      redis.pcall('XGROUP', 'DELCONSUMER', stream, group, info['name'])
    end
  end
end

-- Whether a stream has entries, or consumers hold entries that were deleted from it. Never fails.
local function in_use(stream, group)
  local length = redis.pcall('XLEN', stream)
  if failed(length) then return false end
  if length > 0 then return true end
  local pending = redis.pcall('XPENDING', stream, group)
  return not failed(pending) and pending[1] > 0
end
