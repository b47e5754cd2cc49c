-- Words: outcomes, states, record kinds and packing, the same as in ocs/outcomes.py and ocs/records.py (a test compares them).
--
-- Laws of this library
-- 1. A function reads, computes and asserts first, and writes last; after its first write nothing can fail.
-- 2. Every key is in KEYS. Nothing that holds money expires.
-- 3. Numbers are integers below 2^53; they become text by %.0f, never by .. or tostring.

local EPOCH, SKEW, CONFLICT, SEEN, UNKNOWN_SUBSCRIBER, UNKNOWN_SESSION = 1, 2, 3, 4, 5, 6
local STALE, SESSIONS_FULL, EXISTS, LIMIT, BARRED, UNRATED, CREDIT_LIMIT, SUCCESS = 7, 8, 9, 10, 11, 12, 13, 14
local REPLAY, OVERRUN, QUARANTINE, LATE, WHERE, STANDING, RENEWED, CROSSED, GAP = 1, 2, 4, 8, 16, 32, 64, 128, 256
local INITIAL, UPDATE, TERMINATION = 1, 2, 3
local ACTIVE, BAR, TERMINATED = 1, 2, 3
local SECONDS_UNIT = 2
local OPEN, CLOSED, EXPIRED, REFUSED = 1, 2, 3, 4
local RECORD_VERSION = 4
local K_CHARGE, K_EXPIRE, K_TOPUP, K_ACCOUNT, K_EPOCH, K_ROWS, K_MOVED = 1, 2, 3, 4, 5, 6, 7
local EXACT_MAX = 9007199254740991
local BOOK_MAX = 4503599627370496
local WORD = 4294967296
local KNOWN_MAX = 1000
-- In a plan, where a text of the session stands that it was made for: whatever that is.
local ANY = '-'
-- Before the name of a session of accounting (ocs/records.py).
local ACCOUNTING = 'rf '

-- The store's own functions. They cannot be seen while a library is loaded, and finding one in the store's table of
-- globals at every use is a tenth of a charge's work: the first call of a function fetches them.
local call, pack, unpack_from, struct_pack, struct_unpack, bor, format, byte, sub, values_of, concat

local function fetch()
  call, pack, unpack_from = redis.call, cmsgpack.pack, cmsgpack.unpack_limit
  struct_pack, struct_unpack, bor, format = struct.pack, struct.unpack, bit.bor, string.format
  byte, sub, values_of, concat = string.byte, string.sub, unpack, table.concat
end

local function exact(n)
  if n ~= n or n > EXACT_MAX or n < -EXACT_MAX or n % 1 ~= 0 then error('beyond the exact range of the store') end
  return n
end

-- A time to live as text; the store refuses one of nothing, and a write must not be refused (law 1).
local function life_of(ms)
  if exact(ms) < 1 then error('a time to live below 1 ms') end
  return format('%.0f', ms)
end

-- Arrays of 16 values and more are read without their header (three octets) and their first value, a small number: the
-- values come straight onto the stack and into a table of the right size, where cmsgpack would grow a table value by
-- value (a third of a call's time, and most of its garbage). The place of the first value is taken by a number that
-- means nothing.
local VALUES_OFFSET, VALUES_MAX = 4, 100000

local function read_array(text)
  return { unpack_from(text, VALUES_MAX, VALUES_OFFSET) }
end

-- `make`, which gives the same for the same text, called once for each text while no more than KNOWN_MAX are known.
local function remembering(make)
  local known, count = {}, 0
  return function(text)
    local made = known[text]
    if not made then
      if count >= KNOWN_MAX then known, count = {}, 0 end
      made = make(text)
      known[text], count = made, count + 1
    end
    return made
  end
end

-- Arrays that come as text and are the same for many requests: a tariff's ladders, a worker's rules.
local array_of = remembering(function(text) return cmsgpack.unpack(text) end)

-- A book: credits and posted are totals since the account was opened; balance = credits - posted, floor <= 0. Active until
-- B_UNTIL (0: without end, -1: not used yet). Behind these fields stand B_ROWS rows of R_WIDTH fields, buckets and counters; a
-- row is told by its base `w`: book[w + R_USED]. In the store money and units are doubles, exact as every number here is, and
-- written in half the time of an array. A member of a shared account has a book of its own, of the same shape.
local B_CREDITS, B_POSTED, B_PENDING, B_FLOOR, B_SEQUENCE, B_VERSION, B_STATUS, B_OPEN, B_UNTIL = 1, 2, 3, 4, 5, 6, 7, 8, 9
local B_ROWS, B_FIXED = 10, 10
local R_ID, R_UNIT, R_START, R_UNTIL, R_AMOUNT, R_USED, R_PENDING = 1, 2, 3, 4, 5, 6, 7
-- ROWS_KEPT may be bought; the others are left for counters, which come by themselves.
local R_WIDTH, ROWS_OCTET, ROWS_MAX, ROWS_KEPT, OPENED_WIDTH = 7, 73, 250, 100, 8
local BOOK_FORMAT, BOOK_ROW_FORMAT = '<dddddddddB', 'I4BI6I6ddd'
-- Ids from here on are counters, the others buckets. What has ended is kept for late reports.
local COUNTER_IDS, ROW_KEPT_MS = 2147483648, 259200000

-- Formats by the number of rows, made once each.
local book_formats = {}

local function book_format(rows)
  local made = book_formats[rows]
  if not made then
    made = BOOK_FORMAT .. BOOK_ROW_FORMAT:rep(rows)
    book_formats[rows] = made
  end
  return made
end

local function read_book(text)
  return { struct_unpack(book_format(byte(text, ROWS_OCTET)), text) }
end

local function write_book(book)
  local rows = book[B_ROWS]
  return struct_pack(book_format(rows), values_of(book, 1, B_FIXED + rows * R_WIDTH))
end

-- What a grant may hold, or a product cost, at most.
local function available_of(book)
  return book[B_CREDITS] - book[B_POSTED] - book[B_PENDING] - book[B_FLOOR]
end

-- The base of a book's row, or nil.
local function find_row(book, id, start)
  for w = B_FIXED, B_FIXED + (book[B_ROWS] - 1) * R_WIDTH, R_WIDTH do
    if book[w + R_ID] == id and book[w + R_START] == start then return w end
  end
  return nil
end

-- Add a row as it is to a list of the record (ocs/records.py, Opened).
local function list_row(list, is_own, book, w)
  list[#list + 1] = is_own and 1 or 0
  for i = 1, R_WIDTH do list[#list + 1] = book[w + i] end
end

-- Take away what ended so long ago that nobody reports on it any more, where nothing is held; `buckets` too, or counters only.
-- What goes is listed in `gone`, where there is such a list.
local function sweep_rows(book, now, buckets, gone, is_own)
  local kept = B_FIXED
  for w = B_FIXED, B_FIXED + (book[B_ROWS] - 1) * R_WIDTH, R_WIDTH do
    local ended = book[w + R_UNTIL] + ROW_KEPT_MS <= now and book[w + R_PENDING] == 0
    if ended and (buckets or book[w + R_ID] >= COUNTER_IDS) then
      if gone then list_row(gone, is_own, book, w) end
    else
      for i = 1, R_WIDTH do book[kept + i] = book[w + i] end
      kept = kept + R_WIDTH
    end
  end
  book[B_ROWS] = (kept - B_FIXED) / R_WIDTH
end

-- Make room for a row where there is none: the counter that ended first goes before its time.
local function make_room(book, now)
  local oldest = nil
  for w = B_FIXED, B_FIXED + (book[B_ROWS] - 1) * R_WIDTH, R_WIDTH do
    local ended = book[w + R_ID] >= COUNTER_IDS and book[w + R_UNTIL] <= now and book[w + R_PENDING] == 0
    if ended and (not oldest or book[w + R_UNTIL] < book[oldest + R_UNTIL]) then oldest = w end
  end
  if not oldest then error('a book of too many rows') end
  for w = oldest, B_FIXED + (book[B_ROWS] - 2) * R_WIDTH, R_WIDTH do
    for i = 1, R_WIDTH do book[w + i] = book[w + R_WIDTH + i] end
  end
  book[B_ROWS] = book[B_ROWS] - 1
end

local function add_row(book, id, unit, start, until_ms, amount)
  if book[B_ROWS] >= ROWS_MAX then error('a book of too many rows') end
  local w = B_FIXED + book[B_ROWS] * R_WIDTH
  book[w + R_ID], book[w + R_UNIT], book[w + R_START], book[w + R_UNTIL] = id, unit, start, until_ms
  book[w + R_AMOUNT], book[w + R_USED], book[w + R_PENDING] = amount, 0, 0
  book[B_ROWS] = book[B_ROWS] + 1
  return w
end

-- The epoch of the store and our clock, checked before anything else: EPOCH, SKEW, or nil when both hold. `kept` is what
-- the store keeps of the partition, `part` what the caller knows of it.
local function guard(kept, part, now, offset, skew)
  if kept ~= part then return EPOCH end
  local time = call('TIME')
  local ahead = now - offset - time[1] * 1000 - time[2] / 1000
  if ahead > skew or ahead < -skew then return SKEW end
  return nil
end

-- Records go to the partition's stream under <epoch>-<next>, dense inside an epoch.
local stream_id = remembering(function(part) return part:match('^%d+') .. '-*' end)
