"""The versioned records on the partitions' streams: the one road from charging to everything else.

Laws
1. A record is written by the same call that moved the money, and never changed.
2. Every record of an account carries its dense sequence number and the book after it (credits, posted, pending).
3. The first field is the record's version; a reader that does not know it stops and says so.

Records travel as flat MessagePack arrays in the order of the fields below; the lines of a charge follow its other fields,
one after the other (ocs/balance/functions/charge.lua, account.lua, moves.lua), then what was taken of rows, and last the correlation, where there is one.
"""

from collections.abc import Sequence
from enum import IntEnum
from itertools import takewhile
from typing import Any, NamedTuple

VERSION = 4
EVENT = 4
"""CC-Request-Type of a one-time event, as a charge's ``kind`` has it."""
ACCOUNTING = "rf "
"""Before the Session-Id in the name of a session of offline charging: a Session-Id begins with a DiameterIdentity, which has no blank."""
RESERVATION = ACCOUNTING + " "
"""Before channel and id in the name of the session that a reservation is: like one of accounting's, it is asked nothing."""

BONUS = "bonus "
"""Before the name of a top-up, "<channel>:<id>", in the cause of the rows that it brought."""


class Kind(IntEnum):
    """What a record tells of."""

    CHARGE = 1
    EXPIRE = 2
    TOPUP = 3
    ACCOUNT = 4
    EPOCH = 5
    ROWS = 6
    MOVED = 7


class ActionKind(IntEnum):
    """What moved money that no network element charged (ocs/balance/actions.py); the last two stand in records alone."""

    TOPUP = 1
    ADJUST = 2
    TRANSFER = 3
    RESERVE = 4
    REFUND = 5
    EMERGENCY = 6
    REVERSAL = 7
    REPAYMENT = 8


class SessionState(IntEnum):
    """State of a session after a charge."""

    OPEN = 1
    CLOSED = 2
    EXPIRED = 3
    REFUSED = 4


class Status(IntEnum):
    """State of an account."""

    ACTIVE = 1
    BARRED = 2
    TERMINATED = 3


class Line(NamedTuple):
    """One service of a charge: what was posted, what was set aside, and what is granted and held since.

    ``rate`` is the mark of the version, rate and window on which the units were posted (tariff.py, law 5), "" where nothing was. Of ``posted_units``, allowances had
    ``allowance_units``; the others cost ``priced_micros``, of which the account paid ``amount_micros``. A line with the code 0 is of no service of
    the request: another of a credit pool, of which nothing moved but the hold.
    """

    key: str
    unit: int
    code: int
    posted_units: int
    quarantined_units: int
    position: int
    amount_micros: int
    posted_micros: int
    granted_units: int
    hold_micros: int
    rate: str
    priced_micros: int
    allowance_units: int


class Taken(NamedTuple):
    """What a charge took of one row, or counted on it: for which line (from 1), in whose book (1: the member's own), by which kind of
    source (ocs/rating/sources.py), and what the row had used after it, in the row's units or micro-units.
    """

    line: int
    own: int
    kind: int
    id: int
    start_ms: int
    taken: int
    used_after: int


class Charge(NamedTuple):
    """One credit-control request that was looked at; ``tariff`` is the version that its session was on when it came; ``facts`` is what its session was priced by (charging/information.py).

    ``member`` is the member of a shared account ("" where there is none), with what its own book has posted and holds; ``until_ms``
    where the life of the account's balance ends. A one-time event is no session's, whatever its Session-Id: it holds nothing, and its
    ``state`` is CLOSED. Of a refund all figures of what moved are negative, and ``facts`` names the debit: its number, a colon, its
    Session-Id. ``correlation`` is the request's CC-Correlation-Id (RFC 8506 section 8.1), octets that are no UTF-8 as surrogates; "" where it
    had none, as in older records. A record of offline charging (``is_accounting``) has the kind of the request that it is like: START 1,
    INTERIM 2, STOP 3, EVENT 4; its session is named ACCOUNTING and the Session-Id, is granted and holds nothing.
    """

    account: str
    sequence: int
    now_ms: int
    at_ms: int
    session_id: str
    kind: int
    number: int
    code: int
    notes: int
    tariff: str
    credits_micros: int
    posted_micros: int
    pending_micros: int
    state: int
    facts: str
    member: str
    own_posted_micros: int
    own_pending_micros: int
    until_ms: int
    lines: tuple[Line, ...]
    parts: tuple[Taken, ...] = ()
    correlation: str = ""

    @property
    def is_event(self) -> bool:
        """Tell whether it was a one-time event."""
        return self.kind == EVENT

    @property
    def is_accounting(self) -> bool:
        """Tell whether it was an accounting record of offline charging."""
        return self.session_id.startswith(ACCOUNTING)

    @property
    def is_refund(self) -> bool:
        """Tell whether it gave something back."""
        return self.kind == EVENT and any(line.posted_units < 0 for line in self.lines)


SILENT, ENDED, RESTARTED = 0, 1, 2
"""Why a session was ended without its client: supervision, an operator's word, or a client that has restarted without it."""


class Expire(NamedTuple):
    """A session ended without its client, ``forced`` says why (SILENT, ENDED, RESTARTED); its holds were void."""

    account: str
    sequence: int
    now_ms: int
    session_id: str
    held_micros: int
    forced: int
    member: str
    own_posted_micros: int
    own_pending_micros: int
    credits_micros: int
    posted_micros: int
    pending_micros: int


class Topup(NamedTuple):
    """Money came in under a channel's id; ``until_ms`` is where the life of the balance ends since, ``voucher`` the serial of what it came from."""

    account: str
    sequence: int
    now_ms: int
    channel: str
    id: str
    amount_micros: int
    until_ms: int
    credits_micros: int
    posted_micros: int
    pending_micros: int
    voucher: str = ""


class Account(NamedTuple):
    """An account, or a member of it, was opened or amended; ``profile`` is the packed profile, ``status`` that of the member."""

    account: str
    sequence: int
    now_ms: int
    version: int
    status: int
    floor_micros: int
    profile: str
    member: str
    until_ms: int
    credits_micros: int
    posted_micros: int
    pending_micros: int


class Opened(NamedTuple):
    """A row as it came or was changed, or as it was when it went; ``own`` 1 in the member's own book."""

    own: int
    id: int
    unit: int
    start_ms: int
    until_ms: int
    amount: int
    used: int
    pending: int


class Rows(NamedTuple):
    """Buckets came, or lost what was rolled over, by a product bought or renewed or a bonus, at a price; ``gone`` are rows that had
    ended long ago.

    ``profile`` is the packed profile since then ("" where it stays), ``version`` the account's. The own figures are as in Charge.
    """

    account: str
    sequence: int
    now_ms: int
    cause: str
    price_micros: int
    profile: str
    version: int
    member: str
    own_posted_micros: int
    own_pending_micros: int
    credits_micros: int
    posted_micros: int
    pending_micros: int
    rows: tuple[Opened, ...]
    gone: tuple[Opened, ...] = ()


class Moved(NamedTuple):
    """An action moved money, or a bucket (ocs/balance/actions.py): what came in (negative: was taken back), what was posted (negative: given back),
    what its reservation holds since, and what the account owes since for emergency credit.

    ``kind`` is an ActionKind, ``channel`` and ``id`` are the action's; ``member`` is whose bucket it is, or who is terminated with it;
    ``counterpart`` the place of the other side of a transfer, "<partition> <path>"; ``until_ms`` where the life of the balance ends;
    ``rows`` the bucket as it is since.
    """

    account: str
    sequence: int
    now_ms: int
    kind: int
    channel: str
    id: str
    member: str
    counterpart: str
    reason: str
    credited_micros: int
    taken_micros: int
    held_micros: int
    owed_micros: int
    until_ms: int
    credits_micros: int
    posted_micros: int
    pending_micros: int
    rows: tuple[Opened, ...] = ()

    @property
    def session_id(self) -> str:
        """Return the name of the session that a reservation is."""
        return reservation(self.channel, self.id)


def reservation(channel: str, action_id: str) -> str:
    """Return the name of the session that a reservation is."""
    return f"{RESERVATION}{channel}:{action_id}"


class Epoch(NamedTuple):
    """The store is another process than before: its new epoch, and the last id of the stream until then."""

    account: str
    sequence: int
    now_ms: int
    epoch: int
    last_id: str
    run_id: str


Record = Charge | Expire | Topup | Account | Epoch | Rows | Moved

_LINE_WIDTH, _TAKEN_WIDTH = len(Line._fields), len(Taken._fields)
_SHAPES: dict[int, Any] = {
    Kind.CHARGE: Charge,
    Kind.EXPIRE: Expire,
    Kind.TOPUP: Topup,
    Kind.ACCOUNT: Account,
    Kind.EPOCH: Epoch,
    Kind.ROWS: Rows,
    Kind.MOVED: Moved,
}


class RecordError(ValueError):
    """A record of another version, or not of its kind's shape, or octets that are no record."""


def read(fields: Any) -> Record:
    """Read an unpacked record; raises RecordError, and nothing else, when it is not one of version VERSION.

    A field of another type is one of a damaged file: it is told here, not by whoever adds it up.
    """
    if not isinstance(fields, list | tuple) or len(fields) < 2 or fields[0] != VERSION:
        version = fields[0] if isinstance(fields, list | tuple) and fields else None
        raise RecordError(f"a record of version {version!r}; this reader knows {VERSION}")
    shape = _SHAPES.get(fields[1]) if type(fields[1]) is int else None
    if shape is None:
        raise RecordError(f"a record of kind {fields[1]!r}")
    if shape is Topup and len(fields) == len(Topup._fields) + 1:
        fields = (*fields, "")  # of no voucher: it ends before
    _hold(shape, fields[2:], _TYPES[shape])
    if shape in _LISTED:
        listed: Record = _LISTED[shape](fields)
        return listed
    if len(fields) != len(shape._fields) + 2:
        raise RecordError(f"a record of kind {fields[1]!r} with {len(fields)} fields")
    made: Record = shape._make(fields[2:])
    return made


def _types(shape: Any) -> tuple[type, ...]:
    """Return the types of the fields that a shape has in every record: those before the rows of a list."""
    return tuple(takewhile(lambda kind: kind in {int, str}, shape.__annotations__.values()))


def _hold(shape: Any, fields: Sequence[Any], types: tuple[type, ...]) -> None:
    """Hold fields to their types."""
    if tuple(map(type, fields[: len(types)])) != types:
        raise RecordError(f"a {shape.__name__} whose fields are of other types")


def _rows(shape: Any, fields: Sequence[Any]) -> tuple[Any, ...]:
    """Read rows that follow one another."""
    types = _TYPES[shape]
    width = len(types)
    for at in range(0, len(fields), width):
        _hold(shape, fields[at : at + width], types)
    return tuple(shape._make(fields[at : at + width]) for at in range(0, len(fields), width))


def _read_charge(fields: Sequence[Any]) -> Charge:
    # two fields before Charge's own, and behind them, where its lines and parts would stand, the number of lines
    first = len(Charge._fields)
    count = _count(fields, first)
    parted = first + count * _LINE_WIDTH
    if count < 0 or len(fields) < parted:
        raise RecordError(f"a charge with {len(fields)} fields")
    end, rest = len(fields), (len(fields) - parted) % _TAKEN_WIDTH
    correlation = ""
    if rest == 1 and isinstance(fields[-1], str):
        end, correlation = end - 1, fields[-1]
    elif rest:
        raise RecordError(f"a charge with {len(fields)} fields")
    lines = _rows(Line, fields[first:parted])
    return Charge._make((*fields[2 : first - 1], lines, _rows(Taken, fields[parted:end]), correlation))


def _read_rows(fields: Sequence[Any]) -> Rows:
    first, width = len(Rows._fields) + 1, len(Opened._fields)
    count = _count(fields, first)
    if count < 0 or len(fields) < first + count * width or (len(fields) - first) % width:
        raise RecordError(f"a record of rows with {len(fields)} fields")
    listed = _rows(Opened, fields[first:])
    return Rows._make((*fields[2 : first - 1], listed[:count], listed[count:]))


_ACTION_KINDS = frozenset(map(int, ActionKind))


def _read_moved(fields: Sequence[Any]) -> Moved:
    first = len(Moved._fields) + 1
    if len(fields) < first or (len(fields) - first) % len(Opened._fields):
        raise RecordError(f"a record of an action with {len(fields)} fields")
    if fields[5] not in _ACTION_KINDS:
        raise RecordError(f"a record of an action of kind {fields[5]}")
    return Moved._make((*fields[2:first], _rows(Opened, fields[first:])))


def _count(fields: Sequence[Any], first: int) -> int:
    """Return how many rows there are before field ``first``'s, -1 where it is no number."""
    count = fields[first - 1] if len(fields) >= first else -1
    return count if type(count) is int else -1


_LISTED: dict[Any, Any] = {Charge: _read_charge, Rows: _read_rows, Moved: _read_moved}
_TYPES: dict[Any, tuple[type, ...]] = {
    shape: _types(shape) for shape in (*_SHAPES.values(), Line, Taken, Opened)
}
