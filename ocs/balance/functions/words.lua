-- Words: outcomes, states, record kinds and packing, the same as in ocs/outcomes.py and ocs/records.py (a test compares them).
--
-- Laws of this library
-- 1. A function reads, computes and asserts first, and writes last; after its first write nothing can fail.
-- 2. Every key is in KEYS. Nothing that holds money expires.
-- 3. Numbers are integers below 2^53; they become text by %.0f, never by .. or tostring.

local EPOCH, SKEW, CONFLICT, SEEN, UNKNOWN_SUBSCRIBER, UNKNOWN_SESSION = 1, 2, 3, 4, 5, 6
local STALE, SESSIONS_FULL, EXISTS, LIMIT, BARRED, UNRATED, CREDIT_LIMIT, SUCCESS = 7, 8, 9, 10, 11, 12, 13, 14
local REPLAY, OVERRUN, QUARANTINE, LATE, WHERE, STANDING = 1, 2, 4, 8, 16, 32
local INITIAL, UPDATE, TERMINATION = 1, 2, 3
local ACTIVE, BAR, TERMINATED = 1, 2, 3
local OPEN, CLOSED, EXPIRED, REFUSED = 1, 2, 3, 4
local RECORD_VERSION = 1
local R_CHARGE, R_EXPIRE, R_TOPUP, R_ACCOUNT, R_EPOCH = 1, 2, 3, 4, 5
local EXACT_MAX = 9007199254740991
local BOOK_MAX = 4503599627370496


local function exact(n)
  if n ~= n or n > EXACT_MAX or n < -EXACT_MAX or n % 1 ~= 0 then error('beyond the exact range of the store') end
  return n
end

-- A time to live as text; the store refuses one of nothing, and a write must not be refused (law 1).
local function life_of(ms)
  if exact(ms) < 1 then error('a time to live below 1 ms') end
  return string.format('%.0f', ms)
end

-- A book: credits and posted are totals since the account was opened; balance = credits - posted, floor <= 0.
local B_CREDITS, B_POSTED, B_PENDING, B_FLOOR, B_SEQUENCE, B_VERSION, B_STATUS, B_OPEN = 1, 2, 3, 4, 5, 6, 7, 8

-- The epoch of the store and our clock, checked before anything else: EPOCH, SKEW, or nil when both hold.
local function guard(part_key, part, now, offset, skew)
  if redis.call('GET', part_key) ~= part then return EPOCH end
  local time = redis.call('TIME')
  local store = time[1] * 1000 + math.floor(time[2] / 1000) + offset
  if now - store > skew or store - now > skew then return SKEW end
  return nil
end

-- Records go to the partition's stream under <epoch>-<next>, dense inside an epoch.
local function stream_id(part)
  return part:match('^%d+') .. '-*'
end

-- Arrays are read without their header: the values come straight onto the stack and into a table of the right size, where
-- cmsgpack would grow a table value by value (a third of a call's time, and most of its garbage). A header is one octet
-- up to 15 values, three from 16 on.
local function read_short(text)
  return { cmsgpack.unpack(text:sub(2)) }
end

local function read_long(text)
  return { cmsgpack.unpack(text:sub(4)) }
end
