-- Makes all charges of a request, or none, and says where the client stands.
--
-- KEYS: the key of each charge; of a sliding window two, this one's and the previous one's.
-- ARGV: the token of the request's leases; and for each charge a line: a code, the amount and the seconds of its
--       budget, what must be left of it, and what is taken. The code of a token bucket has two numbers behind it.
-- Returns, in one line, 1 if the charges were made, else 0; then for each the remaining units, and the milliseconds to
-- wait.
--
-- Each code has a `look`, which returns the remaining units and the time to wait, and a `charge`. They count as
-- algorithms.py does, in the keys of limits. A look writes nothing, unless the clock was set back: then a key that
-- would last for too long is made to end in time, so that nobody is locked out until the clock has caught up.

local call = redis.call
local LONGEST = 1e15 -- milliseconds; beyond it Lua writes numbers that Redis cannot read

local function lifetime(key, longest)
  local ttl = call('PTTL', key)
  if ttl >= 0 and ttl <= longest then return ttl end
  call('PEXPIRE', key, longest)
  return longest
end

-- F: a counter that expires -----------------------------------------------------------------------------------------

local fixed = {}

function fixed.look(c)
  c.used = tonumber(call('MGET', c.key)[1]) -- which, unlike GET, passes over a key of another type
  if not c.used then return c.amount, c.window end
  return math.max(0, c.amount - c.used), lifetime(c.key, c.window)
end

function fixed.charge(c)
  if c.used then call('INCRBY', c.key, c.deduct) else call('SET', c.key, c.deduct, 'PX', c.window) end
end

-- Most requests draw on one fixed window, and on nothing else: they need none of the rest, which takes longer to set
-- up than they take to count.
local amount, seconds, need, deduct = ARGV[2]:match('^F (%S+) (%S+) (%S+) (%S+)$')
if amount then
  local c = {key = KEYS[1], amount = tonumber(amount), window = math.min(seconds * 1000, LONGEST), deduct = deduct}
  local remaining, wait = fixed.look(c)
  local made = remaining >= tonumber(need) and 1 or 0
  if made == 1 and deduct ~= '0' then
    fixed.charge(c)
    remaining = math.max(0, remaining - deduct)
  end
  return redis.status_reply(string.format('%d %.0f %.0f', made, remaining, wait))
end

local time, now, now_ms
if ARGV[2]:find('[MCBT]') then -- a counter that expires needs no clock
  time = call('TIME')
  now = time[1] + time[2] / 1e6
  now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end
local SKEW = 1 -- seconds that the clock of a client of limits may be ahead
local AT_ONCE = 5000 -- arguments that one call may have

-- A read of a list or a set; nil if the key was of another type, which has then given way.
local function read(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  call('DEL', key)
  return nil
end

-- M: a list of moments, the newest first ----------------------------------------------------------------------------

local moving = {}

local function moment(key, index)
  return tonumber(call('LINDEX', key, index)) or 0
end

local function push(command, key, moments)
  for first = 1, #moments, AT_ONCE do
    call(command, key, unpack(moments, first, math.min(first + AT_ONCE - 1, #moments)))
  end
end

local function set_back(c, by)
  local moments = call('LRANGE', c.key, 0, -1)
  for index = 1, #moments do moments[index] = string.format('%.6f', (tonumber(moments[index]) or 0) - by) end
  call('DEL', c.key)
  push('RPUSH', c.key, moments)
  call('PEXPIRE', c.key, c.window)
end

-- How many of `length` moments are later than `past`: few have passed since the last time, so look from the end.
local function later(key, length, past)
  local low, high, step = 0, length, 1
  while low < high do
    local middle = step and math.max(low, high - step) or math.floor((low + high) / 2)
    if moment(key, middle) > past then
      low, step = middle + 1, nil
    else
      high, step = middle, step and step * 2
    end
  end
  return low
end

function moving.look(c)
  c.length = read('LLEN', c.key) or 0
  if c.length == 0 then
    c.count = 0
    return c.amount, c.window
  end
  local ahead = moment(c.key, 0) - now
  if ahead > SKEW then set_back(c, ahead) end
  c.count = later(c.key, c.length, now - c.seconds)
  if c.count == 0 then return c.amount, c.window end
  local remaining = math.max(0, c.amount - c.count)
  local leaving = remaining >= c.need and c.count - 1 or math.max(0, c.amount - c.need)
  return remaining, (moment(c.key, leaving) + c.seconds - now) * 1000
end

function moving.charge(c)
  local added = math.min(c.deduct, c.amount)
  local moments, stamp = {}, string.format('%.6f', now)
  for index = 1, added do moments[index] = stamp end
  push('LPUSH', c.key, moments)
  local kept = math.min(c.count + added, c.amount)
  if kept < c.length + added then call('LTRIM', c.key, 0, kept - 1) end
  call('PEXPIRE', c.key, c.window)
end

-- S: a counter that lasts for two windows; in its second one it is the previous one ---------------------------------

local sliding = {}

function sliding.look(c)
  local counts = call('MGET', c.key, c.previous_key)
  local count, previous = tonumber(counts[1]), tonumber(counts[2]) or 0
  local left, previous_left = c.window, 0
  if count then
    left = lifetime(c.key, 2 * c.window) - c.window
  end
  if count and left <= 0 then
    left = left + c.window
    c.over, previous, previous_left, count = left, count, left, count > 0 and 0 or nil
    if previous == 0 then left = c.window end
  elseif previous > 0 then
    previous_left = lifetime(c.previous_key, c.window)
  end
  c.count = count
  count = count or 0
  local remaining = math.max(0, c.amount - math.floor(previous * previous_left / c.window) - count)
  if remaining >= c.need then
    return remaining, previous_left > 0 and previous > 0 and math.min(left, previous_left % (c.window / previous)) or left
  elseif count + c.need <= c.amount then -- as soon as less of the previous window weighs
    return remaining, previous_left - (c.amount - count - c.need + 1) * c.window / previous + 1
  end
  local kept = c.amount - math.min(c.need, c.amount) + 1 -- so much of this window may weigh yet
  return remaining, left + math.max(0, c.window - kept * c.window / math.max(1, count)) + 1
end

function sliding.charge(c)
  if not c.count then
    call('SET', c.key, c.deduct, 'PX', 2 * c.window)
  elseif c.over then
    call('RENAME', c.key, c.previous_key)
    call('SET', c.key, c.deduct, 'PX', c.over + c.window)
  else
    call('INCRBY', c.key, c.deduct)
  end
end

-- T: the debt of a token bucket, in units, and its timestamp in milliseconds -----------------------------------------

local bucket = {}

local function owe(c, debt)
  local paid_off = math.ceil(debt / c.drain) + 1 -- a millisecond more, as keys expire by a clock of their own
  call('SET', c.key, string.format('%.0f %.0f', debt, now_ms), 'PX', math.min(paid_off, LONGEST))
end

function bucket.look(c)
  local value = call('MGET', c.key)[1] or '' -- passes over a key of another type
  local debt, since = value:match('^(%d+) (%d+)$')
  debt, since = tonumber(debt) or 0, tonumber(since) or 0
  local drain, unit = c.code:match('(%d+):(%d+)')
  c.drain, c.unit = tonumber(drain), tonumber(unit)
  if since > now_ms then
    since = now_ms
    owe(c, debt)
  end
  c.debt = math.max(0, debt - (now_ms - since) * c.drain)
  local capacity = c.amount * c.unit
  local remaining = math.floor((capacity - c.debt) / c.unit)
  local over
  if remaining >= c.need then
    over = c.debt % c.unit
    if over == 0 then over = c.unit end
  else
    over = c.debt + math.min(c.need, c.amount) * c.unit - capacity
  end
  return remaining, over / c.drain
end

function bucket.charge(c)
  owe(c, math.min(c.amount * c.unit, c.debt + c.deduct * c.unit))
end

-- C: a sorted set of tokens, by the millisecond at which their leases end --------------------------------------------

local leases = {}

function leases.look(c)
  c.ends = now_ms + c.window
  local late = read('ZRANGEBYSCORE', c.key, '(' .. c.ends, '+inf') or {}
  for index = 1, #late do call('ZADD', c.key, c.ends, late[index]) end
  if #late > 0 then call('PEXPIRE', c.key, c.window) end
  return math.max(0, c.amount - call('ZCOUNT', c.key, '(' .. now_ms, '+inf')), 1000
end

function leases.charge(c)
  call('ZREMRANGEBYSCORE', c.key, '-inf', now_ms)
  call('ZADD', c.key, c.ends, ARGV[1])
  call('PEXPIRE', c.key, c.window)
end

-- B: a key that is there until a ban ends ---------------------------------------------------------------------------

local bans = {}

function bans.look(c)
  if call('EXISTS', c.key) == 0 then return 1, 0 end
  return 0, lifetime(c.key, c.window)
end

function bans.charge(c)
  call('SET', c.key, time[1], 'PX', c.window)
end

-- All or none ---------------------------------------------------------------------------------------------------------

local kinds = {F = fixed, M = moving, S = sliding, T = bucket, C = leases, B = bans}
local charges, answer, key = {}, {1}, 0
for code, amount, seconds, need, deduct in ARGV[2]:gmatch('(%S+) (%S+) (%S+) (%S+) (%S+)') do
  key = key + 1
  local c = {kind = kinds[code:sub(1, 1)], code = code, key = KEYS[key]}
  if c.kind == sliding then
    key = key + 1
    c.previous_key = KEYS[key]
  end
  c.amount, c.seconds, c.need, c.deduct = tonumber(amount), tonumber(seconds), tonumber(need), tonumber(deduct)
  c.window = math.min(c.seconds * 1000, LONGEST)
  local remaining, wait = c.kind.look(c)
  if remaining < c.need then answer[1] = 0 end
  charges[#charges + 1] = c
  answer[#answer + 1] = remaining
  answer[#answer + 1] = math.ceil(wait)
end
if answer[1] == 1 then
  for index, c in ipairs(charges) do
    if c.deduct > 0 then
      c.kind.charge(c)
      answer[2 * index] = math.max(0, answer[2 * index] - c.deduct)
    end
  end
end
for index = 1, #answer do answer[index] = string.format('%.0f', answer[index]) end
return redis.status_reply(table.concat(answer, ' ')) -- which clients read faster than a list
