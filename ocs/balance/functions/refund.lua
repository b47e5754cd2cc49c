-- refund: what a debit took is given back to where it came from, the last units first (RFC 8506 section 6.4). MONEY.md, "Events".

-- What a line of a debit takes, were so many units of it left: of each of its moves, of the account; the price, the units that allowances had.
-- It is what they would have taken, and cost, had only these been debited then.
local function taken_at(line, left)
  local moves, on, priced, drawn, after = line[D_MOVES], line[D_LADDER], left, 0, {}
  for m = 0, #moves - DM_WIDTH, DM_WIDTH do
    if moves[m + DM_KIND] == UNITS then
      local taken, block, per = moves[m + DM_TAKEN], moves[m + DM_BLOCK], moves[m + DM_TAKE]
      local covers = down(taken, per) * block + down(taken % per * block, per)
      local n = least(priced, covers)
      after[m] = n > 0 and least(taken, begun(n, block) * per) or 0
      priced, drawn = priced - n, drawn + n
    end
  end
  local position, covered, whole, frac = advance(on, 0, 0, 0, 0, priced, line[D_SHIFT])
  local price = total(on, position, whole, frac)
  local charge = least(price, line[D_CHARGE])
  local rest = charge
  for m = 0, #moves - DM_WIDTH, DM_WIDTH do
    local kind = moves[m + DM_KIND]
    if kind == TIER then
      after[m] = covered
    elseif kind == FREE_AT or kind == STOP_AT then
      after[m] = charge
    elseif kind == MONEY then
      after[m] = least(rest, moves[m + DM_TAKEN])
      rest = rest - after[m]
    end
  end
  return after, rest, price, drawn
end

-- The line of a debit for a service, or nil.
local function line_of(debit, key)
  for i = 1, #debit[E_LINES] do
    if debit[E_LINES][i][D_KEY] == key then return debit[E_LINES][i] end
  end
  return nil
end

-- How many units of a line are to be refunded: those that are asked for, or, where none are, all that is left; nil where that is nothing, or
-- more than is left, or of another kind.
local function asked_of(plan, a, line)
  local units, others = plan[a + A_USED + line[D_UNIT]], 0
  for i = a + A_USED + 1, a + A_USED + UNIT_KINDS do
    if plan[i] > others then others = plan[i] end
  end
  if units <= 0 and others > 0 then return nil end
  if units <= 0 then units = line[D_LEFT] end
  return units > 0 and units <= line[D_LEFT] and units or nil
end

-- The debit that a request means, and its place: the first that has all the services asked for, with enough left. Where the first
-- `named` have such services, it is one of them or none.
local function find_debit(texts, named, plan, family)
  local services, meant = PLAN_FIXED + plan[P_LADDERS], false
  for place = 1, #texts do
    if place > named and meant then return nil end
    local debit = texts[place] and cmsgpack.unpack(texts[place])
    if debit and debit[E_PATH] == plan[P_ACCOUNT] and debit[E_FAMILY] == family then
      local has, fits = true, true
      for a = services, services + (plan[P_SERVICES] - 1) * A_WIDTH, A_WIDTH do
        local line = line_of(debit, plan[a + A_KEY])
        has = has and line ~= nil
        fits = has and fits and asked_of(plan, a, line) ~= nil
      end
      if fits then return debit, place end
      meant = meant or (has and place <= named)
    end
  end
  return nil
end

-- Give back so many units of a line to where they came from; what is told of each row goes to `taken`. What the account had, the price, the
-- units of allowances, and what stands after.
local function give_back(line, place, units, book, own, taken)
  local moves = line[D_MOVES]
  local before, account, price, drawn = taken_at(line, line[D_LEFT])
  line[D_LEFT] = line[D_LEFT] - units
  local after, account_after, price_after, drawn_after = taken_at(line, line[D_LEFT])
  for m = 0, #moves - DM_WIDTH, DM_WIDTH do
    local home = moves[m + DM_OWN] == 1 and own or book
    local w = find_row(home, moves[m + DM_ID], moves[m + DM_START]) -- one that ended long ago has gone
    local amount = w and least(before[m] - after[m], home[w + R_USED]) or 0
    if amount > 0 then
      home[w + R_USED] = home[w + R_USED] - amount
      for _, value in ipairs({ place, moves[m + DM_OWN], moves[m + DM_KIND], moves[m + DM_ID], moves[m + DM_START], -amount,
        home[w + R_USED] }) do
        taken[#taken + 1] = value
      end
    end
  end
  return account - account_after, price - price_after, drawn - drawn_after, price_after, line[D_LEFT] - drawn_after
end

-- All services of a refund: the rows of its outcome.
local function refund_all(plan, debit, book, own, record, taken)
  local rows, services = {}, PLAN_FIXED + plan[P_LADDERS]
  for place = 1, plan[P_SERVICES] do
    local a = services + (place - 1) * A_WIDTH
    local line = line_of(debit, plan[a + A_KEY])
    local units = asked_of(plan, a, line)
    local amount, price, drawn, posted, position = give_back(line, place, units, book, own, taken)
    book[B_POSTED] = book[B_POSTED] - amount
    if own ~= book then own[B_POSTED] = own[B_POSTED] - amount end
    event_line(record, place, line[D_KEY], line[D_UNIT], SUCCESS, -units, position, -amount, posted, line[D_LEFT], line[D_RATE],
      -price, -drawn)
    rows[place] = struct_pack(ROW_FORMAT, SUCCESS, line[D_UNIT], units, 0, 0)
  end
  return concat(rows)
end

-- refund. KEYS: part, book, the event, stream, profile, the member's own book (if any), and the events that may be the debit, in order.
-- Besides the plan: the family of its services, how long an event is remembered, and how many of those events the request itself names.
-- LIMIT where none is a debit of this subscriber with enough left.
local function refund(keys, args)
  if not call then fetch() end
  local part, plan = args[1], read_plan(args[2])
  local family, event_ms, named = values_of(cmsgpack.unpack(args[3]))
  local member = plan[P_MEMBER] ~= ''
  local kept = member and call('MGET', keys[1], keys[3], keys[2], keys[6]) or call('MGET', keys[1], keys[3], keys[2])
  local reply, book, own = look_at_event(kept, plan, part, keys[5])
  if reply then return with_available(reply, kept[3], plan) end
  local first = member and 7 or 6
  local texts = keys[first] and call('MGET', values_of(keys, first)) or {}
  local debit, place = find_debit(texts, named, plan, family)
  if not debit then return { LIMIT, '', 0 } end
  local record, taken, debit_key = new_record(plan[P_SERVICES]), {}, keys[first + place - 1]
  local rows = refund_all(plan, debit, book, own, record, taken)
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  check(book)
  if own ~= book then check(own) end
  event_record(record, plan, book, own, SUCCESS, 0, debit[E_TARIFF], debit_key:match('^{[^}]*}:event:(.*)$'))
  end_record(record, taken, plan)
  local outcome = head_of(plan, SUCCESS, 0) .. rows
  local event = pack({ plan[P_DIGEST], plan[P_ACCOUNT], outcome, family, debit[E_TARIFF], {} })
  local debit_text, record_text, life, id = pack(debit), pack(record), life_of(event_ms), stream_id(part)
  local book_text, own_text = write_book(book), own ~= book and write_book(own)
  local told = with_told(outcome, book, plan)

  call('XADD', keys[4], id, 'r', record_text)
  call('SET', debit_key, debit_text, 'KEEPTTL')
  call('SET', keys[3], event, 'PX', life)
  if own_text then call('MSET', keys[2], book_text, keys[6], own_text) else call('SET', keys[2], book_text) end
  return told
end

redis.register_function('refund_VERSION', refund)
