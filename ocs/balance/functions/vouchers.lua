-- Vouchers: made, redeemed at most once, blocked, removed; and the locks of who tries codes that are none. VOUCHERS.md says what each step is for.

-- A voucher, under the keyed hash of its code: its state, batch, running number and how often it was set free; from a claim on also the
-- top-up that has it (channel, id), the account's place, and when.
local VO_STATE, VO_BATCH, VO_NUMBER, VO_FREES, VO_CHANNEL, VO_ID, VO_PARTITION, VO_ACCOUNT, VO_AT = 1, 2, 3, 4, 5, 6, 7, 8, 9
local VOUCHER_FREE, VOUCHER_CLAIMED, VOUCHER_USED, VOUCHER_BLOCKED = 1, 2, 3, 4
-- A partition's copy of a batch; behind BT_CHANGES stand the counts of its vouchers here, by their state.
local BT_VERSION, BT_STATE, BT_AMOUNT, BT_CURRENCY, BT_FROM, BT_UNTIL, BT_CHANGES = 1, 2, 3, 4, 5, 6, 7
local BATCH_MAKING, BATCH_CREATED, BATCH_ACTIVE, BATCH_SUSPENDED, BATCH_CANCELLED = 1, 2, 3, 4, 5
-- Why a voucher cannot be had (ocs/balance/vouchers.py, Why).
local W_UNKNOWN, W_NOT_YET, W_EXPIRED, W_SUSPENDED, W_CANCELLED, W_BLOCKED, W_USED, W_UNDER_WAY, W_CURRENCY = 1, 2, 3, 4, 5, 6, 7, 8, 9

local function count_over(copy, from, to)
  copy[BT_CHANGES] = copy[BT_CHANGES] + 1
  copy[BT_CHANGES + from], copy[BT_CHANGES + to] = copy[BT_CHANGES + from] - 1, copy[BT_CHANGES + to] + 1
  if copy[BT_CHANGES + from] < 0 then error('a batch counts less than none') end
end

-- voucher_add. KEYS: part, the copy, and a voucher for each number. Those that are another's by now are told: their codes are drawn anew. What
-- is there already from the same call is as it should be. STALE: the batch is being made no more.
local function voucher_add(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, batch, amount, currency, from, ends, numbers = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local text = call('GET', keys[2])
  local copy = text and cmsgpack.unpack(text) or { 0, BATCH_MAKING, amount, currency, from, ends, 0, 0, 0, 0, 0 }
  if copy[BT_STATE] ~= BATCH_MAKING then return { STALE } end
  local taken, values = {}, { keys[2], '' }
  for i = 1, #numbers do
    local there = call('GET', keys[i + 2])
    local kept = there and cmsgpack.unpack(there)
    if not kept then
      values[#values + 1] = keys[i + 2]
      values[#values + 1] = pack({ VOUCHER_FREE, batch, numbers[i], 0 })
    elseif kept[VO_BATCH] ~= batch or kept[VO_NUMBER] ~= numbers[i] then
      taken[#taken + 1] = numbers[i]
    end
  end
  if #values == 2 then return { SUCCESS, taken } end
  copy[BT_CHANGES] = copy[BT_CHANGES] + 1
  copy[BT_CHANGES + VOUCHER_FREE] = copy[BT_CHANGES + VOUCHER_FREE] + (#values - 2) / 2
  values[2] = pack(copy)

  call('MSET', values_of(values))
  return { SUCCESS, taken }
end

-- voucher_batch: a copy takes over what the batch is by now, unless it has a later version; UNKNOWN_SESSION: no voucher of it is here. One that
-- was cancelled while it was made (its first change) has a copy everywhere, so that a maker who is late brings no voucher.
local function voucher_batch(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, version, state, ends, amount, currency, from = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local text, unmade = call('GET', keys[2]), version == 1 and state == BATCH_CANCELLED
  if not text and not unmade then return { UNKNOWN_SESSION } end
  local copy = text and cmsgpack.unpack(text) or { 0, BATCH_MAKING, amount, currency, from, ends, 0, 0, 0, 0, 0 }
  if copy[BT_VERSION] >= version then return { SUCCESS } end
  copy[BT_VERSION], copy[BT_STATE], copy[BT_UNTIL], copy[BT_CHANGES] = version, state, exact(ends), copy[BT_CHANGES] + 1
  local after = pack(copy)

  call('SET', keys[2], after)
  return { SUCCESS }
end

-- Why a voucher that nobody has cannot be had now, or nil.
local function refusal_of(copy, voucher, now, currency)
  if copy[BT_STATE] == BATCH_MAKING or copy[BT_STATE] == BATCH_CREATED then return W_UNKNOWN end
  if copy[BT_STATE] == BATCH_CANCELLED then return W_CANCELLED end
  if voucher[VO_STATE] == VOUCHER_BLOCKED then return W_BLOCKED end
  if copy[BT_STATE] == BATCH_SUSPENDED then return W_SUSPENDED end
  if now < copy[BT_FROM] then return W_NOT_YET end
  if now >= copy[BT_UNTIL] then return W_EXPIRED end
  if currency ~= copy[BT_CURRENCY] then return W_CURRENCY end
  return nil
end

-- voucher_claim. KEYS: part, the voucher, its batch's copy, the claims. A voucher is taken for a top-up (channel, id) of an account; whoever has
-- it already is told its state, the amount, and whose channel it is (any, where the voucher is the identity: `own`). STALE: it is of another batch, or
-- was set free since it was read.
local function voucher_claim(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, batch, frees, channel, id, own, partition, account, currency, name = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local text, copy_text = call('GET', keys[2]), call('GET', keys[3])
  if not text then return { CONFLICT, W_UNKNOWN } end
  local voucher, copy = cmsgpack.unpack(text), copy_text and cmsgpack.unpack(copy_text)
  if voucher[VO_BATCH] ~= batch or voucher[VO_FREES] ~= frees or not copy then return { STALE } end
  local state = voucher[VO_STATE]
  if state == VOUCHER_CLAIMED or state == VOUCHER_USED then
    local same = voucher[VO_ID] == id and voucher[VO_ACCOUNT] == account and (own == 1 or voucher[VO_CHANNEL] == channel)
    if not same then return { CONFLICT, state == VOUCHER_USED and W_USED or W_UNDER_WAY } end
    return { SUCCESS, state, copy[BT_AMOUNT], voucher[VO_CHANNEL], voucher[VO_AT] }
  end
  local why = refusal_of(copy, voucher, now, currency)
  if why then return { CONFLICT, why } end
  count_over(copy, VOUCHER_FREE, VOUCHER_CLAIMED)
  local after = pack({ VOUCHER_CLAIMED, batch, voucher[VO_NUMBER], frees, channel, id, partition, account, now })
  local copy_after, score = pack(copy), format('%.0f', now)

  call('ZADD', keys[4], score, name)
  call('MSET', keys[2], after, keys[3], copy_after)
  return { SUCCESS, VOUCHER_CLAIMED, copy[BT_AMOUNT], channel, now }
end

-- voucher_end. KEYS as of a claim. The claim of a top-up becomes a use, or the voucher is free again; CONFLICT: it is not this top-up's.
local function voucher_end(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, channel, id, account, used, name = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local text, copy_text = call('GET', keys[2]), call('GET', keys[3])
  if not text or not copy_text then return { UNKNOWN_SESSION } end
  local voucher, copy = cmsgpack.unpack(text), cmsgpack.unpack(copy_text)
  if voucher[VO_ID] ~= id or voucher[VO_ACCOUNT] ~= account or voucher[VO_CHANNEL] ~= channel then return { CONFLICT } end
  if voucher[VO_STATE] == VOUCHER_USED then return { used == 1 and SUCCESS or CONFLICT } end
  local to = used == 1 and VOUCHER_USED or VOUCHER_FREE
  count_over(copy, VOUCHER_CLAIMED, to)
  local batch, number = voucher[VO_BATCH], voucher[VO_NUMBER]
  if used == 1 then
    voucher[VO_STATE], voucher[VO_AT] = VOUCHER_USED, now
  else
    voucher = { VOUCHER_FREE, batch, number, voucher[VO_FREES] + 1 }
  end
  local after, copy_after = pack(voucher), pack(copy)

  call('ZREM', keys[4], name)
  call('MSET', keys[2], after, keys[3], copy_after)
  return { SUCCESS }
end

-- voucher_turn: a voucher that nobody has is blocked, or free again. KEYS: part, the voucher, its batch's copy.
local function voucher_turn(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, batch, number, to = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local text, copy_text = call('GET', keys[2]), call('GET', keys[3])
  if not text or not copy_text then return { UNKNOWN_SESSION } end
  local voucher, copy = cmsgpack.unpack(text), cmsgpack.unpack(copy_text)
  if voucher[VO_BATCH] ~= batch or voucher[VO_NUMBER] ~= number then return { UNKNOWN_SESSION } end
  local from = voucher[VO_STATE]
  if from == to then return { SUCCESS, from } end
  if from == VOUCHER_CLAIMED or from == VOUCHER_USED then return { CONFLICT, from } end
  count_over(copy, from, to)
  voucher[VO_STATE] = to
  local after, copy_after = pack(voucher), pack(copy)

  call('MSET', keys[2], after, keys[3], copy_after)
  return { SUCCESS, to }
end

-- voucher_remove: vouchers of a batch that was never active, and is cancelled, go. KEYS: part, the copy, and a voucher for each number.
local function voucher_remove(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, batch, numbers = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local copy_text = call('GET', keys[2])
  if not copy_text then return { SUCCESS } end
  local copy, gone = cmsgpack.unpack(copy_text), {}
  for i = 1, #numbers do
    local text = call('GET', keys[i + 2])
    local voucher = text and cmsgpack.unpack(text)
    if voucher and voucher[VO_BATCH] == batch and voucher[VO_NUMBER] == numbers[i] then
      local state = voucher[VO_STATE]
      if state == VOUCHER_CLAIMED or state == VOUCHER_USED then error('a voucher of a batch that was never active is used') end
      gone[#gone + 1] = keys[i + 2]
      copy[BT_CHANGES + state] = copy[BT_CHANGES + state] - 1
    end
  end
  if #gone == 0 then return { SUCCESS } end
  copy[BT_CHANGES] = copy[BT_CHANGES] + 1
  local after = pack(copy)

  call('DEL', values_of(gone))
  call('SET', keys[2], after)
  return { SUCCESS }
end

-- voucher_head: a batch's own row takes the place of the one that was read ('' for none); 0 when something else stands there by now.
local function voucher_head(keys, args)
  if not call then fetch() end
  if (call('HGET', keys[1], args[1]) or '') ~= args[2] then return 0 end

  call('HSET', keys[1], args[1], args[3])
  return 1
end

-- voucher_wrong: a code that is none was tried. KEYS: part, the tries of a subscriber or of a channel: how many since when, and until when it is locked.
-- So many in a window lock; until when is returned, 0: not locked.
local function voucher_wrong(keys, args)
  if not call then fetch() end
  local part = args[1]
  local now, offset, skew, tries, window_ms, lock_ms = unpack(cmsgpack.unpack(args[2]))
  local refused = guard(call('GET', keys[1]), part, now, offset, skew)
  if refused then return { refused } end
  local text = call('GET', keys[2])
  local kept = text and cmsgpack.unpack(text) or { 0, now, 0 }
  if kept[3] > now then return { SUCCESS, kept[3] } end
  if kept[3] > 0 or now - kept[2] >= window_ms or now < kept[2] then kept = { 0, now, 0 } end
  kept[1] = kept[1] + 1
  if kept[1] >= tries then kept[3] = now + lock_ms end
  local after, life = pack(kept), life_of(kept[3] > 0 and lock_ms or window_ms)

  call('SET', keys[2], after, 'PX', life)
  return { SUCCESS, kept[3] }
end

redis.register_function('voucher_add_VERSION', voucher_add)
redis.register_function('voucher_batch_VERSION', voucher_batch)
redis.register_function('voucher_claim_VERSION', voucher_claim)
redis.register_function('voucher_end_VERSION', voucher_end)
redis.register_function('voucher_turn_VERSION', voucher_turn)
redis.register_function('voucher_remove_VERSION', voucher_remove)
redis.register_function('voucher_head_VERSION', voucher_head)
redis.register_function('voucher_wrong_VERSION', voucher_wrong)
