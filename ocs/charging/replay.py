"""Recorded sessions on another tariff: records in, what each account paid and would have paid out; pure.

Laws
1. A session is priced on the tariff that it was recorded on and on the other, side by side. Where its own tariff does not give
   what was recorded, to the micro-unit, nothing is said of the other (rerate.py, law 4).
2. A service of a session is compared as a whole or not at all: fees, minima and caps belong to all of it.
3. What allowances had is nobody's price: the units beyond them are compared, as if the other tariff's accounts had the same.
4. A session is compared when the tariff that it began on is; where it went on with a next version (switch.py), so does its own side.
5. A one-time event is whole in its own record, all of it in the window of its instant. What a refund gave back is told apart. An accounting
   record tells its own part of its session, priced at its own time.
6. Sessions are kept while they are open, and as long after their end as late usage is booked; then they are summed and let go.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ocs.charging.ask import INITIAL, TERMINATION
from ocs.charging.information import kept
from ocs.charging.switch import version_of
from ocs.limits import FACTS_KEPT_MAX
from ocs.outcomes import Code
from ocs.rating.rates import CUT_BACK_S_MAX, Facts, Rate
from ocs.rating.rerate import Chain, Why, comparable, same_plan
from ocs.rating.sources import SourceKind
from ocs.rating.tariff import Tariff
from ocs.records import Charge, Expire, Line, Record, SessionState
from ocs.units import UNITS_MAX

_OF_THE_KEY = frozenset({"rating_group", "service_identifier"})
"""Facts that the name of a service tells, whatever its session keeps."""
_SERVICES = ("data", "voice", "sms", "mms")


@dataclass(slots=True)
class Sum:
    """What was paid, and what would have been, for so many chains: services of sessions."""

    chains: int = 0
    paid_micros: int = 0
    would_micros: int = 0

    def add(self, paid_micros: int, would_micros: int) -> None:
        """Take one chain in."""
        self.chains += 1
        self.paid_micros += paid_micros
        self.would_micros += would_micros


@dataclass(slots=True)
class Compared:
    """What a replay has found; ``apart`` is what could not be compared, and what was paid for it."""

    sessions: int = 0
    accounts: dict[str, Sum] = field(default_factory=dict)
    services: dict[str, Sum] = field(default_factory=dict)
    apart: dict[Why, Sum] = field(default_factory=dict)
    quarantined: int = 0
    """Reports of which a part, or all, was set aside when it was charged."""


class _Grant(NamedTuple):
    """What may be a grant: the line that follows names its rate, and tells so whether it was one."""

    facts: str
    at_ms: int
    late: bool
    """Whether a request of a lower number made it: the session does not keep what that one told."""
    whole: bool = False
    """Whether it is an event's: no edge of a window ends it."""


class _On(NamedTuple):
    """The rate of a line: its tariff, and its mark."""

    tariff: Tariff
    mark: str


class _Service:
    """One service of a session on both tariffs."""

    __slots__ = (
        "grant",
        "mark",
        "mine",
        "name",
        "number",
        "other",
        "paid_micros",
        "room",
        "standing",
        "unit",
        "used",
        "why",
        "would_micros",
    )

    def __init__(self) -> None:
        self.mine, self.other = Chain(), Chain()
        self.grant: _Grant | None = None
        self.number = -1
        self.room = UNITS_MAX
        self.standing = (0, 0)
        self.name = ""
        self.mark: str | None = None
        self.unit = 0
        self.used = 0
        self.paid_micros = self.would_micros = 0
        self.why: Why | None = None


@dataclass(slots=True)
class _Session:
    account: str
    begun: bool
    ended_ms: int = 0
    top: int = -1
    services: dict[str, _Service] = field(default_factory=dict)


class Replay:
    """Takes the records of one partition after the other."""

    def __init__(
        self,
        other: Tariff,
        tariffs: Callable[[str], Tariff | None],
        chosen: Callable[[str], bool],
        late_ms: int,
    ) -> None:
        """``tariffs`` finds the tariff of a recorded key, ``chosen`` says which keys are compared, ``late_ms`` how long late usage comes."""
        self.found = Compared()
        self._other = other
        self._tariffs = tariffs
        self._chosen = chosen
        self._late_ms = late_ms
        self._sessions: dict[str, _Session] = {}
        self._ended: deque[tuple[int, str]] = deque()
        self._one_plan: dict[str, bool] = {}

    @property
    def sessions_kept(self) -> int:
        """Return how many sessions are kept at present."""
        return len(self._sessions)

    def add(self, record: Record) -> None:
        """Take the next record of the partition."""
        if isinstance(record, Charge) and record.is_accounting:
            if self._follows(record):
                self._account(record)
        elif isinstance(record, Charge) and record.is_event:
            if self._chosen(record.tariff):
                self._event(record)
        elif isinstance(record, Charge):
            begins = record.kind == INITIAL
            if begins and record.session_id in self._sessions:
                self._let_go(record.session_id)  # one of the same name, that has ended
            if self._chosen(record.tariff) if begins else self._follows(record):
                self._charge(record)
        elif isinstance(record, Expire):
            self._end(record.session_id, record.now_ms)
        while self._ended and self._ended[0][0] + self._late_ms < record.now_ms:
            ended_ms, session_id = self._ended.popleft()
            session = self._sessions.get(session_id)
            if session is not None and session.ended_ms == ended_ms:
                self._let_go(session_id)

    def end_partition(self) -> None:
        """Sum what is left, sessions that are still open included."""
        self._ended.clear()
        for session_id in list(self._sessions):
            self._let_go(session_id)

    def _follows(self, record: Charge) -> bool:
        """Tell whether a record is of a session that is compared."""
        return record.session_id in self._sessions or self._chosen(record.tariff)

    def _charge(self, record: Charge) -> None:
        if record.state == SessionState.REFUSED:
            return
        session = self._sessions.get(record.session_id)
        if session is None:
            session = _Session(record.account, record.kind == INITIAL)
            self._sessions[record.session_id] = session
        for place, line in enumerate(record.lines, 1):
            service = session.services.setdefault(line.key, _Service())
            if not line.code:  # another of a pool: nothing was used or granted
                service.standing = (line.granted_units, line.hold_micros)
                continue
            tariff = self._tariffs(version_of(line.rate, record.tariff) if line.rate else record.tariff)
            self.found.quarantined += line.quarantined_units > 0
            if not session.begun:
                service.why = Why.BEGUN
            elif tariff is None:
                service.why = Why.TARIFF
            service.paid_micros += line.amount_micros
            service.used += line.posted_units
            if tariff is not None and service.why is None:
                on = _On(tariff, line.rate)
                service.why = self._line(service, line, record, on, _tier(record, place))
            if _grants(service, line, record):
                service.grant = _Grant(record.facts, record.now_ms, record.number < session.top)
                service.unit = service.unit or line.unit  # of its first grant, and of all (UNRATED otherwise)
        session.top = max(session.top, record.number)
        if record.state != SessionState.OPEN:
            self._end(record.session_id, record.now_ms)

    def _account(self, record: Charge) -> None:
        """Take an accounting record: each of its lines was priced by itself, on what its session had told by then (law 5)."""
        session = self._sessions.get(record.session_id)
        if session is None:
            session = _Session(record.account, begun=True)
            if not record.is_event:
                self._sessions[record.session_id] = session
        for place, line in enumerate(record.lines, 1):
            service = session.services.setdefault(line.key, _Service())
            self.found.quarantined += line.quarantined_units > 0
            service.paid_micros += line.amount_micros
            service.used += line.posted_units
            service.unit = service.unit or line.unit
            tariff = self._tariffs(version_of(line.rate, record.tariff) if line.rate else record.tariff)
            if tariff is None:
                service.why = Why.TARIFF
            elif service.why is None and line.posted_units:
                service.standing = (0, 0)
                service.grant = _Grant(record.facts, record.at_ms, late=False, whole=True)
                service.why = self._line(service, line, record, _On(tariff, line.rate), _tier(record, place))
        if record.is_event:
            self._sum(session)
        elif record.state != SessionState.OPEN:
            self._end(record.session_id, record.now_ms)

    def _event(self, record: Charge) -> None:
        session = _Session(record.account, begun=True)
        tariff, is_refund = self._tariffs(record.tariff), record.is_refund
        for place, line in enumerate(record.lines, 1):
            service = session.services.setdefault(line.key, _Service())
            service.paid_micros, service.used = line.amount_micros, line.posted_units
            if is_refund:
                service.why = Why.REFUND
            elif tariff is None:
                service.why = Why.TARIFF
            elif line.granted_units:
                service.unit, service.standing = line.unit, (line.granted_units, 0)
                service.grant = _Grant(record.facts, record.at_ms, late=False, whole=True)
                service.why = self._line(service, line, record, _On(tariff, line.rate), _tier(record, place))
        self._sum(session)

    def _line(self, service: _Service, line: Line, record: Charge, on: _On, tier: int | None) -> Why | None:
        """Price one report on both tariffs; why that cannot be done."""
        grant, service.grant = service.grant, None
        if grant is not None:
            why = self._granted(service, grant, line.key, on)
            if why is not None:
                return why
        if line.amount_micros != line.priced_micros:
            return Why.ROWS
        priced = line.posted_units - line.allowance_units
        if not priced:
            return None
        if on.mark != service.mark or service.mine.position + priced != line.position:
            return Why.OTHERWISE  # on a rate that no record tells of, or a report is missing
        at_ms = min(record.at_ms, record.now_ms)
        reported = line.posted_units + line.quarantined_units
        try:
            granted = max(0, service.standing[0] - line.allowance_units)
            if service.mine.use(priced, reported, at_ms, granted, tier) != line.priced_micros:
                return Why.OTHERWISE
            granted = min(granted, service.room)
            # where a counter stands by the other tariff nobody recorded; on the same one it is as it was
            own = tier if self._other.key == on.tariff.key else None
            service.would_micros += service.other.use(priced, reported, at_ms, granted, own)
        except OverflowError:
            return Why.LIMIT
        return None

    def _granted(self, service: _Service, grant: _Grant, key: str, on: _On) -> Why | None:
        """Let a grant hold on both tariffs, if its facts choose the rate that the line after it names."""
        tariff = on.tariff
        name = _service_of(tariff, on.mark, service.unit)
        facts = _facts(grant.facts, name, key) if name is not None else None
        if facts is None:
            return Why.SERVICE
        if (
            grant.late
            and on.mark != service.mark
            and (tariff.looked_at(facts.service) or _OF_THE_KEY) - _OF_THE_KEY
        ):
            return Why.LATE
        mine = tariff.rate(facts)
        if mine is None or tariff.mark(mine, index := mine.index_at(grant.at_ms)) != on.mark:
            return None if on.mark == service.mark else Why.OTHERWISE  # the grant before it stood on
        left = service.mark is not None and not service.mark.startswith(tariff.plain_mark)
        service.name, service.mark = facts.service, on.mark
        service.mine.grant(mine, index, closes=left)
        other = comparable(tariff, self._other, facts, one_plan=lambda: self._is_one_plan(tariff))
        if not isinstance(other, Rate):
            return other
        if other.unit != service.unit:
            return Why.UNIT
        service.other.grant(other, other.index_at(grant.at_ms))
        # no grant of the other passes an edge of its windows (plan.py, law 3)
        edge_ms = (
            other.edge_after(grant.at_ms, grant.at_ms + 1000 * CUT_BACK_S_MAX)
            if other.cuts_by_time and not grant.whole
            else None
        )
        service.room = UNITS_MAX if edge_ms is None else max(1, (edge_ms - grant.at_ms) // 1000)
        return None

    def _is_one_plan(self, tariff: Tariff) -> bool:
        if tariff.key not in self._one_plan:
            self._one_plan[tariff.key] = same_plan(tariff.numbering, self._other.numbering)
        return self._one_plan[tariff.key]

    def _end(self, session_id: str, now_ms: int) -> None:
        session = self._sessions.get(session_id)
        if session is not None and not session.ended_ms:
            session.ended_ms = now_ms
            self._ended.append((now_ms, session_id))

    def _let_go(self, session_id: str) -> None:
        self._sum(self._sessions.pop(session_id))

    def _sum(self, session: _Session) -> None:
        found = self.found
        used = [each for each in session.services.values() if each.used or each.paid_micros]
        found.sessions += bool(used)
        for each in used:
            if each.why is not None:
                found.apart.setdefault(each.why, Sum()).add(each.paid_micros, 0)
                continue
            found.accounts.setdefault(session.account, Sum()).add(each.paid_micros, each.would_micros)
            found.services.setdefault(each.name, Sum()).add(each.paid_micros, each.would_micros)


def _tier(record: Charge, place: int) -> int | None:
    """Return where the counter stood that chose the steps of a line's price; None where none did."""
    for each in record.parts:
        if each.line == place and each.kind == SourceKind.TIER:
            return each.used_after - each.taken
    return None


def _grants(service: _Service, line: Line, record: Charge) -> bool:
    """Tell whether a line may be a grant: not the standing one again, nor the measure of late reports that a session leaves.

    A line that only names the service looks like one; the line after it tells (``_Grant``).
    """
    before, service.standing = service.standing, (line.granted_units, line.hold_micros)
    if record.kind == TERMINATION or record.state != SessionState.OPEN or record.number < service.number:
        return False
    moved = line.posted_units or line.quarantined_units or line.code != Code.SUCCESS
    if moved or service.standing != before:
        service.number = record.number if service.unit or line.granted_units else -1
    return line.granted_units > 0


def _service_of(tariff: Tariff, mark: str, unit: int) -> str | None:
    """Return the service of a rate's mark; the plain mark is that of the only plain rate of its unit."""
    if mark != tariff.plain_mark:
        found = tariff.marked(mark, "")
        return None if found is None else found[0].service
    plain = [
        name
        for name in _SERVICES
        if (known := tariff.marked(mark, name)) is not None and known[0].unit == unit
    ]
    return plain[0] if len(plain) == 1 else None


@lru_cache(FACTS_KEPT_MAX)
def _facts(text: str, service: str, key: str) -> Facts | None:
    """Return the facts that a session kept, for one of its services; None for a text of another layout."""
    group, _, identifier = key.partition("/")
    try:
        return kept(text).facts(
            service, int(group) if group else None, int(identifier) if identifier else None
        )
    except (TypeError, ValueError):
        return None
