-- Pools: services of a session whose credit may be used by each of them (RFC 8506 section 5.1.2; MONEY.md, "Credit pools").
--
-- What a pool's services hold is the pool's. V_FINAL keeps the number of the pool that a service is in: POOL times the number, and 1 for
-- last units; so does the outcome's row. A rate that is in a pool has a ladder of one step, without minimum and cap (ocs/charging/pools.py).
local POOL = 2

-- The pool that a service is in; 0: none.
local function pool_of(session, s) return down(session[s + V_FINAL], POOL) end

-- The base of the first service of a pool behind the base `s`, or nil.
local function next_of_pool(session, pool, s)
  for other = s + V_WIDTH, S_FIXED + (session[S_COUNT] - 1) * V_WIDTH, V_WIDTH do
    if pool_of(session, other) == pool then return other end
  end
  return nil
end

-- Units that an amount pays for on a step, `most` at most.
local function units_for(amount, on, most)
  local step = on[L_STEPS][1]
  if amount / step[4] * step[5] >= 2 * most then return most end -- so many more that the quotient need not be exact
  return least(mul_div_floor(amount, step[5], step[4]), most)
end

-- Units that a service may have used: its grant; in a pool, if that is more, what all of the pool holds pays for on its ladder.
local function may_use(session, s, on)
  local grant, pool = session[s + V_GRANT], pool_of(session, s)
  if pool == 0 then return grant end
  local held, other = 0, next_of_pool(session, pool, S_FIXED - V_WIDTH)
  while other do
    held, other = held + session[other + V_HOLD], next_of_pool(session, pool, other)
  end
  local units = units_for(held, on, on[L_LIMIT])
  return units > grant and units or grant
end

-- Let another of a pool hold so much more; the record is to tell it.
local function move_hold(session, other, amount)
  local moved = session[S_MOVED] or {}
  session[S_MOVED] = moved
  moved[other] = moved[other] or session[other + V_HOLD]
  session[other + V_HOLD] = session[other + V_HOLD] + amount
end

local function hold_less(book, own, amount)
  book[B_PENDING] = book[B_PENDING] - amount
  if own ~= book then own[B_PENDING] = own[B_PENDING] - amount end
end

-- What a service's use cost is held no more: it comes from what it holds itself, and then from what others of its pool do.
local function take_of_pool(session, s, amount, book, own)
  local pool, taken = pool_of(session, s), least(amount, session[s + V_HOLD])
  session[s + V_HOLD] = session[s + V_HOLD] - taken
  local other = next_of_pool(session, pool, S_FIXED - V_WIDTH)
  while other and taken < amount do
    local n = least(amount - taken, session[other + V_HOLD])
    move_hold(session, other, -n)
    taken = taken + n
    other = next_of_pool(session, pool, other)
  end
  hold_less(book, own, taken)
end

-- A service leaves its pool: the first of the others has what it still holds; where there is none, that is given back.
local function leave_pool(session, s, book, own)
  local pool, held = pool_of(session, s), session[s + V_HOLD]
  session[s + V_HOLD], session[s + V_FINAL] = 0, 0
  local other = next_of_pool(session, pool, S_FIXED - V_WIDTH)
  if other then move_hold(session, other, held) else hold_less(book, own, held) end
end

-- What a service may cost beyond the price of its units, however they are cut: the rest of a block, rounding before and after,
-- multipliers that were rounded up, and a fee that is due yet.
local function beyond_linear(session, s, on)
  local step = on[L_STEPS][1]
  local fee = (not s or session[s + V_COVERED] == 0) and on[L_FEE] or 0
  return mul_div_ceil(step[3] - 1, step[4], step[5]) + 2 * on[L_QUANTUM] + 1 + fee
end

-- The units, of those wanted, that a service may add to its pool, what is held for them, and the usual. A service that still has more in
-- the pool than is wanted adds what is missing to twice that, so that asking again and again does not hold all there is; a tenth of what is
-- wanted at least, so that a client which forgets what it had left does not ask for every unit.
local function afford_pooled(session, s, plan, a, pool, wants, available)
  local on = plan[PLAN_FIXED + plan[a + A_LADDER]]
  local step, extra = on[L_STEPS][1], 0
  local room = on[L_LIMIT] - (s and session[s + V_POSITION] or 0)
  if s and pool_of(session, s) == pool then
    local has = units_for(session[s + V_HOLD], on, 2 * wants)
    if has > wants then
      local least_units = begun(wants, 10)
      wants = above(2 * wants - has - least_units) + least_units
    end
  end
  if not s or pool_of(session, s) ~= pool or session[s + V_RATE] ~= plan[a + A_MARK] then
    extra = beyond_linear(session, s, on)
  end
  local units = least(wants, room)
  if units <= 0 or available <= extra then return 0, 0, wants end
  local price = mul_div_ceil(units, step[4], step[5])
  if price > available - extra then
    units = mul_div_floor(available - extra, step[5], step[4])
    price = mul_div_ceil(units, step[4], step[5])
  end
  return units, extra + price, wants
end
