-- Lends units of fixed windows to one process, and takes back what the process has not spent. See lending.py.
--
-- KEYS: for each line two: the counter of a window, and the hash of what is lent from it.
-- ARGV: the name of the process; the share of what is left that one loan may be; and a line for each two keys:
--       L, the amount and the seconds of the budget, the units that are held, needed and wanted, the note of the earlier
--       loan and that of this one; or B, the units to take back and the note of their loan.
-- Returns, in one line, for each L the units that are held now, the units that are left, and the milliseconds until the
-- window ends. For a B nothing.
--
-- The hash has a field for each process: the note of its latest loan, and when the window of the loan ends. A window
-- that was deleted, and a loan that the server has lost, are told by that: what the process holds of it counts as none.

local call = redis.call
local LONGEST = 1e15 -- milliseconds; beyond it Lua writes numbers that Redis cannot read
local KEPT = 10000 -- milliseconds after which nothing is taken back: several times the longest that a loan is held
local holder, share = ARGV[1], tonumber(ARGV[2])

local function text(number)
  return string.format('%.0f', number)
end

local function lifetime(key, longest)
  local ttl = call('PTTL', key)
  if ttl >= 0 and ttl <= longest then return ttl end
  call('PEXPIRE', key, longest)
  return longest
end

-- When a key expires, and by how much two readings of the same may differ: Redis before 7 does not tell the moment.
local function expires(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'number' then return at, 0 end
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) + call('PTTL', key), 3
end

local function is_lent(key, hash, note)
  local noted, at = (call('HGET', hash, holder) or ''):match('^(%S+) (%d+)$')
  if noted ~= note then return false end
  local ends, within = expires(key)
  return call('EXISTS', key) == 1 and math.abs(ends - tonumber(at)) <= within
end

local function lend(key, hash, amount, seconds, held, need, want, note, new)
  local used = tonumber(call('MGET', key)[1]) -- which, unlike GET, passes over a key of another type
  local window = math.min(seconds * 1000, LONGEST)
  local left, lasts = amount, window
  if used then left, lasts = math.max(0, amount - used), lifetime(key, window) end
  if held > 0 and not is_lent(key, hash, note) then held = 0 end
  if left < need - held then return held, left, lasts end
  local granted = math.max(0, need - held, math.min(want - held, math.floor(left / share)))
  if used then call('INCRBY', key, text(granted)) else call('SET', key, text(granted), 'PX', text(window)) end
  call('HSET', hash, holder, new .. ' ' .. text(expires(key)))
  call('PEXPIRE', hash, math.min(lasts, KEPT))
  return held + granted, left - granted, lasts
end

local function take_back(key, hash, units, note)
  if is_lent(key, hash, note) then
    call('HDEL', hash, holder)
    call('DECRBY', key, text(math.min(units, tonumber(call('MGET', key)[1]) or 0)))
  end
end

local answer, index = {}, 0
for line in ARGV[3]:gmatch('[^\n]+') do
  local key, hash = KEYS[index + 1], KEYS[index + 2]
  index = index + 2
  local words = {}
  for word in line:gmatch('%S+') do words[#words + 1] = word end
  if words[1] == 'L' then
    local amount, seconds, held = tonumber(words[2]), tonumber(words[3]), tonumber(words[4])
    local need, want, note, new = tonumber(words[5]), tonumber(words[6]), words[7], words[8]
    for _, number in ipairs({lend(key, hash, amount, seconds, held, need, want, note, new)}) do
      answer[#answer + 1] = text(number)
    end
  else
    take_back(key, hash, tonumber(words[2]), words[3])
  end
end
return redis.status_reply(table.concat(answer, ' '))
