-- A session's memory: which requests it has seen, what it answered, and what each of its services has used and holds.

local S_STATE, S_ACCOUNT, S_TARIFF, S_OPENED, S_DUE, S_LAST, S_TOP, S_HIGH, S_LOW = 1, 2, 3, 4, 5, 6, 7, 8, 9
local S_WHERE, S_ROUTE, S_SERVICES, S_INDEXED, S_KEPT, S_OUTCOMES, S_LAYOUT = 10, 11, 12, 13, 14, 15, 16
-- A service of a session; walk = position, covered, whole, frac on its ladder; posted = the rounded total of it.
local V_KEY, V_UNIT, V_POSITION, V_COVERED, V_WHOLE, V_FRAC, V_POSTED = 1, 2, 3, 4, 5, 6, 7
local V_GRANT, V_HOLD, V_NUMBER, V_GRANTED, V_FINAL = 8, 9, 10, 11, 12
local OUTCOMES_KEPT, WINDOW, LAYOUT = 8, 64, 1
-- Outcomes are one string of packed rows {kind, number, digest, text}, S_KEPT of them: a request whose number is new, as
-- nearly all are, never looks into it.

-- In the store a session is one flat array: its own fields (with the number of services in the place of the services),
-- then the fields of each service.
local function read_session(text)
  local flat = read_long(text)
  local services = {}
  for i = S_LAYOUT + 1, #flat, V_FINAL do
    services[#services + 1] = { flat[i], flat[i + 1], flat[i + 2], flat[i + 3], flat[i + 4], flat[i + 5], flat[i + 6],
      flat[i + 7], flat[i + 8], flat[i + 9], flat[i + 10], flat[i + 11] }
  end
  flat[S_SERVICES] = services
  return flat
end

local function write_session(session)
  local services = session[S_SERVICES]
  local flat = { unpack(session, 1, S_LAYOUT) }
  flat[S_SERVICES] = #services
  for _, service in ipairs(services) do
    local last = #flat
    for i = 1, V_FINAL do flat[last + i] = service[i] end
  end
  return cmsgpack.pack(flat)
end

-- Bit `age` (0 = the newest number) of the two words that say which of the last 64 numbers were seen.
local function seen(session, number)
  local age = session[S_TOP] - number
  if age < 0 then return false end
  if age >= WINDOW then return true end
  if age >= 32 then return bit.band(session[S_HIGH], bit.lshift(1, age - 32)) ~= 0 end
  return bit.band(session[S_LOW], bit.lshift(1, age)) ~= 0
end

local function mark_seen(session, number)
  local shift = number - session[S_TOP]
  if shift <= 0 then
    local age = -shift
    if age >= 32 then
      session[S_HIGH] = bit.bor(session[S_HIGH], bit.lshift(1, age - 32))
    else
      session[S_LOW] = bit.bor(session[S_LOW], bit.lshift(1, age))
    end
    return
  end
  local high, low = session[S_HIGH], session[S_LOW]
  if shift >= WINDOW then
    high, low = 0, 0
  elseif shift >= 32 then
    high, low = bit.lshift(low, shift - 32), 0
  else
    high = bit.bor(bit.lshift(high, shift), bit.rshift(low, 32 - shift))
    low = bit.lshift(low, shift)
  end
  session[S_TOP], session[S_HIGH], session[S_LOW] = number, high, bit.bor(low, 1)
end

-- What is known of this request already: a code with the remembered outcome and a note, or nil when it is new.
local function recall(session, kind, number, digest)
  if kind == UPDATE and not seen(session, number) then return nil end
  if kind == TERMINATION and session[S_STATE] == OPEN then return nil end
  local outcomes, offset = session[S_OUTCOMES], 0
  for _ = 1, session[S_KEPT] do
    local kept
    offset, kept = cmsgpack.unpack_one(outcomes, offset)
    if kept[1] == kind and kept[2] == number then
      if kept[3] == digest then return SUCCESS, kept[4], REPLAY end
      return CONFLICT, '', 0
    end
  end
  if kind == INITIAL then return CONFLICT, '', 0 end
  if kind == UPDATE then return SEEN, '', 0 end
  if kind == TERMINATION and session[S_STATE] == CLOSED then return UNKNOWN_SESSION, '', 0 end
  return nil
end

local function remember(session, kind, number, digest, text)
  local outcomes = session[S_OUTCOMES]
  if session[S_KEPT] >= OUTCOMES_KEPT then
    outcomes = outcomes:sub(cmsgpack.unpack_one(outcomes, 0) + 1)
  else
    session[S_KEPT] = session[S_KEPT] + 1
  end
  session[S_OUTCOMES] = outcomes .. cmsgpack.pack({ kind, number, digest, text })
  if kind == UPDATE then mark_seen(session, number) end
end

local function find_service(session, key)
  for _, service in ipairs(session[S_SERVICES]) do
    if service[V_KEY] == key then return service end
  end
  return nil
end

-- Release every hold of the session; what it held.
local function void_all(session)
  local held = 0
  for _, service in ipairs(session[S_SERVICES]) do
    held = held + service[V_HOLD]
    service[V_HOLD] = 0
  end
  return held
end
