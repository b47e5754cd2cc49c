"""The versioned records on the partitions' streams: the one road from charging to everything else.

Laws
1. A record is written by the same call that moved the money, and never changed.
2. Every record of an account carries its dense sequence number and the book after it (credits, posted, pending).
3. The first field is the record's version; a reader that does not know it stops and says so.

Records travel as flat MessagePack arrays in the order of the fields below; the lines of a charge follow its other fields,
one after the other (ocs/balance/functions/charge.lua, account.lua).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

VERSION = 3


class Kind(IntEnum):
    """What a record tells of."""

    CHARGE = 1
    EXPIRE = 2
    TOPUP = 3
    ACCOUNT = 4
    EPOCH = 5
    ROWS = 6


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

    ``rate`` is the mark of the rate on which the units were posted (rates.py, Rate.mark). Of the units posted, an allowance had
    ``allowance_units``; the others were priced at ``priced_micros``, of which the account paid ``amount_micros``.
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
    priced_micros: int = 0
    allowance_units: int = 0


class Taken(NamedTuple):
    """What posting one line (counted from 0) took of a row, and what is used of the row after it; ``own`` as in Source."""

    line: int
    own: int
    kind: int
    id: int
    start_ms: int
    taken: int
    used_after: int


class Charge(NamedTuple):
    """One credit-control request that was looked at; ``facts`` is what its session was priced by (charging/information.py).

    ``own_posted_micros`` and ``own_pending_micros`` are of the book that a member of a shared account has of its own; of the
    account's where there is no ``member``.
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
    lines: tuple[Line, ...]
    member: str = ""
    own_posted_micros: int = 0
    own_pending_micros: int = 0
    parts: tuple[Taken, ...] = ()


class Expire(NamedTuple):
    """A session ended without its client: by supervision, or (forced) by an operator; its holds were void."""

    account: str
    sequence: int
    now_ms: int
    session_id: str
    held_micros: int
    forced: int
    credits_micros: int
    posted_micros: int
    pending_micros: int


class Topup(NamedTuple):
    """Money came in under a channel's id."""

    account: str
    sequence: int
    now_ms: int
    channel: str
    id: str
    amount_micros: int
    credits_micros: int
    posted_micros: int
    pending_micros: int


class Account(NamedTuple):
    """An account was opened or amended; ``profile`` is the packed profile."""

    account: str
    sequence: int
    now_ms: int
    version: int
    status: int
    floor_micros: int
    profile: str
    credits_micros: int
    posted_micros: int
    pending_micros: int


class Rows(NamedTuple):
    """Rows were opened for a price, for a cause; each as (id, unit, start_ms, until_ms, amount)."""

    account: str
    sequence: int
    now_ms: int
    cause: str
    price_micros: int
    rows: tuple[tuple[int, int, int, int, int], ...]
    credits_micros: int
    posted_micros: int
    pending_micros: int


class Epoch(NamedTuple):
    """The store is another process than before: its new epoch, and the last id of the stream until then."""

    account: str
    sequence: int
    now_ms: int
    epoch: int
    last_id: str
    run_id: str


Record = Charge | Expire | Topup | Account | Epoch | Rows

_SHAPES: dict[int, Any] = {
    Kind.CHARGE: Charge,
    Kind.EXPIRE: Expire,
    Kind.TOPUP: Topup,
    Kind.ACCOUNT: Account,
    Kind.EPOCH: Epoch,
}


class RecordError(ValueError):
    """A record of another version, or not of its kind's shape."""


def read(fields: Sequence[Any]) -> Record:
    """Read an unpacked record; raises RecordError when it is not one of version VERSION."""
    if len(fields) < 2 or fields[0] != VERSION:
        raise RecordError(
            f"a record of version {fields[0] if fields else None!r}; this reader knows {VERSION}"
        )
    shape = _SHAPES.get(fields[1])
    if shape is Charge:
        return _read_charge(fields)
    if shape is None or len(fields) != len(shape._fields) + 2:
        raise RecordError(f"a record of kind {fields[1]!r} with {len(fields)} fields")
    made: Record = shape._make(fields[2:])
    return made


def _read_charge(fields: Sequence[Any]) -> Charge:
    width, first = (
        Line._fields.index("priced_micros"),
        Charge._fields.index("lines") + 2,
    )  # as the library writes it today
    if len(fields) < first or (len(fields) - first) % width:
        raise RecordError(f"a charge with {len(fields)} fields")
    lines = tuple(Line(*fields[at : at + width]) for at in range(first, len(fields), width))
    told: tuple[Any, ...] = (*fields[2:first], lines)
    return Charge(*told)
