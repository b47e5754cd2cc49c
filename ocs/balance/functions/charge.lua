-- charge: one credit-control request, all its services, as one atomic call (TS 32.299 clause 6.3, RFC 8506 section 5).
--
-- Replay? -> version and identity -> post what was used -> void the holds of the services named -> grant, from the
-- account's available money -> remember the outcome -> record. No refusal skips posting, except a conflict and an
-- unknown session.

-- Units beyond belief: above 4 times the grant and above the greatest rate times the time since it was made (law 8).
local function believable(session, s, grant, reported, rate, now)
  if reported <= 4 * grant then return true end
  local elapsed = now - session[s + V_GRANTED]
  return reported <= rate * ((elapsed - elapsed % 1000) / 1000 + 1)
end

-- Move the service along one ladder.
local function walk_on(session, s, on, units, shift)
  session[s + V_POSITION], session[s + V_COVERED], session[s + V_WHOLE], session[s + V_FRAC] = advance(on,
    session[s + V_POSITION], session[s + V_COVERED], session[s + V_WHOLE], session[s + V_FRAC], units, shift)
end

-- Move the service along what was used, `most` units of it that were believed, of which allowances had the first `drawn`; the
-- micro-units that this costs. Granted seconds belong to the window of their grant; what is beyond the grant, the newest of the
-- report, to the pieces.
local function post_pieces(session, s, plan, a, piece, most, drawn, shift)
  local left, on, skipped = most - drawn, nil, plan[a + A_USED + plan[a + A_UNIT]] - (most - drawn)
  if plan[a + A_GRANTED] ~= 0 then
    on = plan[PLAN_FIXED + plan[a + A_GRANTED]]
    local units = least(left, above(session[s + V_GRANT] - drawn))
    walk_on(session, s, on, units, shift)
    left, skipped = left - units, skipped + units
  end
  for i = piece, piece + 2 * (plan[a + A_PIECES] - 1), 2 do
    if left == 0 and on then break end
    local units = plan[i + 1]
    if skipped > 0 then
      local n = least(skipped, units)
      skipped, units = skipped - n, units - n
    end
    if units > left then units = left end
    on = plan[PLAN_FIXED + plan[i]]
    walk_on(session, s, on, units, shift)
    left = left - units
  end
  local amount = total(on, session[s + V_POSITION], session[s + V_WHOLE], session[s + V_FRAC]) - session[s + V_POSTED]
  if amount < 0 then return 0 end -- another rate's cap lies below what was posted: nothing is given back
  session[s + V_POSTED] = session[s + V_POSTED] + amount
  return amount
end

-- Post units that were believed: what the account pays, the price, and the units that allowances had.
local function post_units(session, s, plan, a, piece, most, book, own, taken, line, now, was, at)
  if not session[S_LIST] then
    local amount = post_pieces(session, s, plan, a, piece, most, 0, 0)
    return amount, amount, 0
  end
  local service = place_of(s)
  local list = parts_of(session, service)
  local left = draw(session, service, most, book, own, taken, line, was, at)
  if left == 0 then return 0, 0, most end
  local x, shift, covered, home, w = tier_of(session, service), 0, session[s + V_COVERED], nil, nil
  if x then
    home, w = counter_of(x, list, book, own, session[s + V_UNIT], now)
    shift = home[w + R_USED] - covered
  end
  local price = post_pieces(session, s, plan, a, piece, most, most - left, shift)
  if x and session[s + V_COVERED] > covered then take(taken, line, x, list, home, w, session[s + V_COVERED] - covered) end
  return spend(session, service, price, book, own, taken, line, now, was, at), price, most - left
end

-- Post what one service reports: units posted, units quarantined, micro-units, notes, their price, units of allowances. `s` is nil
-- for a service that the session does not know, `piece` the place of the first piece.
local function post(session, s, plan, a, piece, book, own, taken, line, now, voids, at)
  local unit = plan[a + A_UNIT]
  local reported = plan[a + A_USED + unit]
  -- while it is restricted a service has leave to be used elsewhere, where nobody pays (RFC 8506 section 5.6)
  local restricted = s and session[s + V_FINAL] == 1 and session[s + V_GRANT] == 0
  if not s or restricted or session[s + V_UNIT] ~= unit or reported < 0 or plan[a + A_PIECES] == 0 then
    local foreign = 0
    for i = a + A_USED + 1, a + A_USED + UNIT_KINDS do
      if plan[i] > foreign then foreign = plan[i] end
    end
    -- nothing of the kinds reported was granted: Open5GS reports seconds since 1970 after a refusal (CLIENTS 10)
    return 0, foreign, 0, foreign > 0 and QUARANTINE or 0, 0, 0
  end
  -- what its own allowances hold is given back before, so that it posts on what it held itself
  local was = voids and release(session, place_of(s), book, own) or NOTHING
  if reported == 0 then return 0, 0, 0, 0, 0, 0 end
  local grant = session[s + V_FINAL] < POOL and session[s + V_GRANT] or may_use(session, s, plan[PLAN_FIXED + plan[piece]])
  local most, notes = reported, 0
  if not believable(session, s, grant, reported, plan[a + A_RATE], now) then most = grant end
  local room = plan[PLAN_FIXED + plan[piece]][L_LIMIT] - session[s + V_POSITION]
  if most > room then most = room > 0 and room or 0 end
  if most < reported then notes = QUARANTINE end
  if most > grant then notes = notes + OVERRUN end
  local amount, price, drawn = post_units(session, s, plan, a, piece, most, book, own, taken, line, now, was, at)
  return most, reported - most, amount, notes, price, drawn
end

-- Whether a request reports or asks for the service that it names: only then does it void what the service holds.
local function touches(plan, a)
  return plan[a + A_WANTS] > 0 or plan[a + A_REFUSAL] ~= 0 or plan[a + A_USED + 1] >= 0 or plan[a + A_USED + 2] >= 0
    or plan[a + A_USED + 3] >= 0 or plan[a + A_USED + 4] >= 0
end

-- First pass over the services: post what they used and void what they hold. A line of the record for each; notes, or nil
-- where a service is on another rate than the plan was made for (nothing is written then). What services that report nothing hold
-- on rows is given back when all have posted: others do not post on it.
local function settle(session, book, own, plan, record, taken, now, at)
  local kind, number, notes = plan[P_KIND], plan[P_NUMBER], 0
  local a, r = PLAN_FIXED + plan[P_LADDERS], CHARGE_FIXED
  local piece, voided = a + plan[P_SERVICES] * A_WIDTH + 1, {}
  for line = 1, plan[P_SERVICES] do
    local s = find_service(session, plan[a + A_KEY])
    if s and session[s + V_RATE] ~= plan[a + A_EARLIER] and plan[a + A_EARLIER] ~= ANY then return nil end
    local voids = s and (kind == TERMINATION or (number >= session[s + V_NUMBER] and touches(plan, a)))
    local units, odd, amount, note, price, drawn =
      post(session, s, plan, a, piece, book, own, taken, line, now, voids, at)
    book[B_POSTED] = book[B_POSTED] + amount
    if own ~= book then own[B_POSTED] = own[B_POSTED] + amount end
    if note > 0 then notes = bor(notes, note) end
    record[r + LINE_PRICED], record[r + LINE_ALLOWANCE] = price, drawn
    record[r + LINE_KEY], record[r + LINE_UNIT], record[r + LINE_CODE] = plan[a + A_KEY], plan[a + A_UNIT], SUCCESS
    record[r + LINE_UNITS], record[r + LINE_ODD], record[r + LINE_AMOUNT] = units, odd, amount
    record[r + LINE_RATE] = s and session[s + V_RATE] or ''
    local pooled = s and session[s + V_FINAL] >= POOL
    if pooled then take_of_pool(session, s, amount, book, own) end
    if voids then
      voided[#voided + 1] = s
      if not pooled then
        book[B_PENDING] = book[B_PENDING] - session[s + V_HOLD]
        if own ~= book then own[B_PENDING] = own[B_PENDING] - session[s + V_HOLD] end
        session[s + V_HOLD] = 0
      elseif plan[a + A_WANTS] == 0 and plan[a + A_REFUSAL] == 0 then
        leave_pool(session, s, book, own)
      end
      session[s + V_NUMBER] = number
      -- the grant stays as the measure of late reports once the session has ended
      if kind == UPDATE and session[S_STATE] == OPEN then
        session[s + V_GRANT], session[s + V_FINAL] = 0, pooled and POOL * pool_of(session, s) or 0
      end
    end
    piece = piece + 2 * plan[a + A_PIECES]
    a, r = a + A_WIDTH, r + LINE_WIDTH
  end
  if session[S_LIST] then
    for i = 1, #voided do release(session, place_of(voided[i]), book, own) end
  end
  return notes
end

-- The lines end with what stands after the request: position, posted, grant and hold of each service named.
local function finish_lines(session, plan, record)
  for r = CHARGE_FIXED, CHARGE_FIXED + (plan[P_SERVICES] - 1) * LINE_WIDTH, LINE_WIDTH do
    local s = find_service(session, record[r + LINE_KEY])
    if s then
      record[r + LINE_POSITION], record[r + LINE_POSTED] = session[s + V_POSITION], session[s + V_POSTED]
      record[r + LINE_GRANT], record[r + LINE_HOLD] = session[s + V_GRANT], session[s + V_HOLD]
    else
      record[r + LINE_POSITION], record[r + LINE_POSTED], record[r + LINE_GRANT], record[r + LINE_HOLD] = 0, 0, 0, 0
    end
  end
end

-- Lines for others of a pool whose holds this request moved without naming them, behind those of its services: no code, nothing used.
local function tell_moved(session, plan, record)
  local named = {}
  for r = CHARGE_FIXED, CHARGE_FIXED + (plan[P_SERVICES] - 1) * LINE_WIDTH, LINE_WIDTH do named[record[r + LINE_KEY]] = true end
  local lines = plan[P_SERVICES]
  for s = S_FIXED, S_FIXED + (session[S_COUNT] - 1) * V_WIDTH, V_WIDTH do
    local before, r = session[S_MOVED][s], CHARGE_FIXED + lines * LINE_WIDTH
    if before and before ~= session[s + V_HOLD] and not named[session[s + V_KEY]] then
      for i = 1, LINE_WIDTH do record[r + i] = 0 end
      record[r + LINE_KEY], record[r + LINE_UNIT], record[r + LINE_RATE] = session[s + V_KEY], session[s + V_UNIT], session[s + V_RATE]
      record[r + LINE_POSITION], record[r + LINE_POSTED] = session[s + V_POSITION], session[s + V_POSTED]
      record[r + LINE_GRANT], record[r + LINE_HOLD] = session[s + V_GRANT], session[s + V_HOLD]
      lines = lines + 1
    end
  end
  return lines
end

-- Void what an open session holds, once; how much of money that was. `counted` is 0 for one of accounting, which the books do not count.
local function end_session(session, book, own, counted)
  local held = void_all(session)
  for service = 1, session[S_COUNT] do release(session, service, book, own) end
  book[B_PENDING], book[B_OPEN] = book[B_PENDING] - held, book[B_OPEN] - counted
  if own ~= book then own[B_PENDING], own[B_OPEN] = own[B_PENDING] - held, own[B_OPEN] - counted end
  return held
end

-- A request that may not be granted anything: a termination, or one that comes after the session's end. Rows and code. A termination's
-- service is refused where its money is none of the account's.
local function close_all(session, book, own, plan, record)
  local rows, late, ends, refusals, r = '', session[S_STATE] ~= OPEN, plan[P_KIND] == TERMINATION, 0, CHARGE_FIXED
  for a = PLAN_FIXED + plan[P_LADDERS], PLAN_FIXED + plan[P_LADDERS] + (plan[P_SERVICES] - 1) * A_WIDTH, A_WIDTH do
    local code = ends and plan[a + A_REFUSAL] ~= 0 and plan[a + A_REFUSAL] or SUCCESS
    if code ~= SUCCESS then refusals, record[r + LINE_CODE] = refusals + 1, code end
    rows, r = rows .. struct_pack(ROW_FORMAT, code, plan[a + A_UNIT], 0, 0, 0), r + LINE_WIDTH
  end
  if not late then end_session(session, book, own, 1) end
  if ends then
    session[S_STATE] = CLOSED
    if refusals > 0 and refusals == plan[P_SERVICES] then return rows, UNRATED end
  elseif late then
    return rows, UNKNOWN_SESSION
  end
  return rows, SUCCESS
end

-- Whether a request asks for what is granted to everybody, an emergency call.
local function always(plan)
  for a = PLAN_FIXED + plan[P_LADDERS], PLAN_FIXED + plan[P_LADDERS] + (plan[P_SERVICES] - 1) * A_WIDTH, A_WIDTH do
    if plan[a + A_ALWAYS] == EMERGENCY then return true end
  end
  return false
end

-- The reply to a plan that was made for another state: all that a plan depends on.
local function stale(profile_key, book, session)
  local reply = { STALE, call('GET', profile_key) or '', book[B_VERSION] }
  if not session then return reply end
  reply[4], reply[5] = session[S_TARIFF], session[S_FACTS]
  for s = S_FIXED, S_FIXED + (session[S_COUNT] - 1) * V_WIDTH, V_WIDTH do
    reply[#reply + 1] = session[s + V_KEY]
    reply[#reply + 1] = session[s + V_RATE]
  end
  return reply
end

-- Steps 1 to 3 of MONEY.md, which write nothing: the reply that ends the request, or nil with session (if any), book and the
-- member's own book (the same where there is no member).
local function look(profile_key, session_text, book_text, own_text, plan, sessions_max)
  local session, kind = session_text and read_session(session_text), plan[P_KIND]
  if session then
    if session[S_ACCOUNT] ~= plan[P_ACCOUNT] then return { CONFLICT, '', 0 } end
    local code, text, note = recall(session, kind, plan[P_NUMBER], plan[P_DIGEST])
    if code then return { code, text, note } end
  elseif kind ~= INITIAL then
    return { UNKNOWN_SESSION, '', 0 }
  end
  if not book_text or (plan[P_MEMBER] ~= '' and not own_text) then return { UNKNOWN_SUBSCRIBER, '', 0 } end
  local book = read_book(book_text)
  local own = plan[P_MEMBER] ~= '' and read_book(own_text) or book
  if book[B_VERSION] ~= plan[P_VERSION] or (session and session[S_TARIFF] ~= plan[P_TARIFF]) then
    return stale(profile_key, book, session)
  end
  if session and plan[P_BEFORE] ~= session[S_FACTS] and plan[P_BEFORE] ~= ANY then
    return stale(profile_key, book, session)
  end
  if not session then
    if book[B_STATUS] == TERMINATED or own[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER, '', 0 } end
    if own[B_OPEN] >= sessions_max and not always(plan) then return { SESSIONS_FULL, '', 0 } end
  elseif session[S_STATE] == REFUSED then
    -- nothing was opened: a termination is answered, an update is not known, and neither moves anything (CLIENTS 15)
    if kind ~= TERMINATION then return { UNKNOWN_SESSION, '', 0 } end
    return { SUCCESS, struct_pack(HEAD_FORMAT, kind, plan[P_NUMBER], plan[P_DIGEST], SUCCESS, 0, 0), 0 }
  end
  return nil, session, book, own
end

-- What must hold of a book before anything is written; its other fields no function moves once the account is open, but
-- by one or to a word.
local function check(book)
  local came_in, posted, pending, sequence = book[B_CREDITS], book[B_POSTED], book[B_PENDING], book[B_SEQUENCE]
  if came_in % 1 ~= 0 or posted % 1 ~= 0 or pending % 1 ~= 0 or sequence % 1 ~= 0 then error('a book in fractions') end
  if pending < 0 or book[B_OPEN] < 0 then error('a book below nothing: pending or open sessions') end
  if book[B_UNTIL] % 1 ~= 0 or book[B_UNTIL] > EXACT_MAX then error('a book of no instant') end
  for w = B_FIXED, B_FIXED + (book[B_ROWS] - 1) * R_WIDTH, R_WIDTH do
    local amount, used, held = book[w + R_AMOUNT], book[w + R_USED], book[w + R_PENDING]
    if amount % 1 ~= 0 or used % 1 ~= 0 or held % 1 ~= 0 then error('a row in fractions') end
    if held < 0 or used < 0 or used > EXACT_MAX or held > EXACT_MAX then error('a row beyond the range of the store') end
  end
  if came_in > EXACT_MAX or posted > BOOK_MAX or posted < -BOOK_MAX or pending > EXACT_MAX or sequence > EXACT_MAX then
    error('a book beyond the range of the store')
  end
end

local function new_session(plan)
  local now = plan[P_NOW]
  return { LAYOUT, 0, 0, OPEN, plan[P_ACCOUNT], plan[P_TARIFF], now, 0, 0, 0, 0, 0, now, plan[P_ROUTE], '', 0, 0, '' }
end

-- A record to be filled in: a table that has its size from the beginning costs less than one that grows.
local function new_record(services)
  if services == 0 then return { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } end
  return { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
end

-- Steps 4 to 8 of MONEY.md on session, books and the record's lines: the rows of the outcome, the command's code, notes; nil
-- where the plan was made for another rate. `at` is the instant that prices, `taken` gets what parts moved.
local function move(session, book, own, plan, record, taken, rules, fresh, at)
  local kind, now, late = plan[P_KIND], plan[P_NOW], session[S_STATE] ~= OPEN
  local before = { book[B_POSTED], book[B_PENDING], own[B_POSTED], own[B_PENDING] }
  local notes = settle(session, book, own, plan, record, taken, now, at)
  if not notes then return nil end
  local rows, code, more
  if late or kind == TERMINATION then
    rows, code = close_all(session, book, own, plan, record)
    more = late and LATE or 0
  else
    if plan[P_RENEWAL] ~= '' then
      -- after the holds of this request are void, and before it is granted anything: what is due comes first
      session[S_RENEWED], session[S_PROFILE] = renewal(plan[P_RENEWAL], plan, book, own, before, taken, now, at)
      if session[S_RENEWED] then notes = bor(notes, RENEWED) end
    end
    rows, more, code = grant_all(session, book, own, plan, record, rules[RULE_SERVICES_MAX], now, at)
    if fresh and code == SUCCESS then
      book[B_OPEN] = book[B_OPEN] + 1
      if own ~= book then own[B_OPEN] = own[B_OPEN] + 1 end
    elseif fresh then
      session[S_STATE] = REFUSED
    end
    if fresh or now - session[S_WHERE] > rules[RULE_WHERE_HALF] then
      session[S_WHERE] = now
      more = bor(more, WHERE)
    end
    -- what a late lower number tells is not how things are now
    if fresh or plan[P_NUMBER] >= session[S_TOP] then
      session[S_ROUTE] = plan[P_ROUTE]
      if plan[P_FACTS] ~= ANY then session[S_FACTS] = plan[P_FACTS] end
      if plan[P_NEXT] ~= '' then session[S_TARIFF] = plan[P_NEXT] end
    end
  end
  if more > 0 then notes = bor(notes, more) end
  if taken.crossed then notes = bor(notes, CROSSED) end
  finish_lines(session, plan, record)
  return rows, code, notes, late
end

local function tells(plan)
  return plan[P_QUOTA] ~= '' and array_of(plan[P_QUOTA])[Q_TELLS] == 1
end

-- An outcome, with what the account has available behind it where the plan asks for it.
local function with_told(outcome, book, plan)
  return tells(plan) and outcome .. struct_pack('<d', available_of(book)) or outcome
end

-- A repeated request's reply, with what the account has available now where the plan asks for it.
local function with_available(reply, book_text, plan)
  if reply[1] == SUCCESS and book_text and tells(plan) then reply[4] = available_of(read_book(book_text)) end
  return reply
end

-- Move the end of a session's life; whether the due index moves too. It may run early (expire looks again), so that it does only when
-- that is worth a write.
local function move_due(session, due, worth)
  session[S_DUE] = due
  local index = due - session[S_INDEXED] > worth
  if index then session[S_INDEXED] = due end
  return index
end

-- KEYS of a charge: part, book, session, due index, stream, profile, open sessions by account, and a member's own book (if any).
local function charge(keys, args)
  if not call then fetch() end
  local part, plan = args[1], read_plan(args[2])
  local kept = keys[8] and call('MGET', keys[1], keys[3], keys[2], keys[8]) or call('MGET', keys[1], keys[3], keys[2])
  local now, kind, number, rules = plan[P_NOW], plan[P_KIND], plan[P_NUMBER], array_of(plan[P_RULES])
  local refused = guard(kept[1], part, now, plan[P_OFFSET], plan[P_SKEW])
  if refused then return { refused, '', 0 } end
  local reply, session, book, own = look(keys[6], kept[2], kept[3], kept[4], plan, rules[RULE_SESSIONS_MAX])
  if reply then return with_available(reply, kept[3], plan) end

  local fresh = not session
  session = session or new_session(plan)
  local record, taken, at = new_record(plan[P_SERVICES]), {}, plan[P_AT]
  if at < session[S_LAST] then at = session[S_LAST] end
  session[S_LAST] = at
  local rows, code, notes, late = move(session, book, own, plan, record, taken, rules, fresh, at)
  if not rows then return stale(keys[6], book, session) end
  local state = session[S_STATE]
  local index = state == OPEN and move_due(session, now + rules[RULE_SUPERVISION], rules[RULE_SUPERVISION] / 8)
  local outcome = struct_pack(HEAD_FORMAT, kind, number, plan[P_DIGEST], code, notes, plan[P_SERVICES]) .. rows
  remember(session, kind, number, outcome)
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  check(book)
  if own ~= book then check(own) end
  record[1], record[2], record[3], record[4], record[5], record[6], record[7], record[8] =
    RECORD_VERSION, K_CHARGE, plan[P_PAYER], book[B_SEQUENCE], now, at, plan[P_SID], kind
  record[9], record[10], record[11], record[12], record[13], record[14], record[15], record[16] =
    number, code, notes, plan[P_TARIFF], book[B_CREDITS], book[B_POSTED], book[B_PENDING], state
  record[17], record[18], record[19], record[20], record[21], record[22] =
    session[S_FACTS], plan[P_MEMBER], own[B_POSTED], own[B_PENDING], book[B_UNTIL], plan[P_SERVICES]
  if session[S_MOVED] and state == OPEN then record[22] = tell_moved(session, plan, record) end
  end_record(record, taken, plan)
  local record_text, session_text, book_text = pack(record), write_session(session), write_book(book)
  local own_text = own ~= book and write_book(own)
  local renewed, profile = session[S_RENEWED] and pack(session[S_RENEWED]), session[S_PROFILE]
  local id, sid, due = stream_id(part), plan[P_SID], index and format('%.0f', session[S_DUE])
  local life = state ~= OPEN and life_of(rules[RULE_TOMBSTONE])
  local first_text, row = renewed or record_text, (index or life) and open_row(session, sid)
  local told = with_told(outcome, book, plan)

  call('XADD', keys[5], id, 'r', first_text)
  if renewed then
    call('XADD', keys[5], id, 'r', record_text)
    call('SET', keys[6], profile)
  end
  if state == OPEN then
    if index then
      call('ZADD', keys[4], due, sid)
      call('ZADD', keys[7], '0', row)
    end
    if own_text then
      call('MSET', keys[3], session_text, keys[2], book_text, keys[8], own_text)
    else
      call('MSET', keys[3], session_text, keys[2], book_text)
    end
  else
    if late then
      call('SET', keys[3], session_text, 'KEEPTTL')
    else
      call('ZREM', keys[4], sid)
      call('ZREM', keys[7], row)
      call('SET', keys[3], session_text, 'PX', life)
    end
    if own_text then call('MSET', keys[2], book_text, keys[8], own_text) else call('SET', keys[2], book_text) end
  end
  return told -- it tells the code and the notes itself; every other reply is a table
end

-- expire: end a session whose supervision time is over (or, forced, at an operator's word, or because its client has restarted): void
-- its holds once. With `due`, only if it was not heard of since that stood there.
local function expire(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, account, sid, tombstone, forced, due_then = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, 0 } end
  local session_text, book_text = call('GET', keys[3]), call('GET', keys[2])
  local own_before = keys[7] and call('GET', keys[7])
  local session = session_text and read_session(session_text)
  if not session or session[S_STATE] ~= OPEN then
    local row = session and open_row(session, sid) or sid

    call('ZREM', keys[4], sid)
    call('ZREM', keys[6], row)
    return { UNKNOWN_SESSION, 0 }
  end
  if session[S_ACCOUNT] ~= account then return { CONFLICT, 0 } end
  if not book_text or (keys[7] and not own_before) then return { UNKNOWN_SUBSCRIBER, 0 } end
  if due_then and due_then > 0 and session[S_DUE] ~= due_then then return { STALE, 0 } end
  if forced == 0 and session[S_DUE] > now then
    session[S_INDEXED] = session[S_DUE]
    local due = format('%.0f', session[S_DUE])
    local kept = write_session(session)

    call('ZADD', keys[4], due, sid)
    call('SET', keys[3], kept)
    return { STALE, 0 }
  end
  local book = read_book(book_text)
  local own = own_before and read_book(own_before) or book
  local held = end_session(session, book, own, sub(sid, 1, #ACCOUNTING) == ACCOUNTING and 0 or 1)
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  session[S_STATE] = EXPIRED
  check(book)
  if own ~= book then check(own) end
  local payer, member = account:match('^([^/]*)/?(.*)$')
  local record = pack({ RECORD_VERSION, K_EXPIRE, payer, book[B_SEQUENCE], now, sid, held, forced,
    member, own[B_POSTED], own[B_PENDING], book[B_CREDITS], book[B_POSTED], book[B_PENDING] })
  local kept, book_after, id, life = write_session(session), write_book(book), stream_id(part), life_of(tombstone)
  local own_after, row = own ~= book and write_book(own), open_row(session, sid)

  call('XADD', keys[5], id, 'r', record)
  call('ZREM', keys[4], sid)
  call('ZREM', keys[6], row)
  call('SET', keys[3], kept, 'PX', life)
  if own_after then call('MSET', keys[2], book_after, keys[7], own_after) else call('SET', keys[2], book_after) end
  return { SUCCESS, held }
end
