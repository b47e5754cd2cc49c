-- Rows that come: a product bought or renewed brings buckets, and takes over what is left of those before.

-- Add rows that are not in a book yet, {id, unit, start, until, amount} each, and list them.
local function rows_added(book, rows, came, is_own)
  for i = 1, #rows do
    local id, unit, start, ends, amount = values_of(rows[i])
    if exact(amount) < 0 or amount > BOOK_MAX or exact(start) >= exact(ends) or id >= COUNTER_IDS or id < 1 then
      error('a row that cannot be')
    end
    if not find_row(book, id, start) then
      list_row(came, is_own, book, add_row(book, id, unit, start, ends, amount))
    end
  end
  return came
end

-- The record of rows that came or changed, as they are (or, in `gone`, went, as they were); `own` ones are a member's.
local function rows_record(book, own, account, member, now, cause, price, profile, came, gone)
  local record = { RECORD_VERSION, K_ROWS, account, book[B_SEQUENCE], now, cause, price, profile, book[B_VERSION], member,
    own[B_POSTED], own[B_PENDING], book[B_CREDITS], book[B_POSTED], book[B_PENDING], #came / OPENED_WIDTH }
  for i = 1, #came do record[#record + 1] = came[i] end
  for i = 1, gone and #gone or 0 do record[#record + 1] = gone[i] end
  return record
end

-- Move what is left of ended rows to rows of their own, each at most so much, and list both.
local function roll_over(home, rolled, came, is_own)
  for i = 1, #rolled do
    local from_id, from_start, to_id, to_start, to_until, unit, most = values_of(rolled[i])
    local w = find_row(home, from_id, from_start)
    local rest = w and free_of(home, w) or 0
    if rest > most then rest = most end
    if rest > 0 and not find_row(home, to_id, to_start) then
      home[w + R_AMOUNT] = home[w + R_AMOUNT] - rest
      list_row(came, is_own, home, w)
      list_row(came, is_own, home, add_row(home, to_id, unit, to_start, to_until, rest))
    end
  end
end

local function buckets_of(book)
  local count = 0
  for w = B_FIXED, B_FIXED + (book[B_ROWS] - 1) * R_WIDTH, R_WIDTH do
    if book[w + R_ID] < COUNTER_IDS then count = count + 1 end
  end
  return count
end

-- Add what comes to the books of an account and a member, roll over what is left, and list it all: {id, unit, start, until, amount,
-- own} of each row, {from, from start, to, to start, to until, unit, most, own} of what rolls over.
local function bring(book, own, added, rolled)
  local came = {}
  local function add(home, is_own)
    local mine, mine_rolled = {}, {}
    for i = 1, #added do
      if (added[i][6] == 1) == is_own then mine[#mine + 1] = added[i] end
    end
    for i = 1, #rolled do
      if (rolled[i][8] == 1) == is_own then mine_rolled[#mine_rolled + 1] = rolled[i] end
    end
    roll_over(home, mine_rolled, came, is_own)
    rows_added(home, mine, came, is_own)
  end
  add(book, false)
  if own ~= book then add(own, true) end
  return came
end

-- Whether a member may spend so much more in the month: `limit` is {id, start, until, cap} of its counter, or nothing.
local function within_limit(own, limit, price)
  if #limit == 0 then return true end
  local w = find_row(own, limit[1], limit[2])
  return price <= above(limit[4] - (w and own[w + R_USED] + own[w + R_PENDING] or 0))
end

-- Count what a member has spent; the base of its counter, nil where there is none.
local function count_spent(own, limit, price, now)
  if #limit == 0 or price == 0 then return nil end
  local w = find_row(own, limit[1], limit[2])
  if not w then
    if own[B_ROWS] >= ROWS_MAX then make_room(own, now) end
    w = add_row(own, limit[1], MONEY_UNIT, limit[2], limit[3], 0)
  end
  own[w + R_USED] = exact(own[w + R_USED] + price)
  return w
end

-- The renewal that a plan brings along (packed: cause, price, profile, rows, what rolls over, a member's limit), where the account can pay it: the
-- values of its record and the profile; nil where it cannot, or may not be used. `before` is {posted, pending, own posted, own
-- pending} of before the request: its record comes first.
local function renewal(text, plan, book, own, before, taken, now, at)
  local cause, price, profile, added, rolled, limit = unpack(cmsgpack.unpack(text))
  if book[B_STATUS] ~= ACTIVE or own[B_STATUS] ~= ACTIVE then return nil end
  if book[B_UNTIL] > 0 and at >= book[B_UNTIL] then return nil end
  if exact(price) < 0 or price > BOOK_MAX or (price > 0 and price > available_of(book)) then return nil end
  if not within_limit(own, limit, price) then return nil end
  local gone = {}
  sweep_rows(book, now, true, gone, false)
  if own ~= book then sweep_rows(own, now, true, gone, true) end
  if buckets_of(book) + #added + #rolled > ROWS_KEPT or buckets_of(own) + #added + #rolled > ROWS_KEPT then return nil end
  local came = bring(book, own, added, rolled)
  local w = count_spent(own, limit, price, now)
  if w then
    -- told with what the request itself took of the counter before
    for _, value in ipairs({ 0, 1, STOP_AT, limit[1], limit[2], price, own[w + R_USED] }) do taken[#taken + 1] = value end
  end
  book[B_POSTED], book[B_VERSION], book[B_SEQUENCE] = book[B_POSTED] + price, book[B_VERSION] + 1, book[B_SEQUENCE] + 1
  local own_posted, own_pending = before[1] + price, before[2]
  if own ~= book then
    own[B_POSTED] = own[B_POSTED] + price
    own_posted, own_pending = before[3] + price, before[4]
  end
  local record = { RECORD_VERSION, K_ROWS, plan[P_PAYER], book[B_SEQUENCE], now, cause, price, profile, book[B_VERSION],
    plan[P_MEMBER], own_posted, own_pending, book[B_CREDITS], before[1] + price, before[2], #came / OPENED_WIDTH }
  for i = 1, #came do record[#record + 1] = came[i] end
  for i = 1, #gone do record[#record + 1] = gone[i] end
  return record, profile
end
