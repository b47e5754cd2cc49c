"""What a charging call can end in, as one ordered enum shared with the Lua library.

Laws
1. The order is the precedence: when several hold, the smallest number wins (DESIGN law 11).
2. An outcome is not an exception: it is the answer.
3. The same names and numbers stand in ocs/balance/functions/ocs.lua; a test compares them.
"""

from enum import IntEnum, IntFlag


class Code(IntEnum):
    """Ordered outcome of a request or of one service in it."""

    EPOCH = 1  # the link talked to another incarnation of the store: ask its epoch again, then repeat
    SKEW = 2  # our clock and the store's differ by more than the limit
    CONFLICT = 3  # the same identity with other content
    SEEN = 4  # a number that was seen, but whose outcome is no longer kept, or that lies below the window
    UNKNOWN_SUBSCRIBER = 5
    UNKNOWN_SESSION = 6
    STALE = 7  # the plan was made with another profile version or tariff: make it again
    SESSIONS_FULL = 8  # the subscriber has as many open sessions as limits allow
    EXISTS = 9  # the account is there already
    LIMIT = 10  # an amount would leave the exact range of the store
    BARRED = 11
    UNRATED = 12
    CREDIT_LIMIT = 13
    SUCCESS = 14


class Note(IntFlag):
    """What else happened in a call; counted in metrics and kept in the record."""

    REPLAY = 1
    OVERRUN = 2
    QUARANTINE = 4
    LATE = 8
    WHERE = 16  # the reader should write where:<Session-Id> again
    STANDING = 32  # a late lower number was answered with the standing grant
    RENEWED = 64  # a product was renewed with it: the profile is another by now
    CROSSED = 128  # it used up an allowance, or reached a spend cap: what the account's other sessions get is another by now
    GAP = 256  # accounting records are missing before this one; in their records and replies alone, an outcome has one octet


RESULT_CODES: dict[Code, int] = {
    Code.EPOCH: 3004,  # RFC 6733 section 7.1.3 DIAMETER_TOO_BUSY: the client sends it elsewhere or again
    Code.SKEW: 3004,
    Code.STALE: 3004,
    Code.CONFLICT: 5012,  # RFC 6733 section 7.1.5 DIAMETER_UNABLE_TO_COMPLY
    Code.SEEN: 5012,
    Code.UNKNOWN_SUBSCRIBER: 5030,  # RFC 8506 section 9.2 DIAMETER_USER_UNKNOWN
    Code.UNKNOWN_SESSION: 5002,  # RFC 6733 section 7.1.5 DIAMETER_UNKNOWN_SESSION_ID
    Code.SESSIONS_FULL: 4010,
    Code.EXISTS: 5012,
    Code.LIMIT: 5012,
    Code.BARRED: 4010,  # RFC 8506 section 9.1 DIAMETER_END_USER_SERVICE_DENIED
    Code.UNRATED: 5031,  # RFC 8506 section 9.2 DIAMETER_RATING_FAILED
    Code.CREDIT_LIMIT: 4012,  # RFC 8506 section 9.1 DIAMETER_CREDIT_LIMIT_REACHED
    Code.SUCCESS: 2001,
}
"""Diameter Result-Code of each outcome."""
