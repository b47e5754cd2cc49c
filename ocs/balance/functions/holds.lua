-- Reservations: money that is held for an outside system until an instant (ocs/balance/actions.py). MONEY.md, "Actions".
--
-- One is a session like those of charge, of one service without a rate, whose hold it is: due index, sweep, audit and pending know it. Its
-- name begins like one of accounting's, so that its client is asked nothing and it takes no place of a session that asks.

-- hold: money is held, once. KEYS: part, book, marker, stream, index, owed, session, due, open.
local function hold(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, told, amount, ends, sid, route = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, '', 0, 0, 0 } end
  local known = known_step(call('GET', keys[3]), told[M_DIGEST], told[M_ATTEMPT])
  if known then return known end
  local book_text, owed, life = call('GET', keys[2]), tonumber(call('GET', keys[6]) or '0'), life_of(told[M_KEPT])
  local book, code, left = book_text and read_book(book_text), nil, 0
  if not book or book[B_STATUS] == TERMINATED then
    code = UNKNOWN_SUBSCRIBER
  elseif may_not_give(book, now) then
    code = BARRED
  elseif exact(ends) <= now or exact(amount) <= 0 or call('EXISTS', keys[7]) == 1 then
    code = LIMIT
  elseif amount > available_of(book) then
    code, left = CREDIT_LIMIT, above(available_of(book))
  end
  if code then
    local text = refusal_of(code, told[M_ATTEMPT], left)

    call('SET', keys[3], text, 'PX', life)
    return { code, '', 0, 0, left }
  end
  local session = { LAYOUT, 1, 0, OPEN, told[M_ACCOUNT], '', now, ends, 0, 0, 0, 0, now, route, '', ends, 0, '' }
  for i, value in ipairs({ '', MONEY_UNIT, 0, 0, 0, 0, 0, amount, amount, 0, now, 0, '' }) do session[S_FIXED + i] = value end
  book[B_PENDING], book[B_SEQUENCE] = book[B_PENDING] + amount, book[B_SEQUENCE] + 1
  check(book)
  local record, result = pack(moved_record(book, now, MOVED_RESERVE, told, 0, 0, amount, owed)), pack(money_of(book))
  local kept, stream = pack({ told[M_DIGEST], result, owed }), stream_id(part)
  local row, due, book_after, session_after = open_row(session, sid), format('%.0f', ends), write_book(book), write_session(session)
  local at, old = index_times(told[M_CREATED], told[M_KEPT])

  call('XADD', keys[4], stream, 'r', record)
  call('SET', keys[3], kept, 'PX', life)
  call('ZADD', keys[5], at, told[M_NAME])
  call('ZREMRANGEBYSCORE', keys[5], '0', old)
  call('PEXPIRE', keys[5], life)
  call('SET', keys[7], session_after)
  call('ZADD', keys[8], due, sid)
  call('ZADD', keys[9], '0', row)
  call('SET', keys[2], book_after)
  return { SUCCESS, result, 0, owed, 0 }
end

-- settling: so much of a hold is posted, and the rest released, once (nothing posted: it is void). UNKNOWN_SESSION where its time came first.
-- KEYS: part, book, marker, stream, index, owed, session, due, open.
local function settling(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, told, amount, sid, tombstone = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, '', 0, 0, 0 } end
  local known = known_step(call('GET', keys[3]), told[M_DIGEST], told[M_ATTEMPT])
  if known then return known end
  local book_text, session_text, owed = call('GET', keys[2]), call('GET', keys[7]), tonumber(call('GET', keys[6]) or '0')
  local life, session, code, left = life_of(told[M_KEPT]), session_text and read_session(session_text), nil, 0
  if not book_text or not session or session[S_STATE] ~= OPEN or session[S_DUE] <= now then
    code = UNKNOWN_SESSION
  elseif session[S_ACCOUNT] ~= told[M_ACCOUNT] then
    code = CONFLICT
  elseif exact(amount) < 0 or amount > session[S_FIXED + V_HOLD] then
    code, left = LIMIT, session[S_FIXED + V_HOLD]
  end
  if code then
    local text = refusal_of(code, told[M_ATTEMPT], left)

    call('SET', keys[3], text, 'PX', life)
    return { code, '', 0, 0, left }
  end
  local book = read_book(book_text)
  end_session(session, book, book, 0)
  session[S_STATE], session[S_FIXED + V_POSTED] = CLOSED, amount
  book[B_POSTED], book[B_SEQUENCE] = book[B_POSTED] + amount, book[B_SEQUENCE] + 1
  check(book)
  local record, result = pack(moved_record(book, now, MOVED_RESERVE, told, 0, amount, 0, owed)), pack(money_of(book))
  local kept, stream, remembered = pack({ told[M_DIGEST], result, owed }), stream_id(part), life_of(tombstone)
  local row, book_after, session_after = open_row(session, sid), write_book(book), write_session(session)

  call('XADD', keys[4], stream, 'r', record)
  call('SET', keys[3], kept, 'PX', life)
  call('SET', keys[7], session_after, 'PX', remembered)
  call('ZREM', keys[8], sid)
  call('ZREM', keys[9], row)
  call('SET', keys[2], book_after)
  return { SUCCESS, result, 0, owed, 0 }
end

redis.register_function('hold_VERSION', hold)
redis.register_function('settling_VERSION', settling)
