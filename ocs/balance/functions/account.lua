-- Accounts: open, join, amend, rows; and the store's epoch.

-- The last id that a stream has given, trimmed or not.
local function last_id(stream)
  if call('EXISTS', stream) == 0 then return '0-0' end
  local info = call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
  error('a stream without a last id')
end

-- epoch: the partition's text "<epoch> <calendar offset in ms>"; the epoch rises when the store is another process than
-- it was (restart, fail-over), and the stream says so with the last id of before (a reader sees what is missing).
local function epoch(keys, args)
  if not call then fetch() end
  local run_id = args[1]
  local part = call('GET', keys[1])
  if part and call('GET', keys[2]) == run_id then return part end
  local old, offset = 0, '0'
  if part then
    old, offset = part:match('^(%d+) (-?%d+)$')
    old = tonumber(old)
  end
  local last = last_id(keys[3])
  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(offset)
  local number = format('%.0f', old + 1)
  local after = number .. ' ' .. offset
  local record = pack({ RECORD_VERSION, K_EPOCH, '', 0, now, old + 1, last, run_id })

  call('XADD', keys[3], number .. '-1', 'r', record)
  call('SET', keys[1], after)
  call('SET', keys[2], run_id)
  return after
end

-- calendar: set the offset added to the store's time (an embedded store of a demo or a test, never production).
local function calendar(keys, args)
  if not call then fetch() end
  local part = call('GET', keys[1])
  if not part then error('the partition has no epoch yet') end
  local after = part:match('^%d+') .. ' ' .. format('%.0f', tonumber(args[1]))

  call('SET', keys[1], after)
  return after
end

-- open: a new account with its profile and, in the same call, its opening credit (0: none); EXISTS when it is there. What was asked
-- for (`content`) is kept under the marker keys[5] for a time (0: not at all).
local function open(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, account, credit_floor, profile, opening, ends, content, kept_ms = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  if call('EXISTS', keys[2]) == 1 then return { EXISTS } end
  if exact(credit_floor) > 0 or credit_floor < -BOOK_MAX then return { LIMIT } end
  if exact(opening) < 0 or opening > BOOK_MAX then return { LIMIT } end
  local sequence = opening > 0 and 2 or 1
  if exact(ends) < -1 then return { LIMIT } end
  local book = write_book({ opening, 0, 0, credit_floor, sequence, 1, ACTIVE, 0, ends, 0 })
  local opened = pack({ RECORD_VERSION, K_ACCOUNT, account, 1, now, 1, ACTIVE, credit_floor, profile, '', ends, 0, 0, 0 })
  local credited = pack({ RECORD_VERSION, K_TOPUP, account, 2, now, 'opening', account, opening, ends, opening, 0, 0 })
  local id, asked, life = stream_id(part), pack(content), kept_ms > 0 and life_of(kept_ms)

  call('XADD', keys[4], id, 'r', opened)
  if opening > 0 then call('XADD', keys[4], id, 'r', credited) end
  if life then call('SET', keys[5], asked, 'PX', life) end
  call('SET', keys[3], profile)
  call('SET', keys[2], book)
  return { SUCCESS }
end

-- join: a member of a shared account, with a book of its own; EXISTS when it is there. The marker (keys[6]) is as of `open`.
local function join(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, account, member, profile, content, kept_ms = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local book_text = call('GET', keys[2])
  if not book_text then return { UNKNOWN_SUBSCRIBER } end
  if call('EXISTS', keys[5]) == 1 then return { EXISTS } end
  local book = read_book(book_text)
  if book[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER } end
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  local own = write_book({ 0, 0, 0, 0, 0, 1, ACTIVE, 0, 0, 0 })
  local record = pack({ RECORD_VERSION, K_ACCOUNT, account, book[B_SEQUENCE], now, book[B_VERSION], ACTIVE, book[B_FLOOR],
    profile, member, book[B_UNTIL], book[B_CREDITS], book[B_POSTED], book[B_PENDING] })
  local book_after, id, asked, life = write_book(book), stream_id(part), pack(content), kept_ms > 0 and life_of(kept_ms)

  call('XADD', keys[4], id, 'r', record)
  if life then call('SET', keys[6], asked, 'PX', life) end
  call('SET', keys[3], profile)
  call('MSET', keys[2], book_after, keys[5], own)
  return { SUCCESS }
end

-- amend: another status (0 keeps it), another profile ('' keeps it) or another end of life (-2 keeps it), of an account or of one
-- of its members (keys[5], whose status is its own); the version rises, so that every plan is made again. STALE where the account
-- is of another version, or its life ends elsewhere, than was read (`was_version` 0, `was_until` -2: whatever they are). Another
-- credit floor (1 keeps it) is the account's: CREDIT_LIMIT where it is higher than it was and would take what is available below zero.
local function amend(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, account, member, status, profile, ends, was_version, was_until, credit_floor =
    unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local book_text = call('GET', keys[2])
  if not book_text then return { UNKNOWN_SUBSCRIBER } end
  local book = read_book(book_text)
  if book[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER } end
  local own_text = keys[5] and call('GET', keys[5])
  if keys[5] and not own_text then return { UNKNOWN_SUBSCRIBER } end
  local own = own_text and read_book(own_text) or book
  if own[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER } end
  if was_version ~= 0 and was_version ~= book[B_VERSION] then return { STALE } end
  if was_until ~= -2 and was_until ~= book[B_UNTIL] then return { STALE } end
  if exact(credit_floor) < -BOOK_MAX or credit_floor > 1 then return { LIMIT } end
  local floor_was = book[B_FLOOR]
  if credit_floor <= 0 then book[B_FLOOR] = credit_floor end
  if book[B_FLOOR] > floor_was and available_of(book) < 0 then return { CREDIT_LIMIT } end
  if status ~= 0 then own[B_STATUS] = status end
  if exact(ends) >= -1 then book[B_UNTIL] = ends end
  if profile == '' then profile = call('GET', keys[3]) or error('an account without a profile') end
  book[B_VERSION] = book[B_VERSION] + 1
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  local record = pack({ RECORD_VERSION, K_ACCOUNT, account, book[B_SEQUENCE], now, book[B_VERSION], own[B_STATUS],
    book[B_FLOOR], profile, member, book[B_UNTIL], book[B_CREDITS], book[B_POSTED], book[B_PENDING] })
  local book_after, id = write_book(book), stream_id(part)
  local own_after = own ~= book and write_book(own)

  call('XADD', keys[4], id, 'r', record)
  call('SET', keys[3], profile)
  if own_after then call('MSET', keys[2], book_after, keys[5], own_after) else call('SET', keys[2], book_after) end
  return { SUCCESS }
end

-- rows: a product is bought or renewed. Its price is posted, its rows are added, what is left of ended ones is rolled over, and the
-- profile changes with it ('' keeps it); all or nothing, and once: rows that are there already are no second time.
-- KEYS: part, book, profile, stream, agenda, marker, the member's own book (if any). STALE: the profile is of another version by
-- now; CREDIT_LIMIT: the price is more than is available, or than a member may spend (`limit`). `due` is when the account has something to do next
-- (0: nothing). The marker is kept for a time (0: not at all): a repetition is answered with the price of then and what was `told`;
-- another content under it is a CONFLICT.
local function rows(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, account, member, version, cause, price, profile, added, rolled, due, digest, kept_ms, limit, told =
    unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local earlier = call('GET', keys[6])
  if earlier then
    local kept = cmsgpack.unpack(earlier)
    return { kept[1] == digest and SUCCESS or CONFLICT, REPLAY, kept[2], kept[3] }
  end
  local book_text, own_text = call('GET', keys[2]), keys[7] and call('GET', keys[7])
  if not book_text or (keys[7] and not own_text) then return { UNKNOWN_SUBSCRIBER } end
  local book = read_book(book_text)
  local own = own_text and read_book(own_text) or book
  if book[B_STATUS] == TERMINATED or own[B_STATUS] == TERMINATED then return { UNKNOWN_SUBSCRIBER } end
  local path = member == '' and account or account .. '/' .. member
  local next_due = format('%.0f', exact(due))
  local there = #added > 0 or profile == ''
  for i = 1, #added do
    there = there and find_row(added[i][6] == 1 and own or book, added[i][1], added[i][3]) ~= nil
  end
  if version ~= book[B_VERSION] then
    return there and profile == '' and { SUCCESS, REPLAY, 0 } or { STALE }
  end
  if there and profile == '' then return { SUCCESS, REPLAY, 0 } end
  if there then price = 0 end -- they were paid for: only the profile is to say so
  if exact(price) < 0 or price > BOOK_MAX then return { LIMIT } end
  if price > 0 and price > available_of(book) or not within_limit(own, limit, price) then return { CREDIT_LIMIT } end
  local gone = {}
  sweep_rows(book, now, true, gone, false)
  if own ~= book then sweep_rows(own, now, true, gone, true) end
  if buckets_of(book) + #added + #rolled > ROWS_KEPT or buckets_of(own) + #added + #rolled > ROWS_KEPT then
    return { LIMIT }
  end
  local came = bring(book, own, added, rolled)
  local w = count_spent(own, limit, price, now)
  if w then list_row(came, own ~= book, own, w) end
  book[B_POSTED] = book[B_POSTED] + price
  if own ~= book then own[B_POSTED] = own[B_POSTED] + price end
  if profile ~= '' then book[B_VERSION] = book[B_VERSION] + 1 end
  book[B_SEQUENCE] = book[B_SEQUENCE] + 1
  check(book)
  if own ~= book then check(own) end
  local record = pack(rows_record(book, own, account, member, now, cause, price, profile, came, gone))
  local book_after, own_after, id = write_book(book), own ~= book and write_book(own), stream_id(part)
  local mark, life = pack({ digest, price, told }), kept_ms > 0 and life_of(kept_ms)

  call('XADD', keys[4], id, 'r', record)
  if life then call('SET', keys[6], mark, 'PX', life) end
  if profile ~= '' then call('SET', keys[3], profile) end
  if due > 0 then call('ZADD', keys[5], next_due, path) else call('ZREM', keys[5], path) end
  if own_after then call('MSET', keys[2], book_after, keys[7], own_after) else call('SET', keys[2], book_after) end
  return { SUCCESS, 0, price, told }
end

-- strike: take a subscriber off the agenda, unless it has another time there by now than was read; 1 when it went.
local function strike(keys, args)
  if not call then fetch() end
  if tonumber(call('ZSCORE', keys[1], args[1]) or '-1') ~= tonumber(args[2]) then return 0 end

  call('ZREM', keys[1], args[1])
  return 1
end

-- swap: put another text in the place of one that is known ('' removes it); 0 when something else stands there by now.
local function swap(keys, args)
  if not call then fetch() end
  if call('GET', keys[1]) ~= args[1] then return 0 end

  if args[2] == '' then call('DEL', keys[1]) else call('SET', keys[1], args[2]) end
  return 1
end

-- snapshot: one instant of a partition, for the audit: the due index, the last id of the stream, the values of keys, and the open
-- sessions by account.
local function snapshot(keys, _)
  if not call then fetch() end
  local values = {}
  for i = 4, #keys do
    values[i - 3] = call('GET', keys[i])
  end
  local due = call('ZRANGE', keys[1], '0', '-1', 'WITHSCORES')
  return { due, last_id(keys[2]), values, call('ZRANGE', keys[3], '0', '-1') }
end

-- ladder: the evaluator by itself, for the property tests that hold it equal to its Python twin.
local function ladder(_, args)
  if not call then fetch() end
  local on, position, covered, whole, frac, units, wanted, posted, budget, shift = unpack(cmsgpack.unpack(args[1]))
  local walk = { advance(on, position, covered, whole, frac, units, shift) }
  local able, price = affordable(on, position, covered, whole, frac, wanted, posted, budget, shift)
  return pack({ walk, total(on, walk[1], walk[3], walk[4]), able, price })
end

local function arithmetic(_, args)
  if not call then fetch() end
  local a, b, c = unpack(cmsgpack.unpack(args[1]))
  return pack({ mul_div_floor(a, b, c), mul_div_ceil(a, b, c), mul_div_half_up(a, b, c) })
end

redis.register_function('charge_VERSION', charge)
redis.register_function('expire_VERSION', expire)
redis.register_function('epoch_VERSION', epoch)
redis.register_function('calendar_VERSION', calendar)
redis.register_function('open_VERSION', open)
redis.register_function('amend_VERSION', amend)
redis.register_function('join_VERSION', join)
redis.register_function('rows_VERSION', rows)
redis.register_function('strike_VERSION', strike)
redis.register_function('swap_VERSION', swap)
redis.register_function({ function_name = 'snapshot_VERSION', callback = snapshot, flags = { 'no-writes' } })
redis.register_function({ function_name = 'ladder_VERSION', callback = ladder, flags = { 'no-writes' } })
redis.register_function({ function_name = 'arithmetic_VERSION', callback = arithmetic, flags = { 'no-writes' } })
