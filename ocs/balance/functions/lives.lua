-- How long an account's balance lasts by which top-up, so that it ends where it would without one that is taken back. MONEY.md, "Actions".
--
-- The lives of an account: {where they made its life end, where it would end without any of them, and of each its name and where it lets
-- it end}, the oldest first. Whoever else sets that end (an operator, the first use) makes them void: they tell another end then.
local L_ENDS, L_BASE, L_FIXED, L_WIDTH, LIVES_MAX = 1, 2, 2, 2, 32

-- Where a life ends by what is known of it.
local function ends_by(lives_of)
  local ends = lives_of[L_BASE]
  for i = L_FIXED + 2, #lives_of, L_WIDTH do
    if lives_of[i] > ends then ends = lives_of[i] end
  end
  return ends
end

-- Let a balance last `extend` from now on at least; the packed lives since, nil where they stay.
local function lengthened(book, text, name, now, extend)
  local ends = book[B_UNTIL]
  if ends <= 0 or exact(extend) <= 0 then return nil end
  local known = text and cmsgpack.unpack(text)
  if not known or known[L_ENDS] ~= ends then known = { ends, ends } end
  if exact(now + extend) <= known[L_BASE] then return nil end
  if #known >= L_FIXED + LIVES_MAX * L_WIDTH then -- the oldest is for good
    local _, base, _, first = unpack(known)
    local rest = { ends, base > first and base or first, unpack(known, L_FIXED + L_WIDTH + 1) }
    known = rest
  end
  known[#known + 1] = name
  known[#known + 1] = now + extend
  known[L_ENDS] = ends_by(known)
  book[B_UNTIL] = known[L_ENDS]
  return pack(known)
end

-- Let a balance end where it would without a top-up; the packed lives since, nil where they stay: it gave no time, or another has set the end since.
local function shortened(book, text, name)
  local known = text and cmsgpack.unpack(text)
  if not known or known[L_ENDS] ~= book[B_UNTIL] then return nil end
  local rest, found = { 0, known[L_BASE] }, false
  for i = L_FIXED + 1, #known, L_WIDTH do
    if known[i] == name then
      found = true
    else
      rest[#rest + 1] = known[i]
      rest[#rest + 1] = known[i + 1]
    end
  end
  if not found then return nil end
  rest[L_ENDS] = ends_by(rest)
  book[B_UNTIL] = rest[L_ENDS]
  return pack(rest)
end
