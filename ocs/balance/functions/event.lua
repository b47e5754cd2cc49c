-- One-time events: debit and enquire (RFC 8506 section 6, TS 32.299 clause 6.3, IEC). MONEY.md, "Events".
--
-- An event comes as the plan of an Initial that asks for all its units and has used them (ocs/charging/event.py). Each service is
-- granted whole and posted at once, or not at all; the session of it lives within the call, and nothing stays held.

-- What is kept of an event, for repetitions, and of a debit for its refunds too: the account and member, the outcome, the family of its
-- services, the tariff, and a line for each service that was debited.
local E_DIGEST, E_PATH, E_OUTCOME, E_FAMILY, E_TARIFF, E_LINES = 1, 2, 3, 4, 5, 6
-- Of such a line: units that are left to be refunded, the ladder and how far on its steps were looked up, what was paid in money, and what
-- was taken of rows, DM_WIDTH values each.
local D_KEY, D_UNIT, D_RATE, D_LEFT, D_LADDER, D_SHIFT, D_CHARGE, D_MOVES = 1, 2, 3, 4, 5, 6, 7, 8
local DM_KIND, DM_OWN, DM_ID, DM_START, DM_TAKEN, DM_BLOCK, DM_TAKE = 1, 2, 3, 4, 5, 6, 7
local DM_WIDTH = 7

-- Whether allowances and money cover all units that a service asks for; with `credit` the account's own money and what may be spent
-- count, without it only what no money mends. Nothing stays held.
local function is_whole(session, mine, plan, a, first, credit, book, own, at)
  local count = plan[a + A_SOURCES]
  local left, whole = hold_units(mine, plan[a + A_WANTS], book, own, at), true
  if left > 0 then
    whole = not blocked(plan, first, count)
    if whole then
      local budget, room = budget_of(mine, available_of(book), book, own, at)
      if not credit or (room and room <= budget) then budget = BOOK_MAX end
      whole = afford_tiers(session, nil, plan, a, left, budget, mine, book, own) == left
    end
  end
  release(session, 1, book, own)
  return whole
end

-- What a line of a debit keeps of the rows that it took from; `n` is where its own begin in `taken`.
local function moves_of(mine, taken, n)
  local moves, shift = {}, 0
  for t = n, #taken - TAKEN_WIDTH, TAKEN_WIDTH do
    local own, kind, id, start, amount = values_of(taken, t + 2, t + 6)
    local block, per = 0, 0
    for x = 0, #mine - X_WIDTH, X_WIDTH do
      if kind == UNITS and mine[x + X_KIND] == UNITS and mine[x + X_ID] == id and mine[x + X_START] == start
        and mine[x + X_OWN] == own then
        block, per = mine[x + X_BLOCK], mine[x + X_TAKE]
      end
    end
    if kind == TIER then shift = taken[t + 7] - amount end
    for _, value in ipairs({ kind, own, id, start, amount, block, per }) do moves[#moves + 1] = value end
  end
  return moves, shift
end

-- One service of an event, granted whole and posted: its code; where it was, what the account paid, the price, the units of allowances, and
-- its line. `line` is its place, `first` that of its sources, `piece` that of its pieces.
local function debit_one(plan, a, line, first, piece, credit, book, own, taken)
  local now, at = plan[P_NOW], plan[P_AT]
  if denied(book, own, plan, a, at) then return BARRED end
  if plan[a + A_REFUSAL] ~= 0 then return plan[a + A_REFUSAL] end
  local session, n = new_session(plan), #taken
  local mine = parts_for(session, 1, plan, first, plan[a + A_SOURCES])
  session[S_LIST] = { mine }
  if not is_whole(session, mine, plan, a, first, credit, book, own, at) then return CREDIT_LIMIT end
  local s, wants = new_service(session, plan, a), plan[a + A_WANTS]
  session[s + V_GRANT], session[s + V_RATE] = wants, plan[a + A_MARK]
  local amount, price, drawn = post_units(session, s, plan, a, piece, wants, book, own, taken, line, now, NOTHING, at)
  book[B_POSTED] = book[B_POSTED] + amount
  if own ~= book then own[B_POSTED] = own[B_POSTED] + amount end
  local moves, shift = moves_of(mine, taken, n)
  local charge = amount
  for m = 0, #moves - DM_WIDTH, DM_WIDTH do
    if moves[m + DM_KIND] == MONEY then charge = charge + moves[m + DM_TAKEN] end
  end
  local kept = { plan[a + A_KEY], plan[a + A_UNIT], plan[a + A_MARK], wants, plan[PLAN_FIXED + plan[a + A_LADDER]], shift, charge,
    moves }
  return SUCCESS, amount, price, drawn, kept
end

-- A line of the record of an event; what stands after it is told from its first unit on.
local function event_line(record, place, key, unit, code, units, position, amount, posted, grant, rate, price, drawn)
  local r = CHARGE_FIXED + (place - 1) * LINE_WIDTH
  record[r + LINE_KEY], record[r + LINE_UNIT], record[r + LINE_CODE] = key, unit, code
  record[r + LINE_UNITS], record[r + LINE_ODD], record[r + LINE_POSITION], record[r + LINE_AMOUNT] = units, 0, position, amount
  record[r + LINE_POSTED], record[r + LINE_GRANT], record[r + LINE_HOLD], record[r + LINE_RATE] = posted, grant, 0, rate
  record[r + LINE_PRICED], record[r + LINE_ALLOWANCE] = price, drawn
end

-- All services of an event, in the order in which they come to scarce credit: the rows of its outcome, the command's code, the lines of
-- those that were debited, and for each service in the plan's order what it costs in money and the units of allowances.
local function debit_all(plan, book, own, record, taken, credit)
  local services, count = PLAN_FIXED + plan[P_LADDERS], plan[P_SERVICES]
  local firsts, pieces, rows, lines, costs = {}, {}, {}, {}, {}
  local first, piece, worst, begins, refusals = plan[P_SOURCES] - 1, services + count * A_WIDTH + 1, SUCCESS, false, 0
  for place = 1, count do
    local a = services + (place - 1) * A_WIDTH
    firsts[place], pieces[place] = first, piece
    first, piece = first + plan[a + A_SOURCES] * SOURCE_WIDTH, piece + 2 * plan[a + A_PIECES]
  end
  for turn = 1, count do
    local place = plan[services + (turn - 1) * A_WIDTH + A_ORDER]
    local a = services + (place - 1) * A_WIDTH
    local key, unit = plan[a + A_KEY], plan[a + A_UNIT]
    local code, amount, price, drawn, kept = debit_one(plan, a, place, firsts[place], pieces[place], credit, book, own, taken)
    local units = 0
    if code == SUCCESS then
      units = plan[a + A_WANTS]
      lines[#lines + 1] = kept
      costs[2 * place - 1], costs[2 * place] = kept[D_CHARGE], drawn
      if plan[a + A_ALWAYS] ~= EMERGENCY then begins = true end
      event_line(record, place, key, unit, code, units, units - drawn, amount, price, units, plan[a + A_MARK], price, drawn)
    else
      refusals, worst = refusals + 1, least(worst, code)
      costs[2 * place - 1], costs[2 * place] = 0, 0
      event_line(record, place, key, unit, code, 0, 0, 0, 0, 0, '', 0, 0)
    end
    rows[place] = struct_pack(ROW_FORMAT, code, unit, units, 0, 0)
  end
  if begins and book[B_UNTIL] < 0 then book[B_UNTIL] = plan[P_FIRST] > 0 and plan[P_AT] + plan[P_FIRST] or 0 end
  return concat(rows), refusals < count and SUCCESS or worst, lines, costs
end

-- What ends an event before it is looked at: the reply, or nil with the books. `kept` are the partition's text, what is known of this event
-- already, the book and the member's own.
local function look_at_event(kept, plan, part, profile_key)
  local refused = guard(kept[1], part, plan[P_NOW], plan[P_OFFSET], plan[P_SKEW])
  if refused then return { refused, '', 0 } end
  if kept[2] then
    local before = cmsgpack.unpack(kept[2])
    if before[E_DIGEST] ~= plan[P_DIGEST] or before[E_PATH] ~= plan[P_ACCOUNT] then return { CONFLICT, '', 0 } end
    return { SUCCESS, before[E_OUTCOME], REPLAY }
  end
  if not kept[3] or (plan[P_MEMBER] ~= '' and not kept[4]) then return { UNKNOWN_SUBSCRIBER, '', 0 } end
  local book = read_book(kept[3])
  local own = plan[P_MEMBER] ~= '' and read_book(kept[4]) or book
  if book[B_VERSION] ~= plan[P_VERSION] then return stale(profile_key, book, nil) end
  if book[B_STATUS] == TERMINATED or own[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER, '', 0 } end
  return nil, book, own
end

-- The record's own fields, once the books are as they will be.
local function event_record(record, plan, book, own, code, notes, tariff, facts)
  record[1], record[2], record[3], record[4], record[5], record[6], record[7], record[8] =
    RECORD_VERSION, K_CHARGE, plan[P_PAYER], book[B_SEQUENCE], plan[P_NOW], plan[P_AT], plan[P_SID], plan[P_KIND]
  record[9], record[10], record[11], record[12], record[13], record[14], record[15], record[16] =
    plan[P_NUMBER], code, notes, tariff, book[B_CREDITS], book[B_POSTED], book[B_PENDING], CLOSED
  record[17], record[18], record[19], record[20] = facts, plan[P_MEMBER], own[B_POSTED], own[B_PENDING]
  record[21], record[22] = book[B_UNTIL], plan[P_SERVICES]
end

local function head_of(plan, code, notes)
  return struct_pack(HEAD_FORMAT, plan[P_KIND], plan[P_NUMBER], plan[P_DIGEST], code, notes, plan[P_SERVICES])
end

-- debit: a one-time event, debited at once. KEYS: part, book, the event, stream, profile, the account's list of debits, the member's own
-- book (if any). Besides the plan: the event's name, the family of its services, how long an event and a debit are remembered, and the
-- last place of the list of debits that is kept.
local function debit(keys, args)
  if not call then fetch() end
  local part, plan = args[1], read_plan(args[2])
  local name, family, event_ms, debit_ms, last = values_of(cmsgpack.unpack(args[3]))
  local kept = keys[7] and call('MGET', keys[1], keys[3], keys[2], keys[7]) or call('MGET', keys[1], keys[3], keys[2])
  local reply, book, own = look_at_event(kept, plan, part, keys[5])
  if reply then return with_available(reply, kept[3], plan) end
  local record, taken, notes = new_record(plan[P_SERVICES]), {}, 0
  local renewed, profile
  if plan[P_RENEWAL] ~= '' then
    local before = { book[B_POSTED], book[B_PENDING], own[B_POSTED], own[B_PENDING] }
    renewed, profile = renewal(plan[P_RENEWAL], plan, book, own, before, taken, plan[P_NOW], plan[P_AT])
    if renewed then notes = RENEWED end
  end
  local rows, code, lines = debit_all(plan, book, own, record, taken, true)
  if taken.crossed then notes = bor(notes, CROSSED) end
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  check(book)
  if own ~= book then check(own) end
  event_record(record, plan, book, own, code, notes, plan[P_TARIFF], plan[P_FACTS] == ANY and '' or plan[P_FACTS])
  end_record(record, taken, plan)
  local outcome = head_of(plan, code, notes) .. rows
  local debited = #lines > 0
  local event = pack({ plan[P_DIGEST], plan[P_ACCOUNT], outcome, family, plan[P_TARIFF], lines })
  local life, list_life, last_text = life_of(debited and debit_ms or event_ms), life_of(debit_ms), format('%.0f', last)
  local record_text, book_text, own_text = pack(record), write_book(book), own ~= book and write_book(own)
  local first_text, id = renewed and pack(renewed) or record_text, stream_id(part)
  local told = with_told(outcome, book, plan)

  call('XADD', keys[4], id, 'r', first_text)
  if renewed then
    call('XADD', keys[4], id, 'r', record_text)
    call('SET', keys[5], profile)
  end
  call('SET', keys[3], event, 'PX', life)
  if debited then
    call('LPUSH', keys[6], name)
    call('LTRIM', keys[6], '0', last_text)
    call('PEXPIRE', keys[6], list_life)
  end
  if own_text then call('MSET', keys[2], book_text, keys[7], own_text) else call('SET', keys[2], book_text) end
  return told
end

-- enquire: what an event would cost, or (with credit counted) whether it could be paid; moves nothing. KEYS: part, book, profile, the
-- member's own book (if any). The outcome, and for each service what it would cost in money and the units that allowances would have; then, where the
-- plan asks for it, what the account has available.
local function enquire(keys, args)
  if not call then fetch() end
  local plan, credit = read_plan(args[2]), args[3] == '1'
  local found = keys[4] and call('MGET', keys[1], keys[2], keys[4]) or call('MGET', keys[1], keys[2])
  local reply, book, own = look_at_event({ found[1], false, found[2], found[3] }, plan, args[1], keys[3])
  if reply then return reply end
  local taken, available = {}, available_of(book)
  if plan[P_RENEWAL] ~= '' then
    local before = { book[B_POSTED], book[B_PENDING], own[B_POSTED], own[B_PENDING] }
    renewal(plan[P_RENEWAL], plan, book, own, before, taken, plan[P_NOW], plan[P_AT])
  end
  local rows, code, _, costs = debit_all(plan, book, own, {}, taken, credit)
  if tells(plan) then costs[#costs + 1] = available end
  return { SUCCESS, head_of(plan, code, 0) .. rows, 0, values_of(costs) }
end

redis.register_function('debit_VERSION', debit)
redis.register_function({ function_name = 'enquire_VERSION', callback = enquire, flags = { 'no-writes' } })
