-- Grants: what a service that asks may have, from its sources and from money, and what is held for it.

-- A service that was never granted anything in this session: it begins at 0 on its ladder.
local function new_service(session, plan, a)
  local count = session[S_COUNT]
  local s = S_FIXED + count * V_WIDTH
  session[s + V_KEY], session[s + V_UNIT], session[S_COUNT] = plan[a + A_KEY], plan[a + A_UNIT], count + 1
  session[s + V_POSITION], session[s + V_COVERED], session[s + V_WHOLE], session[s + V_FRAC] = 0, 0, 0, 0
  session[s + V_POSTED], session[s + V_HOLD], session[s + V_RATE] = 0, 0, ''
  return s
end

-- The units, of those wanted, that a budget pays for one service (nil: a new one), and their price. Where the plan closes the
-- chain of another rate, what was posted is where the new one begins.
local function afford(session, s, plan, a, wants, budget, base)
  local on = plan[PLAN_FIXED + plan[a + A_LADDER]]
  if not s then return affordable(on, 0, 0, 0, 0, wants, 0, budget, base or 0) end
  local posted, whole, frac, covered = session[s + V_POSTED], session[s + V_WHOLE], session[s + V_FRAC], session[s + V_COVERED]
  if plan[a + A_CLOSES] ~= 0 then whole, frac = posted, 0 end
  local units, price = affordable(on, session[s + V_POSITION], covered, whole, frac, wants, posted, budget,
    base and base - covered or 0)
  return units, price > posted and price - posted or 0
end

-- The same where a counter may choose the steps: what others hold on it may come before these units or after them, so the dearer
-- of both counts.
local function afford_tiers(session, s, plan, a, wants, budget, mine, book, own)
  for x = 0, #mine - X_WIDTH, X_WIDTH do
    if mine[x + X_KIND] == TIER then
      local home, w = row_of(x, mine, book, own)
      local base, held = w and home[w + R_USED] or 0, w and home[w + R_PENDING] or 0
      local units, price = afford(session, s, plan, a, wants, budget, base)
      if held > 0 and units > 0 then
        units = afford(session, s, plan, a, units, budget, base + held)
        if units == 0 then return 0, 0 end
        local _, one = afford(session, s, plan, a, units, BOOK_MAX, base)
        local _, other = afford(session, s, plan, a, units, BOOK_MAX, base + held)
        price = one > other and one or other
      end
      return units, price
    end
  end
  return afford(session, s, plan, a, wants, budget, nil)
end

-- The same where more than the usual is wanted: as far as `bounded`, a share of the budget, pays for it; never less than usual, as far
-- as the budget does.
local function afford_grown(session, s, plan, a, wants, usual, bounded, budget, mine, book, own)
  if wants > usual then
    local units, price = afford_tiers(session, s, plan, a, wants, bounded, mine, book, own)
    if units >= usual then return units, price end
  end
  return afford_tiers(session, s, plan, a, usual, budget, mine, book, own)
end

-- What is wanted where the server chooses and grants follow the speed of use: `used` since the last grant, over the time since it. The
-- sizes and times of config keep the product below 2^53 (ocs/charging/quota_text.py).
local function grown(session, s, plan, a, quota, q, used, now)
  local wants, adapt = plan[a + A_WANTS], quota and quota[q + Q_ADAPT] or 0
  if adapt == 0 or not s then return wants end
  local most, elapsed = quota[q + Q_MOST], now - session[s + V_GRANTED]
  local seconds = elapsed > 1000 and begun(elapsed, 1000) or 1
  local fits = least(most, down(least(used, most) * adapt, seconds))
  if plan[a + A_UNIT] == SECONDS_UNIT then fits = least(fits, plan[a + A_VALIDITY]) end
  return fits > wants and fits or wants
end

-- The same from a plan's sources, `first` the place of theirs: units, the usual, life, what the account is to hold, and the parts. Holds of allowances, restricted money and counters go into their rows at once.
local function grant_on(session, s, plan, a, first, wants, usual, share, available, book, own, at)
  local count = plan[a + A_SOURCES]
  local service = s and place_of(s) or session[S_COUNT] + 1
  local mine = parts_for(session, service, plan, first, count)
  local seconds, validity = seconds_to_edge(mine, book, own, at), plan[a + A_VALIDITY]
  if seconds then
    validity = least(validity, seconds)
    if plan[a + A_UNIT] == SECONDS_UNIT then wants, usual = least(wants, seconds), least(usual, seconds) end
  end
  local left = hold_units(mine, wants, book, own, at)
  local units, hold = 0, 0
  if left > 0 and not blocked(plan, first, count) then
    local budget, room = budget_of(mine, available, book, own, at)
    local bounded, price = down(budget, 100) * share, nil
    if room and room <= budget then budget = BOOK_MAX end
    if room and room <= bounded then bounded = BOOK_MAX end
    units, price = afford_grown(session, s, plan, a, left, above(usual - wants + left), bounded, budget, mine, book, own)
    if units > 0 then
      hold = hold_money(mine, units, plan[a + A_UNIT], room and least(price, room) or price, book, own, at, plan[P_NOW])
    end
  end
  return wants - left + units, usual, validity, hold, mine
end

-- Whether an account may not be granted a service now: barred, or its balance at its end (MONEY.md, "Life").
local function denied(book, own, plan, a, at)
  local always, ends = plan[a + A_ALWAYS], book[B_UNTIL]
  if always == EMERGENCY then return false end
  if book[B_STATUS] ~= ACTIVE or own[B_STATUS] ~= ACTIVE then return true end
  if ends > 0 and at >= ends then return always ~= RECEIVED or at >= ends + plan[P_GRACE] end
  return false
end

-- The life of a grant, and the seconds it may have, where the balance ends before: wants, validity.
local function within_life(book, plan, a, wants, validity, at)
  local ends = book[B_UNTIL]
  if ends <= 0 or plan[a + A_ALWAYS] == EMERGENCY then return wants, validity end
  if at >= ends then ends = ends + plan[P_GRACE] end
  local seconds = down(ends - at, 1000)
  if seconds < 1 then seconds = 1 end
  if plan[a + A_UNIT] == SECONDS_UNIT then wants = least(wants, seconds) end
  return wants, least(validity, seconds)
end

-- What a service that may have a grant gets: units, the usual, what the account is to hold, life, its parts, and the pool that it is in
-- (0: none), where the hold is added to what the service has there. What is too little for the pool is granted without it.
local function offer(session, s, book, own, plan, a, first, now, at, quota, q, used)
  local share, pool = quota and quota[q + Q_SHARE] or 0, quota and quota[q + Q_POOL] or 0
  local wants, validity = within_life(book, plan, a, grown(session, s, plan, a, quota, q, used, now), plan[a + A_VALIDITY], at)
  local usual = least(plan[a + A_WANTS], wants)
  if s and session[s + V_FINAL] >= POOL and pool_of(session, s) ~= pool then leave_pool(session, s, book, own) end
  if pool > 0 then
    local units, hold, most = afford_pooled(session, s, plan, a, pool, wants, available_of(book))
    if units > 0 then
      local mine = session[S_LIST] and parts_for(session, s and place_of(s) or session[S_COUNT] + 1, plan, first, 0)
      return units, most, hold, validity, mine, pool
    end
    if s and session[s + V_FINAL] >= POOL then leave_pool(session, s, book, own) end
  end
  local available = available_of(book)
  if plan[a + A_SOURCES] > 0 or session[S_LIST] then
    local units, most, life, hold, mine = grant_on(session, s, plan, a, first, wants, usual, share, available, book, own, plan[P_AT])
    return units, most, hold, least(validity, life), mine, 0
  end
  local units, hold
  if wants > usual then
    units, hold = afford_grown(session, s, plan, a, wants, usual, down(available, 100) * share, available, NOTHING)
  else
    units, hold = afford(session, s, plan, a, wants, available, nil)
  end
  return units, usual, hold, validity, nil, 0
end

-- One service that asks with a lower number than its last: the standing grant again, if that is what it would get now. What stands in
-- a pool is not told twice: its client would add it twice.
local function standing(session, s, book, own, plan, a, first, at, restricts)
  -- success without units would be leave to use without measure (CLIENTS 21)
  -- and a grant of another rate or window is not this request's to prolong
  local restricted = restricts and session[s + V_GRANT] == 0 and session[s + V_FINAL] == 1
  local none = session[s + V_GRANT] == 0 or session[s + V_RATE] ~= plan[a + A_MARK] or session[s + V_FINAL] >= POOL
  if none and not restricted then return CREDIT_LIMIT, 0, 0, 0, STANDING end
  local _, life = within_life(book, plan, a, 0, plan[a + A_VALIDITY], at)
  local seconds = seconds_to_edge(parts_for(session, place_of(s), plan, first, plan[a + A_SOURCES]), book, own, at)
  return SUCCESS, session[s + V_GRANT], session[s + V_FINAL], seconds and least(life, seconds) or life, STANDING
end

-- One service that asks: its code and grant, final, life, notes; the hold goes into session and books. `first` is the place of
-- its sources, `quota` what config says of quota (false: nothing) and `q` the service's base in it, `used` what it just reported.
local function serve(session, book, own, plan, a, first, services_max, now, at, quota, q, used)
  local s, refusal, number = find_service(session, plan[a + A_KEY]), plan[a + A_REFUSAL], plan[P_NUMBER]
  local restricts = quota and quota[q + Q_RESTRICTS] == 1
  if s then
    if session[s + V_UNIT] ~= plan[a + A_UNIT] then refusal = UNRATED end -- one axis has one kind of unit
    if number < session[s + V_NUMBER] then
      if refusal ~= 0 then return refusal, 0, 0, 0, 0 end
      return standing(session, s, book, own, plan, a, first, at, restricts)
    end
    release(session, place_of(s), book, own)
  end
  local code, units, hold, final, validity, pool = refusal, 0, 0, 0, plan[a + A_VALIDITY], 0
  local mine, usual
  if denied(book, own, plan, a, at) then
    code = BARRED
  elseif refusal == 0 then
    if (not s and session[S_COUNT] >= services_max) or count_parts(session) + PARTS_MAX > PARTS_TOTAL_MAX then
      code = UNRATED
    else
      code = SUCCESS
      units, usual, hold, validity, mine, pool = offer(session, s, book, own, plan, a, first, now, at, quota, q, used)
      if units == 0 and not restricts then code = CREDIT_LIMIT elseif units < usual then final = 1 end
    end
  end
  if not s then
    if units == 0 then return code, 0, final, validity, 0 end
    s = new_service(session, plan, a)
  elseif pool > 0 then
    hold = hold + session[s + V_HOLD]
  elseif session[s + V_FINAL] >= POOL then
    leave_pool(session, s, book, own)
  end
  if units > 0 then
    if plan[a + A_CLOSES] ~= 0 then session[s + V_WHOLE], session[s + V_FRAC] = session[s + V_POSTED], 0 end
    session[s + V_RATE] = plan[a + A_MARK]
    if mine then
      session[S_LIST] = session[S_LIST] or {}
      session[S_LIST][place_of(s)] = mine
    end
  end
  -- a service that one request names twice holds what it was granted last, and only that
  book[B_PENDING] = book[B_PENDING] - session[s + V_HOLD] + hold
  if own ~= book then own[B_PENDING] = own[B_PENDING] - session[s + V_HOLD] + hold end
  final = final + POOL * pool
  session[s + V_GRANT], session[s + V_HOLD], session[s + V_NUMBER] = units, hold, number
  session[s + V_GRANTED], session[s + V_FINAL] = now, final
  return code, units, final, validity, 0
end

-- Second pass: grant, in the order in which services come to scarce credit. The rows of the outcome, one a service, packed, in the
-- plan's order; notes; and the command's code.
local function grant_all(session, book, own, plan, record, services_max, now, at)
  local rows, notes, worst, refusals, begins = {}, 0, SUCCESS, 0, false
  local services, firsts, quota = PLAN_FIXED + plan[P_LADDERS], {}, plan[P_QUOTA] ~= '' and array_of(plan[P_QUOTA])
  local first = plan[P_SOURCES] - 1
  for place = 1, plan[P_SERVICES] do
    firsts[place] = first
    first = first + plan[services + (place - 1) * A_WIDTH + A_SOURCES] * SOURCE_WIDTH
  end
  for turn = 1, plan[P_SERVICES] do
    local place = plan[services + (turn - 1) * A_WIDTH + A_ORDER]
    local a = services + (place - 1) * A_WIDTH
    local code, units, final, validity, note = SUCCESS, 0, 0, 0, 0
    if plan[a + A_WANTS] > 0 or plan[a + A_REFUSAL] ~= 0 then
      code, units, final, validity, note = serve(session, book, own, plan, a, firsts[place], services_max, now, at,
        quota, Q_FIXED + (place - 1) * Q_WIDTH, record[CHARGE_FIXED + (place - 1) * LINE_WIDTH + LINE_UNITS])
      if note > 0 then notes = bor(notes, note) end
    end
    record[CHARGE_FIXED + (place - 1) * LINE_WIDTH + LINE_CODE] = code
    if code ~= SUCCESS then
      refusals = refusals + 1
      if code < worst then worst = code end
    end
    if units > 0 and plan[a + A_ALWAYS] ~= EMERGENCY then begins = true end
    rows[place] = struct_pack(ROW_FORMAT, code, plan[a + A_UNIT], units, (units > 0 or final > 0) and validity or 0, final)
  end
  if refusals < plan[P_SERVICES] then worst = SUCCESS end
  if begins and book[B_UNTIL] < 0 then book[B_UNTIL] = plan[P_FIRST] > 0 and at + plan[P_FIRST] or 0 end
  return plan[P_SERVICES] == 1 and rows[1] or concat(rows), notes, worst
end
