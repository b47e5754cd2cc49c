-- A session's memory: which requests it has seen, what it answered, and what each of its services has used and holds.

-- A session is one flat array: S_FIXED fields of its own, then V_WIDTH fields for each of its S_COUNT services. A service
-- is told by its base `s`, the place before its first field: session[s + V_HOLD]. In the store it is these fields in the
-- formats below, one behind the other, then the parts (sources.lua), and then the outcomes, whose own place holds nothing there.
-- Money and units are doubles, which hold all that is exact; times need 41 bits, a fraction 40 (SCALE_MAX). The second octet
-- is the count of services, the two behind it that of parts. S_ACCOUNT names the account, and behind a stroke its member, if any.
local S_LAYOUT, S_COUNT, S_PARTS, S_STATE, S_ACCOUNT, S_TARIFF, S_OPENED, S_DUE, S_LAST, S_TOP = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local S_HIGH, S_LOW, S_WHERE, S_ROUTE, S_FACTS, S_INDEXED, S_KEPT, S_OUTCOMES = 11, 12, 13, 14, 15, 16, 17, 18
local S_FIXED = 18
-- While a function works on a session, here are its parts: by the place of their service, an array each; nil when there are none.
local S_LIST = 0
-- Where a renewal's record and profile stand meanwhile (rows.lua).
local S_RENEWED, S_PROFILE = 10001, 10002
-- What services held before another of their pool moved it, by their base; nil when that has not happened (pools.lua).
local S_MOVED = 10003
-- walk = position, covered, whole, frac on the service's ladder; posted = the rounded total of it; rate = the mark of the rate
-- and ladder that the last grant was made on.
local V_KEY, V_UNIT, V_POSITION, V_COVERED, V_WHOLE, V_FRAC, V_POSTED = 1, 2, 3, 4, 5, 6, 7
local V_GRANT, V_HOLD, V_NUMBER, V_GRANTED, V_FINAL, V_RATE = 8, 9, 10, 11, 12, 13
local V_WIDTH = 13
local OUTCOMES_KEPT, WINDOW, HALF_WINDOW, LAYOUT = 8, 64, 32, 5
local SESSION_FORMAT, SERVICE_FORMAT = '<BBI2BssI6I6I6I4I4I4I6ssI6BB', 'sBdddI5dddI4I6Bs'
-- A part is what a service's grant was made on: a source (ocs/rating/sources.py) and the service's place among the session's,
-- the units of a block already paid that are not used yet, and what is held.
local X_SERVICE, X_KIND, X_OWN, X_ID, X_START, X_UNTIL, X_BLOCK, X_TAKE, X_CAP, X_OPEN, X_HELD = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local X_WIDTH, PARTS_TOTAL_MAX = 11, 500
local PARTS_FORMAT, PART_FORMAT = '<', 'BBBI4I6I6I6I6ddd'

-- An outcome is a head {kind, number, digest, code, notes, count} and count rows {code, unit, units, validity, final}, all
-- of fixed width: what the session remembers, and word for word what the caller gets. Remembered outcomes stand one behind
-- the other, S_KEPT of them: a request whose number is new, as nearly all are, never looks into them.
local O_HEAD_OCTETS, O_ROW_OCTETS = 14, 15
local HEAD_FORMAT, ROW_FORMAT = '<BI4I6BBB', '<BBi8I4B'

-- Formats by the number of services, made once each.
local session_formats = {}

local function session_format(count)
  local made = session_formats[count]
  if not made then
    made = SESSION_FORMAT .. SERVICE_FORMAT:rep(count)
    session_formats[count] = made
  end
  return made
end

-- Parts in the store stand one behind the other: those of each service.
local function by_service(flat)
  local lists = {}
  for x = 0, #flat - X_WIDTH, X_WIDTH do
    local list = lists[flat[x + X_SERVICE]] or {}
    local n = #list
    for i = 1, X_WIDTH do list[n + i] = flat[x + i] end
    lists[flat[x + X_SERVICE]] = list
  end
  return lists
end

local function one_behind_the_other(lists, count)
  if count == 1 then return lists[1] or {} end
  local flat, n = {}, 0
  for service = 1, count do
    local list = lists[service]
    if list then
      for i = 1, #list do flat[n + i] = list[i] end
      n = n + #list
    end
  end
  return flat
end

local function parts_of(session, service)
  return session[S_LIST] and session[S_LIST][service] or {}
end

local function count_parts(session)
  local total = 0
  for service = 1, session[S_LIST] and session[S_COUNT] or 0 do total = total + #parts_of(session, service) end
  return total / X_WIDTH
end

local function read_session(text)
  local layout, count, parts, more = byte(text, 1, 4)
  if layout ~= LAYOUT then error('a session of another layout') end
  local session = { struct_unpack(session_format(count), text) }
  local behind = S_FIXED + count * V_WIDTH + 1
  local next = session[behind]
  session[behind] = nil
  parts = parts + more * 256
  if parts > 0 then
    local list = { struct_unpack(PARTS_FORMAT .. PART_FORMAT:rep(parts), text, next) }
    next = list[parts * X_WIDTH + 1]
    list[parts * X_WIDTH + 1] = nil
    session[S_LIST] = count == 1 and { list } or by_service(list)
  end
  session[S_OUTCOMES] = sub(text, next)
  return session
end

-- The session as text, once: its outcomes leave the array.
local function write_session(session)
  local outcomes, parts = session[S_OUTCOMES], ''
  session[S_OUTCOMES] = 0
  local count, lists = session[S_COUNT], session[S_LIST]
  if lists then
    local list = one_behind_the_other(lists, count)
    session[S_PARTS] = #list / X_WIDTH
    parts = struct_pack(PARTS_FORMAT .. PART_FORMAT:rep(session[S_PARTS]), values_of(list))
  end
  return struct_pack(session_format(count), values_of(session, 1, S_FIXED + count * V_WIDTH)) .. parts .. outcomes
end

-- Whether the bit of `age` (0 = the newest number) is set in the two words that say which of the last 64 numbers were
-- seen: S_LOW the younger half, S_HIGH the older.
local function seen(session, number)
  local age = session[S_TOP] - number
  if age < 0 then return false end
  if age >= WINDOW then return true end
  local word = session[S_LOW]
  if age >= HALF_WINDOW then word, age = session[S_HIGH], age - HALF_WINDOW end
  return word % 2 ^ (age + 1) >= 2 ^ age
end

local function mark_seen(session, number)
  local shift = number - session[S_TOP]
  if shift <= 0 then
    local age = -shift
    if seen(session, number) then return end
    if age >= HALF_WINDOW then
      session[S_HIGH] = session[S_HIGH] + 2 ^ (age - HALF_WINDOW)
    else
      session[S_LOW] = session[S_LOW] + 2 ^ age
    end
    return
  end
  local high, low = session[S_HIGH], session[S_LOW]
  if shift >= WINDOW then
    high, low = 0, 0
  else
    if shift >= HALF_WINDOW then high, low, shift = low, 0, shift - HALF_WINDOW end
    local power = 2 ^ shift
    local moved = low * power
    low = moved % WORD
    high = high * power % WORD + (moved - low) / WORD
  end
  -- the newest number itself; the bit is free, since everything has moved by one at least
  session[S_TOP], session[S_HIGH], session[S_LOW] = number, high, low + 1
end

-- Octets of the outcome that begins at `from`.
local function outcome_octets(outcomes, from)
  return O_HEAD_OCTETS + O_ROW_OCTETS * byte(outcomes, from + O_HEAD_OCTETS - 1)
end

-- What is known of this request already: a code with the remembered outcome and a note, or nil when it is new.
local function recall(session, kind, number, digest)
  if kind == UPDATE and not seen(session, number) then return nil end
  if kind == TERMINATION and session[S_STATE] == OPEN then return nil end
  local outcomes, from = session[S_OUTCOMES], 1
  for _ = 1, session[S_KEPT] do
    local was_kind, was_number, was_digest = struct_unpack(HEAD_FORMAT, outcomes, from)
    local after = from + outcome_octets(outcomes, from)
    if was_kind == kind and was_number == number then
      if was_digest == digest then return SUCCESS, sub(outcomes, from, after - 1), REPLAY end
      return CONFLICT, '', 0
    end
    from = after
  end
  if kind == INITIAL then return CONFLICT, '', 0 end
  if kind == UPDATE then return SEEN, '', 0 end
  if kind == TERMINATION and session[S_STATE] == CLOSED then return UNKNOWN_SESSION, '', 0 end
  return nil
end

local function remember(session, kind, number, outcome)
  local outcomes = session[S_OUTCOMES]
  if session[S_KEPT] >= OUTCOMES_KEPT then
    outcomes = sub(outcomes, outcome_octets(outcomes, 1) + 1)
  else
    session[S_KEPT] = session[S_KEPT] + 1
  end
  session[S_OUTCOMES] = outcomes .. outcome
  if kind == UPDATE then mark_seen(session, number) end
end

-- What the index of open sessions by account names a session: whoever looks for an account finds them in a row.
local function open_row(session, sid) return session[S_ACCOUNT] .. ' ' .. sid end

-- The base of the session's service of this key, or nil.
local function find_service(session, key)
  local s = S_FIXED
  for _ = 1, session[S_COUNT] do
    if session[s + V_KEY] == key then return s end
    s = s + V_WIDTH
  end
  return nil
end

-- Release every hold of the session; what it held.
local function void_all(session)
  local held = 0
  for s = S_FIXED, S_FIXED + (session[S_COUNT] - 1) * V_WIDTH, V_WIDTH do
    held = held + session[s + V_HOLD]
    session[s + V_HOLD] = 0
  end
  return held
end

-- The place of a service among the session's, by its base.
local function place_of(s) return (s - S_FIXED) / V_WIDTH + 1 end
