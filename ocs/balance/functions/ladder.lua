-- The ladder: the Lua twin of ocs/rating/ladder.py, law by law and line by line.

local HALF_UP, UP, DOWN = 1, 2, 3
local L_AXIS, L_LIMIT, L_SCALE, L_QUANTUM, L_ROUNDING, L_FEE, L_STEPS = 1, 2, 3, 4, 5, 6, 7
local L_MINIMUM, L_CAP, L_CAP_MODE = 8, 9, 10
local FREE, STOP = 1, 2

-- math.floor(a * b / c) without a product of 2^53 or more; needs b * c below it (ladder.step has seen to that).
local function mul_div_floor(a, b, c)
  local rest = a % c
  local part = rest * b
  return exact((a - rest) / c * b + (part - part % c) / c)
end

local function mul_div_ceil(a, b, c)
  local rest = a % c
  local part = rest * b
  return exact((a - rest) / c * b + (part + (c - part % c) % c) / c)
end

local function mul_div_half_up(a, b, c)
  local rest = a % c
  local part = rest * b
  local over = part % c
  return exact((a - rest) / c * b + (part - over) / c + (over >= c - over and 1 or 0))
end

-- Use `units` more on the ladder: position, covered, whole, frac after it; steps are looked up `shift` further on. This is where
-- most of a price is made, so its divisions stand here and not in functions: a block's price is mul_div_floor(bought, price, per)
-- and what is left over.
local function advance(on, position, covered, whole, frac, units, shift)
  local scale, steps = on[L_SCALE], on[L_STEPS]
  local last = #steps
  position = position + units
  if units < 0 or position > on[L_LIMIT] then error('position outside the ladder') end
  if position > 0 and covered == 0 then whole = whole + on[L_FEE] end
  for i = 1, last do
    if covered >= position then break end
    local step = steps[i]
    local finish = step[2] - shift
    if i == last or position < finish then finish = position end
    if covered < finish then
      local block, price, per = step[3], step[4], step[5]
      local bought = finish - covered
      local begun = bought % block
      if begun > 0 then bought = bought - begun + block end
      local rest = bought % per
      local part = rest * price
      local over = part % per
      whole = whole + (bought - rest) / per * price + (part - over) / per
      frac = frac + over * (scale / per)
      if frac >= scale then
        frac = frac - scale
        whole = whole + 1
      end
      covered = covered + bought
    end
  end
  if position % 1 ~= 0 or covered % 1 ~= 0 or frac % 1 ~= 0 then error('a walk in fractions') end
  return position, covered, exact(whole), frac
end

-- The cost of a walk: rounded, at least the minimum, at most a cap that makes the rest free. The only place where a price is
-- rounded.
local function total(on, position, whole, frac)
  local quantum, rounding = on[L_QUANTUM], on[L_ROUNDING]
  local over = whole % quantum
  local down = whole - over
  local up
  if rounding == HALF_UP then
    up = 2 * over + (2 * frac >= on[L_SCALE] and 1 or 0) >= quantum
  else
    up = rounding == UP and (over > 0 or frac > 0)
  end
  if up then down = exact(down + quantum) end
  if down < on[L_MINIMUM] and position > 0 then down = on[L_MINIMUM] end
  if on[L_CAP_MODE] == FREE and down > on[L_CAP] then return on[L_CAP] end
  return down
end

local function cost(on, position, covered, whole, frac, units, shift)
  local there, _, after, rest = advance(on, position, covered, whole, frac, units, shift)
  return total(on, there, after, rest)
end

-- The most units in 0 .. wanted whose cost beyond `posted` stays within `budget`, and the cost with them. A cap that
-- disconnects is a second bound.
local function affordable(on, position, covered, whole, frac, wanted, posted, budget, shift)
  local most = on[L_LIMIT] - position
  if wanted < most then most = wanted end
  if most <= 0 then return 0, posted end
  local ceiling = posted + (budget > 0 and budget or 0)
  if on[L_CAP_MODE] == STOP and on[L_CAP] < ceiling then ceiling = on[L_CAP] > posted and on[L_CAP] or posted end
  local price = cost(on, position, covered, whole, frac, most, shift)
  if price <= ceiling then return most, price end
  local low, high, best = 0, most, posted
  while high - low > 1 do
    local both = low + high
    local middle = (both - both % 2) / 2
    price = cost(on, position, covered, whole, frac, middle, shift)
    if price <= ceiling then
      low, best = middle, price
    else
      high = middle
    end
  end
  return low, best
end
