"""Books and sessions, said a second time, for the model: whose money and rows there are, and what the sessions hold on them.

Laws
1. Sums are made anew from the services and their parts each time, never kept.
2. Who is a member of a shared account pays from the account's book, and has a book of its own beside it, which says what this
   member spent and holds. Without a member both are one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from ocs.balance.model_prices import NOWHERE, UNUSED, Offer, Place, Used, version
from ocs.balance.model_rows import Part, Row, RowKey
from ocs.charging.outcome import Outcome
from ocs.rating.sources import Source
from ocs.records import Record, SessionState, Status
from ocs.units import Unit


class Terms(NamedTuple):
    """What config says: most units of a grant and greatest rate by unit (in the order of Unit), lives in time.

    ``chosen`` is what is granted where nothing is asked (None: the most); with ``adapt_s`` such a grant follows the speed of use up to
    the most, and what it has beyond costs at most ``share`` per cent of the money; ``restricts``: the end of credit is no refusal. ``money`` is
    what is granted of money where nothing is asked; ``currency`` the number of the accounts' (ISO
    4217), ``pools`` are the credit pools of rating groups (0: none), None those of all others.
    """

    most: tuple[int, int, int, int]
    rate_max: tuple[int, int, int, int]
    validity_s: int
    supervision_ms: int
    tombstone_ms: int
    chosen: tuple[int, int, int] | None = None
    adapt_s: int = 0
    share: int = 0
    restricts: bool = False
    money: int = 0
    pools: Mapping[int | None, int] = {}
    currency: int = 978


@dataclass(slots=True)
class Service:
    """One service that was granted in a session; ``granted_ms`` is when it last asked and was answered.

    ``mark`` is its rate, of the version ``offer``.
    """

    unit: Unit = Unit.OCTETS
    used: Used = UNUSED
    mark: str = ""
    offer: Offer | None = None
    posted_micros: int = 0
    grant: int = 0
    hold_micros: int = 0
    number: int = -1
    granted_ms: int = 0
    final: bool = False
    pool: int = 0
    parts: list[Part] = field(default_factory=list)

    @property
    def rate(self) -> str:
        """Return its rate as sessions and records name it, with its version."""
        return f"{version(self.offer)}:{self.mark}" if self.offer is not None else ""

    def let_go(self) -> None:
        """Hold nothing on the rows any more."""
        for part in self.parts:
            part.held = 0


class Remembered(NamedTuple):
    """One of the last outcomes of a session."""

    kind: int
    number: int
    digest: int
    outcome: Outcome


@dataclass(slots=True)
class Session:
    """A session or its tombstone."""

    account: str
    offer: Offer
    member: str = ""
    state: SessionState = SessionState.OPEN
    due_ms: int = 0
    services: dict[str, Service] = field(default_factory=dict)
    place: Place = NOWHERE
    numbers: set[int] = field(default_factory=set)
    remembered: list[Remembered] = field(default_factory=list)
    asks: ClassVar[bool] = True
    """Whether it is one of credit-control, whose client asks."""

    @property
    def held_micros(self) -> int:
        """Return what the session's services hold together."""
        return sum(each.hold_micros for each in self.services.values())

    def void(self) -> int:
        """Release every hold; return what was held of money."""
        held = self.held_micros
        for each in self.services.values():
            each.hold_micros = 0
            each.let_go()
        return held


@dataclass(slots=True)
class Member:
    """A member of a shared account, with the book of its own; money comes in and goes out with the account."""

    name: str
    profile: str
    offer: Offer
    posted_micros: int = 0
    version: int = 1
    status: Status = Status.ACTIVE
    rows: dict[RowKey, Row] = field(default_factory=dict)
    barred: str = ""


@dataclass(slots=True)
class Lives:
    """What top-ups have lengthened the life of a balance by: where it ended before them, where they let it end, and where each lets it."""

    base_ms: int = 0
    ends_ms: int = 0
    by_name: dict[str, int] = field(default_factory=dict)

    def again(self) -> int:
        """Return where the life ends by what is known."""
        self.ends_ms = max(self.base_ms, *self.by_name.values(), 0)
        return self.ends_ms


@dataclass(slots=True)
class Account:
    """A book and its sessions; ``until_ms`` is the end of its life (0: none, -1: not used yet), ``owed_micros`` what is to be repaid."""

    name: str
    profile: str
    offer: Offer
    floor_micros: int
    credits_micros: int = 0
    posted_micros: int = 0
    sequence: int = 0
    version: int = 1
    status: Status = Status.ACTIVE
    until_ms: int = 0
    owed_micros: int = 0
    lives: Lives = field(default_factory=Lives)
    rows: dict[RowKey, Row] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    barred: str = ""

    @property
    def open_sessions(self) -> list[Session]:
        """Return the account's open sessions, its members' among them."""
        return [each for each in self.sessions.values() if each.state is SessionState.OPEN]

    @property
    def pending_micros(self) -> int:
        """Return the sum of the holds of the open sessions."""
        return sum(each.held_micros for each in self.open_sessions)

    @property
    def available_micros(self) -> int:
        """Return what a grant may hold at most."""
        return self.credits_micros - self.posted_micros - self.pending_micros - self.floor_micros

    @property
    def money(self) -> tuple[int, int, int]:
        """Return credits, posted and pending, as every record ends in them."""
        return self.credits_micros, self.posted_micros, self.pending_micros

    def next(self) -> int:
        """Return the number of the next record."""
        self.sequence += 1
        return self.sequence

    # ---------------------------------------------------------------- own books

    def own(self, member: str) -> "Account | Member":
        """Return the own book of a member; of nobody's, the account's."""
        return self.members[member] if member else self

    def own_sessions(self, member: str) -> list[Session]:
        """Return the open sessions of a member; of nobody's, all of the account."""
        return [each for each in self.open_sessions if member in {"", each.member}]

    def asking(self, member: str) -> int:
        """Return how many of them ask: all but those of accounting, which no limit holds back."""
        return sum(each.asks for each in self.own_sessions(member))

    def own_money(self, member: str) -> tuple[int, int]:
        """Return posted and pending of an own book."""
        return self.own(member).posted_micros, sum(each.held_micros for each in self.own_sessions(member))

    # ---------------------------------------------------------------- rows

    def rows_of(self, member: str, own: int) -> dict[RowKey, Row]:
        """Return the rows among which a source's is."""
        return self.own(member).rows if own else self.rows

    def pending(self, member: str, own: int, key: RowKey) -> int:
        """Return what the open sessions hold on a row."""
        rows = self.rows_of(member, own)
        return sum(
            part.held
            for session in self.open_sessions
            for service in session.services.values()
            for part in service.parts
            if part.key == key and self.rows_of(session.member, part.source.own) is rows
        )

    def row(self, member: str, source: Source) -> Row | None:
        """Return the row of a source."""
        return self.rows_of(member, source.own).get((source.id, source.start_ms))

    def free(self, member: str, source: Source) -> int:
        """Return what is free of a bucket."""
        row = self.row(member, source)
        if row is None:
            return 0
        return max(0, row.amount - row.used - self.pending(member, source.own, row.key))

    def told_rows(self, member: str) -> dict[RowKey, tuple[int, int, int, int, int]]:
        """Return unit, end, amount, used and pending of each row of an own book; a counter that stands at nothing is none."""
        own = int(bool(member))
        return {
            row.key: (row.unit, row.until_ms, row.amount, row.used, pending)
            for row in self.rows_of(member, own).values()
            for pending in [self.pending(member, own, row.key)]
            if row.used or pending or not row.is_counter
        }
