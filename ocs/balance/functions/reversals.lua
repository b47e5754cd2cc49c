-- Reversals: a top-up is taken back with what came with it. MONEY.md, "Actions".

-- End the rows of a bonus, and take back what is free of them: what sessions hold they may use still, in their time. Their bases; what is
-- taken back, and what was used or is held of it. `text` is what opening them has left (account.lua, rows): an instance has BONUS_ROWS ids.
local BONUS_ROWS = 32

local function bonus_back(book, text, now)
  local number = text and cmsgpack.unpack(text)[3]
  number = type(number) == 'table' and number[1] or 0
  local rows, back, spent = {}, 0, 0
  if number == 0 then return rows, back, spent end
  for w = B_FIXED, B_FIXED + (book[B_ROWS] - 1) * R_WIDTH, R_WIDTH do
    if down(book[w + R_ID], BONUS_ROWS) == number then
      local free = above(book[w + R_AMOUNT] - book[w + R_USED] - book[w + R_PENDING])
      book[w + R_AMOUNT] = book[w + R_AMOUNT] - free
      if book[w + R_UNTIL] > now then
        book[w + R_UNTIL] = now > book[w + R_START] and now or book[w + R_START] + 1
      end
      rows[#rows + 1], back, spent = w, back + free, spent + book[w + R_AMOUNT]
    end
  end
  return rows, back, spent
end

-- reversing: a top-up is taken back, whole, with what is left of its bonus and with the time it gave. KEYS: part, book, marker, stream, index,
-- owed, lives, what opening its bonus has left, agenda.
local function reversing(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, told = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, '', 0, 0, 0 } end
  local known = known_step(call('GET', keys[3]), told[M_DIGEST], told[M_ATTEMPT])
  if known then return known end
  local book_text, lives_text, bonus_text = call('GET', keys[2]), call('GET', keys[7]), call('GET', keys[8])
  local life = life_of(told[M_KEPT])
  told[M_OWED] = tonumber(call('GET', keys[6]) or '0')
  local book = book_text and read_book(book_text)
  local code, left = refuses(book, book, book, nil, now, told)
  if code then
    local text = refusal_of(code, told[M_ATTEMPT], left)

    call('SET', keys[3], text, 'PX', life)
    return { code, '', 0, 0, left }
  end
  local rows, back, spent = bonus_back(book, bonus_text, now)
  local lives_after = shortened(book, lives_text, told[M_NAME])
  local result, owed = moves(book, book, nil, told)
  result[6], result[7] = back, spent
  local record = moved_record(book, now, told[M_KIND], told, told[M_CREDIT], told[M_POST], 0, owed)
  for i = 1, #rows do list_row(record, false, book, rows[i]) end
  local text, kept, stream = pack(record), pack({ told[M_DIGEST], pack(result), owed }), stream_id(part)
  -- who is late with a bonus that could not be given finds that its name is another's
  local never = not bonus_text and pack({ -1, 0, { 0, 0 } })
  local book_after, ends, looked_at = write_book(book), format('%.0f', book[B_UNTIL]), 'life:' .. told[M_ACCOUNT]
  local reply, at, old = { SUCCESS, pack(result), 0, owed, 0 }, index_times(told[M_CREATED], told[M_KEPT])

  call('XADD', keys[4], stream, 'r', text)
  call('SET', keys[3], kept, 'PX', life)
  if lives_after then
    call('SET', keys[7], lives_after, 'PX', life)
    call('ZADD', keys[9], 'XX', 'LT', ends, looked_at)
  end
  if never then call('SET', keys[8], never, 'PX', life) end
  call('ZADD', keys[5], at, told[M_NAME])
  call('ZREMRANGEBYSCORE', keys[5], '0', old)
  call('PEXPIRE', keys[5], life)
  call('SET', keys[2], book_after)
  return reply
end

redis.register_function('reversing_VERSION', reversing)
