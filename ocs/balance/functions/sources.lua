-- Sources: allowances, restricted money and counters that a service is paid from or counted on (ocs/rating/sources.py, MONEY.md).
--
-- A plan names a service's sources, SOURCE_WIDTH values each, told by the base `z`; the session keeps those of the standing grant
-- as its parts, told by the base `x` in the array of the service's (session.lua, S_LIST). Rows are in the account's book, or in a member's own.

local UNITS, MONEY, STOP_AT, FREE_AT, TIER, BLOCK = 1, 2, 3, 4, 5, 6
local Z_KIND, Z_OWN, Z_ID, Z_START, Z_UNTIL, Z_BLOCK, Z_TAKE, Z_CAP = 1, 2, 3, 4, 5, 6, 7, 8
local SOURCE_WIDTH, PARTS_MAX = 8, 12
-- What a part moved, at the end of a charge's record (ocs/records.py, Taken).
local TAKEN_WIDTH = 7
local MONEY_UNIT = 4
local NOTHING = {}

local function least(a, b) return a < b and a or b end
local function above(a) return a > 0 and a or 0 end
local function down(a, b) return (a - a % b) / b end
local function begun(a, b) return (a + (b - a % b) % b) / b end

-- The book that a part's row is in, and the row's base there (nil: there is none).
local function row_of(x, list, book, own)
  local home = list[x + X_OWN] == 1 and own or book
  return home, find_row(home, list[x + X_ID], list[x + X_START])
end

-- The row of a counter, which comes by itself.
local function counter_of(x, list, book, own, unit, now)
  local home, w = row_of(x, list, book, own)
  if not w then
    sweep_rows(home, now, false)
    if home[B_ROWS] >= ROWS_MAX then make_room(home, now) end
    w = add_row(home, list[x + X_ID], unit, list[x + X_START], list[x + X_UNTIL], 0)
  end
  return home, w
end

local function free_of(home, w)
  return above(home[w + R_AMOUNT] - home[w + R_USED] - home[w + R_PENDING])
end

-- Whether a row's time holds at an instant.
local function lives(home, w, at)
  return home[w + R_START] <= at and home[w + R_UNTIL] > at
end

-- What posting may take of a row: what is free of it; outside its time no more than the service itself held on it (`was`).
local function drawable(home, w, at, was, x)
  local free = free_of(home, w)
  return lives(home, w, at) and free or least(free, was[x] or 0)
end

-- A row's used grows; the record says by which part of which line. What is there of a bucket, or below a cap, may end with it: `taken` says so.
local function take(taken, line, x, list, home, w, amount)
  local kind, before = list[x + X_KIND], home[w + R_USED]
  home[w + R_USED] = exact(before + amount)
  local most = kind <= MONEY and home[w + R_AMOUNT] or list[x + X_CAP]
  if kind ~= TIER and before < most and home[w + R_USED] >= most then taken.crossed = true end
  local n = #taken
  taken[n + 1], taken[n + 2], taken[n + 3], taken[n + 4] = line, list[x + X_OWN], list[x + X_KIND], list[x + X_ID]
  taken[n + 5], taken[n + 6], taken[n + 7] = list[x + X_START], amount, home[w + R_USED]
end

-- Give back what the parts of a service hold; what each held.
local function release(session, service, book, own)
  local list, was = parts_of(session, service), {}
  for x = 0, #list - X_WIDTH, X_WIDTH do
    if list[x + X_HELD] ~= 0 then
      local home, w = row_of(x, list, book, own)
      if not w then error('a hold on a row that is not there') end
      home[w + R_PENDING] = home[w + R_PENDING] - list[x + X_HELD]
      was[x], list[x + X_HELD] = list[x + X_HELD], 0
    end
  end
  return was
end

-- Post units to a service's allowances, in order: how many of them are left for money.
local function draw(session, service, units, book, own, taken, line, was, at)
  local list, left = parts_of(session, service), units
  for x = 0, #list - X_WIDTH, X_WIDTH do
    if left == 0 then break end
    if list[x + X_KIND] == UNITS then
      local n = least(left, list[x + X_OPEN])
      list[x + X_OPEN] = list[x + X_OPEN] - n
      left = left - n
      local home, w = row_of(x, list, book, own)
      if left > 0 and w and list[x + X_BLOCK] > 0 then
        local block, per, free = list[x + X_BLOCK], list[x + X_TAKE], drawable(home, w, at, was, x)
        local blocks = least(begun(left, block), down(free, per))
        local amount, covered = blocks * per, blocks * block
        if covered < left then
          -- what is too little for a block still covers its part of one
          local rest = free - amount
          local extra = rest > 0 and down(rest * block, per) or 0
          if extra > 0 then amount, covered = amount + rest, covered + extra end
        end
        if amount > 0 then take(taken, line, x, list, home, w, amount) end
        list[x + X_OPEN] = covered > left and covered - left or 0
        left = covered < left and left - covered or 0
      end
    end
  end
  return left
end

-- The base of a service's part of the kind TIER, or nil.
local function tier_of(session, service)
  local list = parts_of(session, service)
  for x = 0, #list - X_WIDTH, X_WIDTH do
    if list[x + X_KIND] == TIER then return x end
  end
  return nil
end

-- What a service's price takes from the account, after caps that free the rest and restricted money; counters count.
local function spend(session, service, price, book, own, taken, line, now, was, at)
  local list = parts_of(session, service)
  for x = 0, #list - X_WIDTH, X_WIDTH do
    if list[x + X_KIND] == FREE_AT then
      local home, w = row_of(x, list, book, own)
      price = least(price, above(list[x + X_CAP] - (w and home[w + R_USED] or 0)))
    end
  end
  if price == 0 then return 0 end
  local rest = price
  for x = 0, #list - X_WIDTH, X_WIDTH do
    local kind = list[x + X_KIND]
    if kind == FREE_AT or kind == STOP_AT then
      local home, w = counter_of(x, list, book, own, MONEY_UNIT, now)
      take(taken, line, x, list, home, w, price)
    elseif kind == MONEY and rest > 0 then
      local home, w = row_of(x, list, book, own)
      local amount = w and least(rest, drawable(home, w, at, was, x)) or 0
      if amount > 0 then
        take(taken, line, x, list, home, w, amount)
        rest = rest - amount
      end
    end
  end
  return rest
end

-- The base of a part of units on the same row as a source, or nil.
local function part_on(list, plan, z)
  for x = 0, #list - X_WIDTH, X_WIDTH do
    if list[x + X_ID] == plan[z + Z_ID] and list[x + X_START] == plan[z + Z_START] and list[x + X_OWN] == plan[z + Z_OWN]
      and list[x + X_KIND] == UNITS then
      return x
    end
  end
  return nil
end

-- The parts that a grant on a plan's sources begins with: what is left open of others, then the sources, nothing held.
local function parts_for(session, service, plan, first, count)
  local list, mine = parts_of(session, service), {}
  for x = 0, #list - X_WIDTH, X_WIDTH do
    if list[x + X_OPEN] > 0 then
      local named = false
      for z = first, first + (count - 1) * SOURCE_WIDTH, SOURCE_WIDTH do
        if plan[z + Z_KIND] == BLOCK then break end
        if plan[z + Z_KIND] == UNITS and part_on(list, plan, z) == x then named = true end
      end
      if not named and #mine / X_WIDTH + count < PARTS_MAX then
        local n = #mine
        for i = 1, X_WIDTH do mine[n + i] = list[x + i] end
        mine[n + X_BLOCK] = 0 -- only what is open of it
      end
    end
  end
  for z = first, first + (count - 1) * SOURCE_WIDTH, SOURCE_WIDTH do
    if plan[z + Z_KIND] == BLOCK then break end
    local same = plan[z + Z_KIND] == UNITS and part_on(list, plan, z)
    local n = #mine
    mine[n + X_SERVICE], mine[n + X_KIND], mine[n + X_OWN] = service, plan[z + Z_KIND], plan[z + Z_OWN]
    mine[n + X_ID], mine[n + X_START], mine[n + X_UNTIL] = plan[z + Z_ID], plan[z + Z_START], plan[z + Z_UNTIL]
    mine[n + X_BLOCK], mine[n + X_TAKE], mine[n + X_CAP] = plan[z + Z_BLOCK], plan[z + Z_TAKE], plan[z + Z_CAP]
    mine[n + X_OPEN], mine[n + X_HELD] = same and list[same + X_OPEN] or 0, 0
  end
  return mine
end

local function blocked(plan, first, count)
  for z = first, first + (count - 1) * SOURCE_WIDTH, SOURCE_WIDTH do
    if plan[z + Z_KIND] == BLOCK then return true end
  end
  return false
end

-- A bucket's book and row when a grant may be made on it now: it is there, and its time holds; a leftover has no more of it.
local function usable(x, mine, book, own, at)
  local home, w = row_of(x, mine, book, own)
  if w and (not lives(home, w, at) or (mine[x + X_KIND] == UNITS and mine[x + X_BLOCK] == 0)) then w = nil end
  return home, w
end

-- Seconds to the first end of what a grant would be made on; nil when nothing ends.
local function seconds_to_edge(mine, book, own, at)
  local found = nil
  for x = 0, #mine - X_WIDTH, X_WIDTH do
    local ends = mine[x + X_UNTIL]
    if mine[x + X_KIND] <= MONEY then
      local home, w = usable(x, mine, book, own, at)
      ends = w and home[w + R_UNTIL]
    end
    if ends and (not found or ends < found) then found = ends end
  end
  if not found then return nil end
  local seconds = down(found - at, 1000)
  return seconds > 1 and seconds or 1
end

-- Hold units of the allowances: how many of those wanted are left for money.
local function hold_units(mine, wants, book, own, at)
  local left = wants
  for x = 0, #mine - X_WIDTH, X_WIDTH do
    if left == 0 then break end
    if mine[x + X_KIND] == UNITS then
      left = left - least(left, mine[x + X_OPEN])
      local home, w = usable(x, mine, book, own, at)
      if left > 0 and w then
        local block, per, free = mine[x + X_BLOCK], mine[x + X_TAKE], free_of(home, w)
        local need, full = begun(left, block), down(free, per)
        local blocks = least(need, full)
        local held = blocks * per
        left = left - least(left, blocks * block)
        if need > full then
          local rest = free - held
          local extra = rest > 0 and down(rest * block, per) or 0
          if extra > 0 then
            held = held + rest
            left = left - least(left, extra)
          end
        end
        home[w + R_PENDING], mine[x + X_HELD] = home[w + R_PENDING] + held, held
      end
    end
  end
  return left
end

-- What money may pay for a grant: the budget, and what caps that free the rest leave to be paid (nil: all).
local function budget_of(mine, available, book, own, at)
  local budget, room = above(available), nil
  for x = 0, #mine - X_WIDTH, X_WIDTH do
    if mine[x + X_KIND] == MONEY then
      local home, w = usable(x, mine, book, own, at)
      if w then budget = budget + free_of(home, w) end
    end
  end
  for x = 0, #mine - X_WIDTH, X_WIDTH do
    local kind = mine[x + X_KIND]
    if kind == STOP_AT or kind == FREE_AT then
      local home, w = row_of(x, mine, book, own)
      local left = mine[x + X_CAP] - (w and home[w + R_USED] or 0)
      if kind == STOP_AT then
        budget = least(budget, above(left - (w and home[w + R_PENDING] or 0)))
      else
        room = least(room or left, left)
      end
    end
  end
  return budget, room and above(room)
end

-- Hold money for units at a price: restricted money first; what is left for the account to hold. Counters count both.
local function hold_money(mine, units, unit, price, book, own, at, now)
  local rest = price
  for x = 0, #mine - X_WIDTH, X_WIDTH do
    local kind, home, w, held = mine[x + X_KIND], nil, nil, 0
    if kind == STOP_AT and price > 0 then
      home, w = counter_of(x, mine, book, own, MONEY_UNIT, now)
      held = price
    elseif kind == TIER and units > 0 then
      home, w = counter_of(x, mine, book, own, unit, now)
      held = units
    elseif kind == MONEY then
      home, w = usable(x, mine, book, own, at)
      if w then held = least(rest, free_of(home, w)) end
      rest = rest - held
    end
    if held > 0 then
      home[w + R_PENDING], mine[x + X_HELD] = home[w + R_PENDING] + held, held
    end
  end
  return rest
end
