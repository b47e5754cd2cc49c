-- charge: one credit-control request, all its services, as one atomic call (TS 32.299 clause 6.3, RFC 8506 section 5).
--
-- Replay? -> version and identity -> post what was used -> void the holds of the services named -> grant, from the
-- account's available money -> remember the outcome -> record. No refusal skips posting, except a conflict and an
-- unknown session.

-- A service of the plan.
local A_KEY, A_REFUSAL, A_UNIT, A_USED, A_WANTS, A_VALIDITY, A_RATE, A_LADDERS, A_POSTS, A_LADDER = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

-- A plan is one flat array without a header: PLAN_FIXED values, then for each service its fields, the texts of its ladders
-- and the pieces of what was used, each list behind its count.
local PLAN_FIXED = 17

local function read_services(plan)
  local services, i, last = {}, PLAN_FIXED + 1, #plan
  while i <= last do
    local ladders, posts, at = {}, {}, i + 11
    for n = 1, plan[i + 10] do ladders[n] = ladder_of(plan[at + n - 1]) end
    at = at + plan[i + 10]
    for n = 1, plan[at] do posts[n] = { plan[at + 2 * n - 1], plan[at + 2 * n] } end
    services[#services + 1] = { plan[i], plan[i + 1], plan[i + 2], { plan[i + 3], plan[i + 4], plan[i + 5] }, plan[i + 6],
      plan[i + 7], plan[i + 8], ladders, posts, plan[i + 9] }
    i = at + 1 + 2 * plan[at]
  end
  return services
end

-- Units beyond belief: above 4 times the grant and above the greatest rate times the time since it was made (law 8).
local function believable(service, reported, rate, now)
  if reported <= 4 * service[V_GRANT] then return true end
  return reported <= rate * (math.floor((now - service[V_GRANTED]) / 1000) + 1)
end

-- Move the service along the pieces of what was used, at most `most` units of them.
local function post_pieces(service, asked, most)
  local left = most
  local on
  for _, piece in ipairs(asked[A_POSTS]) do
    local units = piece[2] < left and piece[2] or left
    on = asked[A_LADDERS][piece[1]]
    service[V_POSITION], service[V_COVERED], service[V_WHOLE], service[V_FRAC] =
      advance(on, service[V_POSITION], service[V_COVERED], service[V_WHOLE], service[V_FRAC], units)
    left = left - units
  end
  local cost_now = total(on, service[V_WHOLE], service[V_FRAC])
  local amount = cost_now - service[V_POSTED]
  service[V_POSTED] = cost_now
  return amount
end

-- Post what one service reports: units posted, units quarantined, micro-units, notes.
local function post(service, asked, now)
  local reported = asked[A_USED][asked[A_UNIT]] or -1
  if not service or service[V_UNIT] ~= asked[A_UNIT] or reported < 0 or #asked[A_POSTS] == 0 then
    local foreign = 0
    for _, units in ipairs(asked[A_USED]) do
      if units > foreign then foreign = units end
    end
    -- nothing of the kinds reported was granted: Open5GS reports seconds since 1970 after a refusal (CLIENTS 10)
    return 0, foreign, 0, foreign > 0 and QUARANTINE or 0
  end
  if reported == 0 then return 0, 0, 0, 0 end
  local most, notes = reported, 0
  if not believable(service, reported, asked[A_RATE], now) then most = service[V_GRANT] end
  local room = asked[A_LADDERS][asked[A_LADDER]][L_LIMIT] - service[V_POSITION]
  if most > room then most = room > 0 and room or 0 end
  if most < reported then notes = QUARANTINE end
  if most > service[V_GRANT] then notes = notes + OVERRUN end
  return most, reported - most, post_pieces(service, asked, most), notes
end

-- Grant one service what it wants and the account can pay: code, units, final, hold.
local function grant(service, asked, available)
  local on = asked[A_LADDERS][asked[A_LADDER]]
  local units, price = affordable(on, service[V_POSITION], service[V_COVERED], service[V_WHOLE], service[V_FRAC],
    asked[A_WANTS], service[V_POSTED], available)
  if units == 0 then return CREDIT_LIMIT, 0, 0, 0 end
  return SUCCESS, units, units < asked[A_WANTS] and 1 or 0, price - service[V_POSTED]
end

local function new_session(account, tariff, now, where, route)
  local session = {}
  session[S_STATE], session[S_ACCOUNT], session[S_TARIFF], session[S_OPENED] = OPEN, account, tariff, now
  session[S_DUE], session[S_LAST], session[S_TOP], session[S_HIGH], session[S_LOW] = 0, 0, 0, 0, 0
  session[S_WHERE], session[S_ROUTE], session[S_SERVICES] = now, route, {}
  session[S_INDEXED], session[S_KEPT], session[S_OUTCOMES], session[S_LAYOUT] = 0, 0, '', LAYOUT
  return session
end

-- Whether a request reports or asks for the service that it names: only then does it void what the service holds.
local function touches(asked)
  return asked[A_WANTS] > 0 or asked[A_REFUSAL] ~= 0 or asked[A_USED][1] >= 0 or asked[A_USED][2] >= 0 or asked[A_USED][3] >= 0
end

-- First pass over the services: post what they used and void what they hold. Lines for the record, one a service.
local function settle(session, book, asked_services, kind, number, now)
  local lines, notes = {}, 0
  for i, asked in ipairs(asked_services) do
    local service = find_service(session, asked[A_KEY])
    local units, odd, amount, note = post(service, asked, now)
    book[B_POSTED] = book[B_POSTED] + amount
    notes = bit.bor(notes, note)
    lines[i] = { asked[A_KEY], asked[A_UNIT], SUCCESS, units, odd, 0, amount, 0, 0, 0 }
    if service then
      if kind == TERMINATION or (number >= service[V_NUMBER] and touches(asked)) then
        book[B_PENDING] = book[B_PENDING] - service[V_HOLD]
        service[V_HOLD], service[V_NUMBER] = 0, number
        -- the grant stays as the measure of late reports once the session has ended
        if session[S_STATE] == OPEN and kind == UPDATE then service[V_GRANT], service[V_FINAL] = 0, 0 end
      end
    end
  end
  return lines, notes
end

-- The lines end with what stands after the request: position, posted, grant and hold of each service named.
local function finish_lines(session, lines)
  for _, line in ipairs(lines) do
    local service = find_service(session, line[1])
    if service then line[6], line[8], line[9], line[10] = service[V_POSITION], service[V_POSTED], service[V_GRANT], service[V_HOLD] end
  end
end

-- One service that asks: its code and grant; the hold goes into session and book.
local function serve(session, book, asked, number, now, services_max)
  local service = find_service(session, asked[A_KEY])
  local refusal = asked[A_REFUSAL]
  if service and service[V_UNIT] ~= asked[A_UNIT] then refusal = UNRATED end -- one axis has one kind of unit
  if service and number < service[V_NUMBER] then
    if refusal ~= 0 then return refusal, 0, 0, 0 end
    -- success without units would be leave to use without measure (CLIENTS 21)
    if service[V_GRANT] == 0 then return CREDIT_LIMIT, 0, 0, STANDING end
    return SUCCESS, service[V_GRANT], service[V_FINAL], STANDING
  end
  local fresh = not service
  if fresh then service = { asked[A_KEY], asked[A_UNIT], 0, 0, 0, 0, 0, 0, 0, number, now, 0 } end
  local code, units, final, hold
  if book[B_STATUS] ~= ACTIVE then
    code, units, final, hold = BARRED, 0, 0, 0
  elseif refusal ~= 0 then
    code, units, final, hold = refusal, 0, 0, 0
  elseif fresh and #session[S_SERVICES] >= services_max then
    code, units, final, hold = UNRATED, 0, 0, 0
  else
    code, units, final, hold = grant(service, asked, book[B_CREDITS] - book[B_POSTED] - book[B_PENDING] - book[B_FLOOR])
  end
  -- a service that one request names twice holds what it was granted last, and only that
  book[B_PENDING] = book[B_PENDING] - service[V_HOLD] + hold
  service[V_GRANT], service[V_HOLD], service[V_NUMBER], service[V_GRANTED], service[V_FINAL] = units, hold, number, now, final
  if fresh and code == SUCCESS then session[S_SERVICES][#session[S_SERVICES] + 1] = service end
  return code, units, final, 0
end

-- Second pass: grant; the outcome is one row a service: code, unit, units, validity, final; and the command's code.
local function grant_all(session, book, asked_services, lines, number, now, services_max)
  local rows, notes, worst, refusals = {}, 0, SUCCESS, 0
  for i, asked in ipairs(asked_services) do
    local code, units, final, note = SUCCESS, 0, 0, 0
    if asked[A_WANTS] > 0 or asked[A_REFUSAL] ~= 0 then
      code, units, final, note = serve(session, book, asked, number, now, services_max)
    end
    lines[i][3] = code
    notes = bit.bor(notes, note)
    if code ~= SUCCESS then
      refusals = refusals + 1
      if code < worst then worst = code end
    end
    rows[i] = { code, asked[A_UNIT], units, units > 0 and asked[A_VALIDITY] or 0, final }
  end
  if refusals < #asked_services then worst = SUCCESS end
  return rows, notes, worst
end

-- A request that may not be granted anything: a termination, or one that comes after the session's end.
local function close_all(session, book, asked_services, late, kind)
  local rows = {}
  for i, asked in ipairs(asked_services) do
    rows[i] = { SUCCESS, asked[A_UNIT], 0, 0, 0 }
  end
  if session[S_STATE] == OPEN then
    book[B_PENDING] = book[B_PENDING] - void_all(session)
    book[B_OPEN] = book[B_OPEN] - 1
  end
  if kind == TERMINATION then session[S_STATE] = CLOSED end
  if late and kind == UPDATE then return rows, UNKNOWN_SESSION end
  return rows, SUCCESS
end

-- Steps 1 to 3 of MONEY.md, which write nothing: the reply that ends the request, or nil with session (if any) and book.
local function look(keys, kind, number, digest, account, version, tariff, sessions_max)
  local session_text, book_text = redis.call('GET', keys[3]), redis.call('GET', keys[2])
  local session = session_text and read_session(session_text)
  if session then
    if session[S_ACCOUNT] ~= account then return { CONFLICT, '', 0 } end
    local code, text, note = recall(session, kind, number, digest)
    if code then return { code, text, note } end
  elseif kind ~= INITIAL then
    return { UNKNOWN_SESSION, '', 0 }
  end
  if not book_text then return { UNKNOWN_SUBSCRIBER, '', 0 } end
  local book = read_short(book_text)
  if book[B_VERSION] ~= version or (session and session[S_TARIFF] ~= tariff) then
    return { STALE, redis.call('GET', keys[6]) or '', book[B_VERSION], session and session[S_TARIFF] or '' }
  end
  if not session then
    if book[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER, '', 0 } end
    if book[B_OPEN] >= sessions_max then return { SESSIONS_FULL, '', 0 } end
  elseif session[S_STATE] == REFUSED then
    -- nothing was opened: a termination is answered, an update is not known, and neither moves anything (CLIENTS 15)
    if kind == TERMINATION then return { SUCCESS, cmsgpack.pack({ SUCCESS, {} }), 0 } end
    return { UNKNOWN_SESSION, '', 0 }
  end
  return nil, session, book
end

-- What must hold of a book before anything is written.
local function check(book)
  for i = B_CREDITS, B_OPEN do exact(book[i]) end
  if book[B_PENDING] < 0 or book[B_OPEN] < 0 then error('a book below nothing: pending or open sessions') end
  if book[B_POSTED] > BOOK_MAX then error('a book beyond the range of the store') end
end

local function charge(keys, args)
  local part = args[1]
  local plan = { cmsgpack.unpack(args[2]) }
  local now, offset, skew, kind, number, digest, account, version, tariff, at, supervision, tombstone, route, sid,
    sessions_max, services_max, where_half = unpack(plan, 1, PLAN_FIXED)
  local refused = guard(keys[1], part, now, offset, skew)
  if refused then return { refused, '', 0 } end
  local asked_services = read_services(plan)
  local reply, session, book = look(keys, kind, number, digest, account, version, tariff, sessions_max)
  if reply then return reply end

  local fresh, late = not session, session and session[S_STATE] ~= OPEN
  if fresh then session = new_session(account, tariff, now, 0, route) end
  if at < session[S_LAST] then at = session[S_LAST] end
  local lines, notes = settle(session, book, asked_services, kind, number, now)
  local rows, code, more = nil, nil, late and LATE or 0
  if late or kind == TERMINATION then
    rows, code = close_all(session, book, asked_services, late, kind)
  else
    rows, more, code = grant_all(session, book, asked_services, lines, number, now, services_max)
    if fresh then
      if code == SUCCESS then book[B_OPEN] = book[B_OPEN] + 1 else session[S_STATE] = REFUSED end
    end
    if fresh or now - session[S_WHERE] > where_half then
      session[S_WHERE] = now
      more = bit.bor(more, WHERE)
    end
    session[S_ROUTE] = route
  end
  notes = bit.bor(notes, more)
  finish_lines(session, lines)
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  session[S_LAST] = at
  local index = false
  if session[S_STATE] == OPEN then
    session[S_DUE] = now + supervision
    -- the due index may run early (expire looks again), so it moves only when that is worth a write
    index = session[S_DUE] - session[S_INDEXED] > supervision / 8
    if index then session[S_INDEXED] = session[S_DUE] end
  end
  local outcome = cmsgpack.pack({ code, rows })
  remember(session, kind, number, digest, outcome)
  check(book)
  local record = cmsgpack.pack({ RECORD_VERSION, R_CHARGE, account, book[B_SEQUENCE], now, at, sid, kind, number, code, notes,
    tariff, book[B_CREDITS], book[B_POSTED], book[B_PENDING], session[S_STATE], lines })
  local kept, book_after = write_session(session), cmsgpack.pack(book)
  local due = index and string.format('%.0f', session[S_DUE]) or ''
  local id, life = stream_id(part), session[S_STATE] ~= OPEN and life_of(tombstone) or ''

  redis.call('XADD', keys[5], id, 'r', record)
  if session[S_STATE] == OPEN then
    if index then redis.call('ZADD', keys[4], due, sid) end
    redis.call('SET', keys[3], kept)
  elseif late then
    redis.call('SET', keys[3], kept, 'KEEPTTL')
  else
    redis.call('ZREM', keys[4], sid)
    redis.call('SET', keys[3], kept, 'PX', life)
  end
  redis.call('SET', keys[2], book_after)
  return { code, outcome, notes }
end

-- expire: end a session whose supervision time is over (or, forced, at an operator's word): void its holds once.
local function expire(keys, args)
  local part = args[1]
  local now, offset, skew, account, sid, tombstone, forced = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(keys[1], part, now, offset, skew)
  if refused then return { refused, 0 } end
  local session_text, book_text = redis.call('GET', keys[3]), redis.call('GET', keys[2])
  local session = session_text and read_session(session_text)
  if not session or session[S_STATE] ~= OPEN then
    redis.call('ZREM', keys[4], sid)
    return { UNKNOWN_SESSION, 0 }
  end
  if session[S_ACCOUNT] ~= account then return { CONFLICT, 0 } end
  if not book_text then return { UNKNOWN_SUBSCRIBER, 0 } end
  if forced == 0 and session[S_DUE] > now then
    session[S_INDEXED] = session[S_DUE]
    local kept, due = write_session(session), string.format('%.0f', session[S_DUE])

    redis.call('ZADD', keys[4], due, sid)
    redis.call('SET', keys[3], kept)
    return { STALE, 0 }
  end
  local book = read_short(book_text)
  local held = void_all(session)
  book[B_PENDING] = book[B_PENDING] - held
  book[B_OPEN] = book[B_OPEN] - 1
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  session[S_STATE] = EXPIRED
  check(book)
  local record = cmsgpack.pack({ RECORD_VERSION, R_EXPIRE, session[S_ACCOUNT], book[B_SEQUENCE], now, sid, held, forced,
    book[B_CREDITS], book[B_POSTED], book[B_PENDING] })
  local kept, book_after, id, life = write_session(session), cmsgpack.pack(book), stream_id(part), life_of(tombstone)

  redis.call('XADD', keys[5], id, 'r', record)
  redis.call('ZREM', keys[4], sid)
  redis.call('SET', keys[3], kept, 'PX', life)
  redis.call('SET', keys[2], book_after)
  return { SUCCESS, held }
end
