-- Actions: money that moves at the word of a channel or an operator (ocs/balance/actions.py). MONEY.md, "Actions".
--
-- A step leaves a marker for its time: {digest, result, owed} once it is done; {0, code, attempt, left} where it was refused, so that all
-- who try this attempt are told the same. A later attempt is looked at anew.

-- A step as it comes: whose, by whom, for whom, and what it moves: money that comes in and that is posted, what is to be left (0: nothing is looked
-- at), whether who is barred may not, whether who is terminated may, what is owed since; or so much more of a bucket. M_OWED is filled in here.
local M_ACCOUNT, M_MEMBER, M_CHANNEL, M_ID, M_COUNTERPART, M_REASON, M_KIND, M_DIGEST, M_ATTEMPT = 1, 2, 3, 4, 5, 6, 7, 8, 9
local M_CREATED, M_KEPT, M_NAME, M_CREDIT, M_POST, M_BASIS, M_ACTIVE, M_ALWAYS, M_OWES = 10, 11, 12, 13, 14, 15, 16, 17, 18
local M_BUCKET, M_START, M_DELTA, M_OWED = 19, 20, 21, 22
-- Kinds of action, as records have them (ocs/records.py, ActionKind).
local MOVED_RESERVE, MOVED_REFUND, MOVED_REPAYMENT = 4, 5, 8

-- What is known of a step already: the reply, or nil.
local function known_step(text, digest, attempt)
  if not text then return nil end
  local kept = cmsgpack.unpack(text)
  if kept[1] == 0 then
    if kept[3] < attempt then return nil end
    return { kept[2], '', REPLAY, 0, kept[4] }
  end
  if kept[1] ~= digest then return { CONFLICT, '', 0, 0, 0 } end
  return { SUCCESS, kept[2], REPLAY, kept[3] or 0, 0 }
end

-- The marker of a refusal.
local function refusal_of(code, attempt, left) return pack({ 0, code, attempt, exact(left) }) end

-- What is to be left of an account's money: what may be held; what is there without credit that was lent, by a floor or in an emergency; or
-- without the floor alone.
local AVAILABLE_LEFT, OWN_LEFT, BALANCE_LEFT = 1, 2, 3

local function left_of(book, basis, owed)
  if basis == AVAILABLE_LEFT then return available_of(book) end
  local left = book[B_CREDITS] - book[B_POSTED] - book[B_PENDING]
  return basis == OWN_LEFT and left - owed or left
end

-- Whether an account is barred from giving, or its life is over.
local function may_not_give(book, now)
  return book[B_STATUS] ~= ACTIVE or (book[B_UNTIL] > 0 and now >= book[B_UNTIL])
end

-- The record of what an action moved (ocs/records.py, Moved); the book as it is after it.
local function moved_record(book, now, kind, told, credited, taken, held, owed)
  return { RECORD_VERSION, K_MOVED, told[M_ACCOUNT], book[B_SEQUENCE], now, kind, told[M_CHANNEL], told[M_ID], told[M_MEMBER],
    told[M_COUNTERPART], told[M_REASON], credited, taken, held, owed, book[B_UNTIL], book[B_CREDITS], book[B_POSTED], book[B_PENDING] }
end

local function money_of(book)
  return { book[B_CREDITS], book[B_POSTED], book[B_PENDING], book[B_FLOOR], book[B_SEQUENCE] }
end

local function owed_text(owed) return owed > 0 and format('%.0f', exact(owed)) or '' end

-- What an index of actions says of one: its time, and up to which time it forgets.
local function index_times(created, kept_ms)
  return format('%.0f', exact(created)), '(' .. format('%.0f', exact(created) - kept_ms)
end

-- claim: take an action's id, over all accounts, and list it under its channel; who finds it taken gets what stands there.
local function claim(keys, args)
  if not call then fetch() end
  local now, name, created, kept_ms = unpack(cmsgpack.unpack(args[1]))
  local text = call('GET', keys[1])
  if text then return { SUCCESS, text, REPLAY } end
  local score, at, old = format('%.0f', exact(now)), index_times(created, kept_ms)
  local life = life_of(kept_ms)

  call('ZADD', keys[2], score, name)
  call('ZADD', keys[3], at, name)
  call('ZREMRANGEBYSCORE', keys[3], '0', old)
  call('PEXPIRE', keys[3], life)
  call('SET', keys[1], args[2])
  return { SUCCESS, args[2], 0 }
end

-- turn: put the next text of a claim in the place of the one that was read: kept for a time once it is settled (0: it is under way, and listed
-- for the sweeper); STALE with what stands there where that is another by now.
local function turn(keys, args)
  if not call then fetch() end
  local now, name, kept_ms = unpack(cmsgpack.unpack(args[1]))
  local text = call('GET', keys[1])
  if text ~= args[2] then return { STALE, text or '' } end
  local score, life = format('%.0f', exact(now)), kept_ms > 0 and life_of(kept_ms)

  if life then
    call('ZREM', keys[2], name)
    call('SET', keys[1], args[3], 'PX', life)
    return { SUCCESS, args[3] }
  end

  call('ZADD', keys[2], score, name)
  call('SET', keys[1], args[3])
  return { SUCCESS, args[3] }
end

-- count: what a channel did on one day, or what was done for an account, of one kind: an action is counted once for each attempt, or refused once; with `back` it is given back.
local function count(keys, args)
  if not call then fetch() end
  local field, attempt, amount, most, number_most, kept_ms, back = unpack(cmsgpack.unpack(args[1]))
  local kept = call('HMGET', keys[1], field, 'sum', 'number')
  local sum, number = tonumber(kept[2] or '0'), tonumber(kept[3] or '0')
  local was, how = (kept[1] or '0 '):match('^(%d+) (.*)$')
  local mine, life, code = tonumber(was) == attempt, life_of(kept_ms), SUCCESS
  if back == 1 then
    if not mine or how ~= 'counted' then return { SUCCESS, 0 } end
    sum, number, how = sum - amount, number - 1, 'given back'
  elseif mine then
    return { how == 'refused' and LIMIT or SUCCESS, above(most - sum) }
  elseif (most > 0 and sum + amount > most) or (number_most > 0 and number >= number_most) then
    how, code = 'refused', LIMIT
  else
    sum, number, how = exact(sum + amount), number + 1, 'counted'
  end
  local text, sum_text, number_text = format('%.0f ', attempt) .. how, format('%.0f', sum), format('%.0f', number)
  local reply = { code, above(most - sum) }

  call('HSET', keys[1], field, text, 'sum', sum_text, 'number', number_text)
  call('PEXPIRE', keys[1], life)
  return reply
end

-- credit: money comes in, once per (channel, id) in this account's partition, and makes the balance last `extend` from now on at least; what
-- is owed for emergency credit is repaid of it. The record names the voucher that it comes from, if any. The result is the book's money. KEYS: part,
-- book, marker, stream, index, owed, lives.
local function credit(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, account, channel, id, digest, amount, kept_ms, extend, attempt, created, name, voucher =
    unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, '', 0, 0, 0 } end
  local known = known_step(call('GET', keys[3]), digest, attempt)
  if known then return known end
  local book_text, life, owed = call('GET', keys[2]), life_of(kept_ms), tonumber(call('GET', keys[6]) or '0')
  local lives_text = call('GET', keys[7])
  local book, code = book_text and read_book(book_text), nil
  if not book or book[B_STATUS] == TERMINATED then
    code = UNKNOWN_SUBSCRIBER
  elseif exact(amount) <= 0 or book[B_CREDITS] + amount > BOOK_MAX then
    code = LIMIT
  end
  if code then
    local text = refusal_of(code, attempt, 0)

    call('SET', keys[3], text, 'PX', life)
    return { code, '', 0, 0, 0 }
  end
  book[B_CREDITS] = exact(book[B_CREDITS] + amount)
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  local lives_after = lengthened(book, lives_text, name, now, extend)
  local record = pack({ RECORD_VERSION, K_TOPUP, account, book[B_SEQUENCE], now, channel, id, amount, book[B_UNTIL],
    book[B_CREDITS], book[B_POSTED], book[B_PENDING], voucher })
  local repaid, second = least(owed, amount), nil
  if repaid > 0 then
    owed, book[B_POSTED], book[B_SEQUENCE] = owed - repaid, book[B_POSTED] + repaid, book[B_SEQUENCE] + 1
    second = pack(moved_record(book, now, MOVED_REPAYMENT, { account, '', channel, id, '', '' }, 0, repaid, 0, owed))
  end
  check(book)
  local result = pack(money_of(book))
  local kept, book_after, stream, owes = pack({ digest, result, owed }), write_book(book), stream_id(part), owed_text(owed)
  local at, old = index_times(created, kept_ms)

  call('XADD', keys[4], stream, 'r', record)
  if second then
    call('XADD', keys[4], stream, 'r', second)
    if owes == '' then call('DEL', keys[6]) else call('SET', keys[6], owes) end
  end
  call('SET', keys[3], kept, 'PX', life)
  if lives_after then call('SET', keys[7], lives_after, 'PX', life) end
  call('ZADD', keys[5], at, name)
  call('ZREMRANGEBYSCORE', keys[5], '0', old)
  call('PEXPIRE', keys[5], life)
  call('SET', keys[2], book_after)
  return { SUCCESS, result, 0, owed, 0 }
end

-- What a step of an action is refused with, and what there would be at most; nil where it may be. `row` is that of its bucket, if it has one.
local function refuses(book, own, home, w, now, move)
  if not book or (not own) then return UNKNOWN_SUBSCRIBER, 0 end
  local gone = book[B_STATUS] == TERMINATED or own[B_STATUS] == TERMINATED
  if gone and move[M_ALWAYS] == 0 then return UNKNOWN_SUBSCRIBER, 0 end
  if move[M_ACTIVE] == 1 and may_not_give(book, now) then return BARRED, 0 end
  if move[M_BUCKET] ~= 0 then
    if not w then return UNRATED, 0 end
    local left = above(home[w + R_AMOUNT] - home[w + R_USED] - home[w + R_PENDING])
    if move[M_DELTA] < 0 and -move[M_DELTA] > left then return CREDIT_LIMIT, left end
    if home[w + R_AMOUNT] + move[M_DELTA] > BOOK_MAX then return LIMIT, 0 end
    return nil, 0
  end
  if move[M_OWES] > 0 and move[M_OWED] > 0 then return EXISTS, 0 end
  local needs = move[M_POST] - move[M_CREDIT]
  if move[M_BASIS] > 0 and needs > 0 then
    local left = above(left_of(book, move[M_BASIS], move[M_OWED]))
    if needs > left then return CREDIT_LIMIT, left end
  end
  local credits, posted = book[B_CREDITS] + move[M_CREDIT], book[B_POSTED] + move[M_POST]
  if credits > BOOK_MAX or posted > BOOK_MAX or posted < -BOOK_MAX then return LIMIT, 0 end
  return nil, 0
end

-- Move what a step moves on the books of memory.
local function moves(book, home, w, move)
  if w then
    home[w + R_AMOUNT] = home[w + R_AMOUNT] + move[M_DELTA]
  else
    book[B_CREDITS], book[B_POSTED] = book[B_CREDITS] + move[M_CREDIT], book[B_POSTED] + move[M_POST]
  end
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  check(book)
  if home ~= book then check(home) end
  local result, owed = money_of(book), move[M_OWED] + move[M_OWES]
  if w then
    result[6], result[7] = home[w + R_AMOUNT] - home[w + R_USED], home[w + R_AMOUNT] - home[w + R_USED] - home[w + R_PENDING]
  end
  return result, owed
end

-- Whose bucket a step names: a member's own, else the account's; and the row's base.
local function home_of(book, own, move)
  if move[M_BUCKET] == 0 or not book or not own then return book, nil end
  local w = own ~= book and find_row(own, move[M_BUCKET], move[M_START])
  if w then return own, w end
  return book, find_row(book, move[M_BUCKET], move[M_START])
end

-- moving: one step of an action moves an account's money, or one of its buckets, once. KEYS: part, book, marker, stream, index, owed, the
-- member's own book (if any).
local function moving(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, told = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, '', 0, 0, 0 } end
  local known = known_step(call('GET', keys[3]), told[M_DIGEST], told[M_ATTEMPT])
  if known then return known end
  local book_text, own_text = call('GET', keys[2]), keys[7] and call('GET', keys[7])
  local life = life_of(told[M_KEPT])
  told[M_OWED] = tonumber(call('GET', keys[6]) or '0')
  local book = book_text and read_book(book_text)
  local own = book
  if keys[7] then own = own_text and read_book(own_text) end
  local home, w = home_of(book, own, told)
  local code, left = refuses(book, own, home, w, now, told)
  if code then
    local text = refusal_of(code, told[M_ATTEMPT], left)

    call('SET', keys[3], text, 'PX', life)
    return { code, '', 0, 0, left }
  end
  local result, owed = moves(book, home, w, told)
  local record = moved_record(book, now, told[M_KIND], told, told[M_CREDIT], told[M_POST], 0, owed)
  if w then list_row(record, home ~= book, home, w) end
  local text, kept, stream = pack(record), pack({ told[M_DIGEST], pack(result), owed }), stream_id(part)
  local book_after, own_after, owes = write_book(book), home ~= book and write_book(home), owed_text(owed)
  local reply, at, old = { SUCCESS, pack(result), 0, owed, 0 }, index_times(told[M_CREATED], told[M_KEPT])

  call('XADD', keys[4], stream, 'r', text)
  call('SET', keys[3], kept, 'PX', life)
  if owes ~= '' then call('SET', keys[6], owes) end
  call('ZADD', keys[5], at, told[M_NAME])
  call('ZREMRANGEBYSCORE', keys[5], '0', old)
  call('PEXPIRE', keys[5], life)
  if own_after then call('MSET', keys[2], book_after, keys[7], own_after) else call('SET', keys[2], book_after) end
  return reply
end

-- Repay, refund and terminate in memory (who was terminated before stays so): the packed records, in their order, and the result.
local function closed_by(book, own, now, told, repaid, left, owed, profile)
  local records = {}
  if repaid > 0 then
    book[B_POSTED], book[B_SEQUENCE] = book[B_POSTED] + repaid, book[B_SEQUENCE] + 1
    records[1] = pack(moved_record(book, now, MOVED_REPAYMENT, told, 0, repaid, 0, owed))
  end
  book[B_POSTED], book[B_SEQUENCE] = book[B_POSTED] + left, book[B_SEQUENCE] + 1
  records[#records + 1] = pack(moved_record(book, now, MOVED_REFUND, told, 0, left, 0, owed))
  if own[B_STATUS] ~= TERMINATED then
    own[B_STATUS] = TERMINATED
    book[B_VERSION], book[B_SEQUENCE] = book[B_VERSION] + 1, book[B_SEQUENCE] + 1
    records[#records + 1] = pack({ RECORD_VERSION, K_ACCOUNT, told[M_ACCOUNT], book[B_SEQUENCE], now, book[B_VERSION], TERMINATED,
      book[B_FLOOR], profile, told[M_MEMBER], book[B_UNTIL], book[B_CREDITS], book[B_POSTED], book[B_PENDING] })
  end
  check(book)
  local result = money_of(book)
  result[6] = left
  return records, pack(result)
end

-- closing: what is left of an account is repaid and refunded, and the subscriber is terminated, in one call. A member has no money of its own.
-- Of who was terminated before, what is left is refunded too, where there is something.
-- KEYS: part, book, marker, stream, index, owed, profile, the member's own book (if any). `asked` is how much is to be refunded, -1: all.
local function closing(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, told, asked = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused, '', 0, 0, 0 } end
  local known = known_step(call('GET', keys[3]), told[M_DIGEST], told[M_ATTEMPT])
  if known then return known end
  local book_text, profile, own_text = call('GET', keys[2]), call('GET', keys[7]), keys[8] and call('GET', keys[8])
  local owed, life = tonumber(call('GET', keys[6]) or '0'), life_of(told[M_KEPT])
  local book, code = book_text and read_book(book_text), nil
  local own = book
  if keys[8] then own = own_text and read_book(own_text) end
  local left, repaid = 0, 0
  if book and own == book then
    left = above(left_of(book, BALANCE_LEFT, 0))
    repaid = least(owed, left)
    left = left - repaid
  end
  local gone = book and own and (book[B_STATUS] == TERMINATED or own[B_STATUS] == TERMINATED)
  if not book or not own or not profile or (gone and left + repaid == 0) then
    code, left = UNKNOWN_SUBSCRIBER, 0
  elseif asked >= 0 and asked ~= left then
    code = LIMIT
  end
  if code then
    local text = refusal_of(code, told[M_ATTEMPT], left)

    call('SET', keys[3], text, 'PX', life)
    return { code, '', 0, 0, left }
  end
  local records, result = closed_by(book, own, now, told, repaid, left, owed - repaid, profile)
  local first, second, third = records[1], records[2], records[3]
  local kept, stream = pack({ told[M_DIGEST], result, owed - repaid }), stream_id(part)
  local book_after, own_after, owes = write_book(book), own ~= book and write_book(own), owed_text(owed - repaid)
  local reply, at, old = { SUCCESS, result, 0, owed - repaid, 0 }, index_times(told[M_CREATED], told[M_KEPT])

  call('XADD', keys[4], stream, 'r', first)
  if second then call('XADD', keys[4], stream, 'r', second) end
  if third then call('XADD', keys[4], stream, 'r', third) end
  call('SET', keys[3], kept, 'PX', life)
  if owes == '' then call('DEL', keys[6]) else call('SET', keys[6], owes) end
  call('ZADD', keys[5], at, told[M_NAME])
  call('ZREMRANGEBYSCORE', keys[5], '0', old)
  call('PEXPIRE', keys[5], life)
  if own_after then call('MSET', keys[2], book_after, keys[8], own_after) else call('SET', keys[2], book_after) end
  return reply
end

redis.register_function('claim_VERSION', claim)
redis.register_function('turn_VERSION', turn)
redis.register_function('count_VERSION', count)
redis.register_function('credit_VERSION', credit)
redis.register_function('moving_VERSION', moving)
redis.register_function('closing_VERSION', closing)
