-- account: one accounting record of offline charging, posted without a limit (TS 32.299 clause 6.2). MONEY.md, "Accounting records".
--
-- A record comes as the plan of a request that asks for what it has used (ocs/charging/accounting_plan.py). Its session is one like those
-- of charge, that is granted and holds nothing; where those keep outcomes it keeps how long its call has lasted, and which numbers it lacks.

-- That memory: when the call began, the instant reached and the length posted (seconds); whether a start and a stop have come, the
-- greatest number, and pairs of the first and last number of each gap.
local C_ANCHOR, C_REACHED, C_LENGTH, C_STARTED, C_STOPPED, C_TOP = 1, 2, 3, 4, 5, 6
local C_FIXED, GAPS_MAX = 6, 16
-- What a record says beside its plan: the call that the plan was made for and the call after it, the session's facts from then on, times
-- to live, whether the record is too old to be posted, how long its session may have lasted, and how many services it may have.
local N_CALL, N_ANCHOR, N_REACHED, N_LENGTH, N_NEW_ANCHOR, N_NEW_REACHED, N_NEW_LENGTH = 1, 2, 3, 4, 5, 6, 7
local N_FACTS, N_SUPERVISION, N_KEPT, N_TOO_OLD, N_LASTS, N_SERVICES_MAX, N_UNKNOWN = 8, 9, 10, 11, 12, 13, 14

local function read_memory(session)
  if session[S_OUTCOMES] == '' then return { 0, 0, 0, 0, 0, -1 } end
  return cmsgpack.unpack(session[S_OUTCOMES])
end

-- Take a number out of the gaps; how many it closes. Nothing comes before a start, so what was missed there is missed no more.
local function fill_gap(memory, number, starts)
  local kept, closed = {}, 0
  for g = C_FIXED + 1, #memory, 2 do
    local low, high = memory[g], memory[g + 1]
    if starts and low < number then
      local last = least(high, number - 1)
      closed, low = closed + last - low + 1, last + 1
    end
    if low <= number and number <= high then
      closed = closed + 1
      if low < number then kept[#kept + 1], kept[#kept + 2] = low, number - 1 end
      low = number + 1
    end
    if low <= high then kept[#kept + 1], kept[#kept + 2] = low, high end
  end
  for g = #memory, C_FIXED + 1, -1 do memory[g] = nil end
  for i = 1, #kept do memory[C_FIXED + i] = kept[i] end
  return closed
end

-- Take note of a record's number (RFC 6733 section 9.8.3): how many numbers are found missing before it, and how many it closes.
local function take_number(memory, kind, number)
  local opened, closed, top = 0, 0, memory[C_TOP]
  if top < 0 then
    if kind ~= INITIAL then opened = number > 0 and number or 1 end
    if kind ~= INITIAL and number > 0 then memory[C_FIXED + 1], memory[C_FIXED + 2] = 0, number - 1 end
  elseif number > top + 1 then
    opened = number - top - 1
    local n = #memory
    memory[n + 1], memory[n + 2] = top + 1, number - 1
  else
    closed = fill_gap(memory, number, kind == INITIAL)
  end
  if kind == INITIAL then
    if top >= 0 and closed == 0 then closed = 1 end
    memory[C_STARTED] = 1
  elseif kind == TERMINATION then
    memory[C_STOPPED] = 1
  end
  if number > top then memory[C_TOP] = number end
  if #memory > C_FIXED + 2 * GAPS_MAX then
    table.remove(memory, C_FIXED + 1)
    table.remove(memory, C_FIXED + 1)
  end
  return opened, closed
end

-- The reply to a plan that was made for another state: also how long the session's call has lasted.
local function stale_account(profile_key, book, session, memory)
  local reply = stale(profile_key, book, session)
  if session then
    for i = C_ANCHOR, C_LENGTH do reply[#reply + 1] = memory[i] end
  end
  return reply
end

-- Whether a session is rated otherwise than a plan was made for: its tariff, its facts, the rate of a service, the length of its call.
local function rated_otherwise(session, memory, plan, told)
  if session[S_TARIFF] ~= plan[P_TARIFF] then return true end
  if plan[P_BEFORE] ~= session[S_FACTS] and plan[P_BEFORE] ~= ANY then return true end
  for a = PLAN_FIXED + plan[P_LADDERS], PLAN_FIXED + plan[P_LADDERS] + (plan[P_SERVICES] - 1) * A_WIDTH, A_WIDTH do
    local s = find_service(session, plan[a + A_KEY])
    if s and session[s + V_RATE] ~= plan[a + A_EARLIER] and plan[a + A_EARLIER] ~= ANY then return true end
  end
  return told[N_CALL] == 1 and (memory[C_ANCHOR] ~= told[N_ANCHOR] or memory[C_REACHED] ~= told[N_REACHED]
    or memory[C_LENGTH] ~= told[N_LENGTH])
end

-- What ends a record before it is looked at: the reply, or nil with session (if any), its memory, and the books. `kept` are the
-- partition's text, the session, the book, what is known of this very record, and the member's own book.
local function look_at_record(kept, plan, told, part, profile_key)
  local refused = guard(kept[1], part, plan[P_NOW], plan[P_OFFSET], plan[P_SKEW])
  if refused then return { refused, '', 0 } end
  if kept[4] then
    local before = cmsgpack.unpack(kept[4])
    if plan[P_DIGEST] ~= before[E_DIGEST] or plan[P_ACCOUNT] ~= before[E_PATH] then return { CONFLICT, '', 0 } end
    return { SUCCESS, before[E_OUTCOME], REPLAY }
  end
  local kind, session = plan[P_KIND], plan[P_KIND] <= TERMINATION and kept[2] and read_session(kept[2]) or nil
  local memory = session and read_memory(session) or { 0, 0, 0, 0, 0, -1 }
  if session and session[S_ACCOUNT] ~= plan[P_ACCOUNT] then return { CONFLICT, '', 0 } end
  if kind == INITIAL and memory[C_STARTED] == 1 or kind == TERMINATION and memory[C_STOPPED] == 1 then
    return { CONFLICT, '', 0 }
  end
  if told[N_TOO_OLD] == 1 then return { LIMIT, '', 0 } end
  if not kept[3] or (plan[P_MEMBER] ~= '' and not kept[5]) then return { UNKNOWN_SUBSCRIBER, '', 0 } end
  local book = read_book(kept[3])
  local own = plan[P_MEMBER] ~= '' and read_book(kept[5]) or book
  if book[B_VERSION] ~= plan[P_VERSION] or (session and rated_otherwise(session, memory, plan, told)) then
    return stale_account(profile_key, book, session, memory)
  end
  local gone = book[B_STATUS] == TERMINATED or own[B_STATUS] == TERMINATED
  if gone and not session then return { UNKNOWN_SUBSCRIBER, '', 0 } end
  return nil, session, memory, book, own
end

-- Whether so much may have been used since the session began, at the greatest rate (DESIGN law 8).
local function account_believes(plan, a, memory, told, reported)
  local elapsed = told[N_LASTS]
  if memory[C_STARTED] == 1 and memory[C_ANCHOR] > 0 then elapsed = above(down(plan[P_AT], 1000) - memory[C_ANCHOR]) end
  return reported <= plan[a + A_RATE] * (elapsed + 1)
end

-- What of a report may be posted, and the code of its service; `s` is nil for one that the session does not have yet.
local function account_most(session, s, plan, a, piece, memory, told)
  local reported = plan[a + A_USED + plan[a + A_UNIT]]
  local full = not s and session[S_COUNT] >= told[N_SERVICES_MAX] or count_parts(session) + PARTS_MAX > PARTS_TOTAL_MAX
  if plan[a + A_REFUSAL] ~= 0 or full or reported < 0 or plan[a + A_PIECES] == 0 or (s and session[s + V_UNIT] ~= plan[a + A_UNIT]) then
    return 0, UNRATED
  end
  if not account_believes(plan, a, memory, told, reported) then
    if told[N_CALL] == 1 then memory[C_LENGTH] = told[N_LENGTH] end -- a call was never as long as that: the next record tells its length
    return 0, SUCCESS
  end
  local room = plan[PLAN_FIXED + plan[piece]][L_LIMIT] - (s and session[s + V_POSITION] or 0)
  return least(reported, above(room)), SUCCESS
end

-- The service of a report, on the rate of its plan, with its sources: nothing is granted, nothing is held.
local function account_service(session, s, plan, a, first)
  if not s then
    s = new_service(session, plan, a)
    session[s + V_GRANT], session[s + V_NUMBER], session[s + V_GRANTED], session[s + V_FINAL] = 0, 0, 0, 0
  end
  if plan[a + A_CLOSES] == 1 then
    session[s + V_WHOLE], session[s + V_FRAC] = session[s + V_POSTED], 0 -- the chain of the rate before ends here
  end
  session[s + V_RATE], session[s + V_NUMBER], session[s + V_GRANTED] = plan[a + A_MARK], plan[P_NUMBER], plan[P_NOW]
  if plan[a + A_SOURCES] > 0 or session[S_LIST] then
    session[S_LIST] = session[S_LIST] or {}
    session[S_LIST][place_of(s)] = parts_for(session, place_of(s), plan, first, plan[a + A_SOURCES])
  end
  return s
end

-- The line of the record for a report: what was posted of it, and what is set aside since it cannot be.
local function account_line(record, line, plan, a, s, session, code, most, odd, amount, price, drawn)
  local r = CHARGE_FIXED + (line - 1) * LINE_WIDTH
  record[r + LINE_KEY], record[r + LINE_UNIT], record[r + LINE_CODE] = plan[a + A_KEY], plan[a + A_UNIT], code
  record[r + LINE_UNITS], record[r + LINE_ODD], record[r + LINE_AMOUNT] = most, odd, amount
  record[r + LINE_POSITION], record[r + LINE_POSTED] = s and session[s + V_POSITION] or 0, s and session[s + V_POSTED] or 0
  record[r + LINE_GRANT], record[r + LINE_HOLD], record[r + LINE_RATE] = 0, 0, s and session[s + V_RATE] or ''
  record[r + LINE_PRICED], record[r + LINE_ALLOWANCE] = price, drawn
end

-- Post one report: its code, whether something was set aside, and what the account paid.
local function account_one(session, plan, a, line, first, piece, memory, told, book, own, record, taken)
  local s, now, at = find_service(session, plan[a + A_KEY]), plan[P_NOW], plan[P_AT]
  local most, code = account_most(session, s, plan, a, piece, memory, told)
  local reported, odd, amount, price, drawn = plan[a + A_USED + plan[a + A_UNIT]], 0, 0, 0, 0
  if code ~= SUCCESS then
    for i = a + A_USED + 1, a + A_USED + UNIT_KINDS do odd = odd < plan[i] and plan[i] or odd end
  else
    s, odd = account_service(session, s, plan, a, first), reported - most
    if most > 0 then
      amount, price, drawn = post_units(session, s, plan, a, piece, most, book, own, taken, line, now, NOTHING, at)
      for _, each in ipairs(own ~= book and { book, own } or { book }) do each[B_POSTED] = each[B_POSTED] + amount end
    end
    if denied(book, own, plan, a, at) then code = BARRED end
  end
  account_line(record, line, plan, a, s, session, code, most, odd, amount, price, drawn)
  local begins = most > 0 and plan[a + A_ALWAYS] ~= EMERGENCY and book[B_UNTIL] < 0
  if begins then book[B_UNTIL] = plan[P_FIRST] > 0 and at + plan[P_FIRST] or 0 end
  return code, odd > 0, amount
end

-- All reports of a record, in its order: the rows of its outcome, and notes.
local function account_all(session, plan, memory, told, book, own, record, taken)
  local services, count = PLAN_FIXED + plan[P_LADDERS], plan[P_SERVICES]
  local rows, notes, posted = {}, 0, 0
  local first, piece = plan[P_SOURCES] - 1, services + count * A_WIDTH + 1
  for line = 1, count do
    local a = services + (line - 1) * A_WIDTH
    local code, odd, amount = account_one(session, plan, a, line, first, piece, memory, told, book, own, record, taken)
    if odd then notes = QUARANTINE end
    posted = posted + amount
    rows[line] = struct_pack(ROW_FORMAT, code, plan[a + A_UNIT], 0, 0, 0)
    first, piece = first + plan[a + A_SOURCES] * SOURCE_WIDTH, piece + 2 * plan[a + A_PIECES]
  end
  if posted > 0 and available_of(book) < 0 then notes = bor(notes, OVERRUN) end
  return concat(rows), notes
end

-- What becomes of the session after a record: its state, its facts, when supervision ends it; whether the due index moves too.
local function account_session(session, memory, plan, told, late)
  local kind, now = plan[P_KIND], plan[P_NOW]
  local newest = plan[P_NUMBER] >= memory[C_TOP]
  if told[N_FACTS] ~= ANY and (newest or session[S_FACTS] == '') then session[S_FACTS] = told[N_FACTS] end
  if plan[P_AT] > session[S_LAST] then session[S_LAST] = plan[P_AT] end
  if newest then session[S_ROUTE] = plan[P_ROUTE] end
  if kind == TERMINATION then session[S_STATE] = CLOSED end
  if session[S_STATE] ~= OPEN or late then return false end
  return move_due(session, now + told[N_SUPERVISION], told[N_SUPERVISION] / 8)
end

-- The renewal that a plan brings along comes first, as for an event: its record and profile, or nil.
local function renew_before(plan, book, own, taken)
  if plan[P_RENEWAL] == '' then return nil end
  local before = { book[B_POSTED], book[B_PENDING], own[B_POSTED], own[B_PENDING] }
  return renewal(plan[P_RENEWAL], plan, book, own, before, taken, plan[P_NOW], plan[P_AT])
end

-- KEYS of account: part, book, session, the record, stream, profile, due index, open sessions by account, and a member's own book (if
-- any). Besides the plan: what stands above at N_CALL. The reply: the outcome, notes, how many numbers are missing since, and how many are
-- not any more.
local function account(keys, args)
  if not call then fetch() end
  local part, plan, told = args[1], read_plan(args[2]), cmsgpack.unpack(args[3])
  local kept = keys[9] and call('MGET', keys[1], keys[3], keys[2], keys[4], keys[9])
    or call('MGET', keys[1], keys[3], keys[2], keys[4])
  local reply, session, memory, book, own = look_at_record(kept, plan, told, part, keys[6])
  if reply then return reply end

  local fresh, kind = not session, plan[P_KIND]
  local lasts = kind <= TERMINATION
  session = session or new_session(plan)
  local late, was_open = session[S_STATE] ~= OPEN, not fresh and session[S_STATE] == OPEN
  if told[N_CALL] == 1 then
    for i = C_ANCHOR, C_LENGTH do memory[i] = told[N_NEW_ANCHOR + i - 1] end
  elseif kind == INITIAL then
    memory[C_ANCHOR] = told[N_NEW_ANCHOR]
  end
  local behind = plan[P_NUMBER] < memory[C_TOP]
  local opened, closed = 0, 0
  if lasts then opened, closed = take_number(memory, kind, plan[P_NUMBER]) end
  local record, taken = new_record(plan[P_SERVICES]), {}
  local renewed, profile = renew_before(plan, book, own, taken)
  local rows, notes = account_all(session, plan, memory, told, book, own, record, taken)
  if renewed then notes = bor(notes, RENEWED) end
  if told[N_UNKNOWN] == 1 then notes = bor(notes, QUARANTINE) end
  if late or behind then notes = bor(notes, LATE) end
  if opened > 0 then notes = bor(notes, GAP) end
  if taken.crossed then notes = bor(notes, CROSSED) end
  local facts = plan[P_FACTS] == ANY and session[S_FACTS] or plan[P_FACTS]
  local index = lasts and account_session(session, memory, plan, told, late)
  local state = lasts and session[S_STATE] or CLOSED
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  check(book)
  if own ~= book then check(own) end
  event_record(record, plan, book, own, SUCCESS, notes, plan[P_TARIFF], facts)
  record[16] = state
  end_record(record, taken, plan)
  local outcome = head_of(plan, SUCCESS, notes % GAP) .. rows -- its head has one octet for them
  session[S_OUTCOMES] = pack(memory)
  local session_text, book_text, own_text = write_session(session), write_book(book), own ~= book and write_book(own)
  local record_text, known = pack(record), pack({ plan[P_DIGEST], plan[P_ACCOUNT], outcome })
  local first_text, id, sid = renewed and pack(renewed) or record_text, stream_id(part), plan[P_SID]
  local row, due, life = open_row(session, sid), index and format('%.0f', session[S_DUE]), life_of(told[N_KEPT])

  call('XADD', keys[5], id, 'r', first_text)
  if renewed then
    call('XADD', keys[5], id, 'r', record_text)
    call('SET', keys[6], profile)
  end
  call('SET', keys[4], known, 'PX', life)
  if lasts and state == OPEN then
    call('SET', keys[3], session_text)
  elseif lasts then
    call('SET', keys[3], session_text, 'PX', life)
  end
  if index then
    call('ZADD', keys[7], due, sid)
    call('ZADD', keys[8], '0', row)
  elseif was_open and state ~= OPEN then
    call('ZREM', keys[7], sid)
    call('ZREM', keys[8], row)
  end
  if own_text then call('MSET', keys[2], book_text, keys[9], own_text) else call('SET', keys[2], book_text) end
  return { SUCCESS, outcome, notes, opened, closed }
end

redis.register_function('account_VERSION', account)
