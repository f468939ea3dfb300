-- What the scripts share. Keys of another type than ours are in the way and taken away: the store has what they should hold.

local function typed(key, kind)
  local found = redis.call('TYPE', key)['ok']
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
  end
end

-- The stream is one, and has the group. A group that was lost begins at the first entry.
local function ready(stream, group)
  typed(stream, 'stream')
  redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
end

local function failed(answer)
  return type(answer) == 'table' and answer['err'] ~= nil
end

-- Compares ids, whose numbers may be too large for a number of Lua.
local function comes_after(one, other)
  local function parts(id)
    local time, place = string.match(id, '^(%d+)%-(%d+)$')
    return time or '0', place or '0'
  end
  local function compare(a, b)
    if #a ~= #b then return #a > #b and 1 or -1 end
    if a == b then return 0 end
    return a > b and 1 or -1
  end
  local time, place = parts(one)
  local other_time, other_place = parts(other)
  local order = compare(time, other_time)
  if order == 0 then order = compare(place, other_place) end
  return order > 0
end

-- Nothing can ever be added to the stream: somebody used up its ids. Any other failure, such as want of memory, passes.
local function used_up(answer)
  return failed(answer)
    and (string.find(answer['err'], 'exhausted') ~= nil or string.find(answer['err'], 'equal or smaller') ~= nil)
end

-- Answers with the failure, if there is one: then the entry stays in its reader's hands, and is looked at again.
local function park(stream, group, id, dead, bound, longest, reason, payload)
  typed(dead, 'stream')
  local pending = redis.pcall('XPENDING', stream, group, id, id, 1)
  local deliveries = (not failed(pending) and pending[1]) and pending[1][4] or 0
  local cut = #payload > longest and '1' or '0'
  local function set_aside()
    return redis.pcall('XADD', dead, 'MAXLEN', '~', bound, '*', 'reason', reason, 'payload',
      string.sub(payload, 1, longest), 'cut', cut, 'stream', stream, 'entry', id, 'deliveries', tostring(deliveries))
  end
  local set = set_aside()
  if used_up(set) then
    redis.call('DEL', dead)
    set = set_aside()
  end
  if failed(set) then return set end
  redis.pcall('XACK', stream, group, id)
  redis.pcall('XDEL', stream, id)
end

-- The fields of an entry together, as somebody who looks for a mistake wants to see them.
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

-- Whether an entry is small enough to be sent to a worker; otherwise it is set aside here, or, where that fails, left for later.
local function fits(stream, group, id, fields, dead, bound, longest)
  local size = 0
  for _, part in ipairs(fields) do size = size + #part end
  if size <= longest and #fields <= 16 then return true end
  park(stream, group, id, dead, bound, longest, 'the entry is too large: ' .. size .. ' bytes in ' .. #fields .. ' parts',
    as_text(fields, longest))
  return false
end
