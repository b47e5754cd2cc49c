"""From records to notices; pure.

Laws
1. What it takes to say a thing once stands in the record itself: it has the book after it and what it moved, so the book before. A
   replay derives the same notices with the same ids.
2. What a record does not have is told by ``Known``: how large an allowance is, and whether a subscriber was barred before. The latter is a
   mark that names the record which changed it; it is written once the record's notice is safe, and so the record tells nothing more.
3. One record tells of one threshold and one percentage of an allowance: the last that it passed.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ocs import records
from ocs.balance.entries import order
from ocs.balance.profiles import read_profile
from ocs.clock import instant
from ocs.money import format_amount
from ocs.notices.notice import Fact, Notice
from ocs.rating.openings import Held
from ocs.rating.sources import COUNTER_IDS, SourceKind
from ocs.records import ACCOUNTING, RESERVATION, ActionKind, SessionState, Status

_TERMINATION = 3
_ALLOWANCES = frozenset({SourceKind.UNITS, SourceKind.MONEY})
_MONEY_ROW = 4
UNITS = {1: "octets", 2: "seconds", 3: "units", _MONEY_ROW: "money"}
_REASONS = {records.SILENT: "supervision", records.ENDED: "operator", records.RESTARTED: "restart"}

RowName = tuple[str, int, int]
"""A row of somebody's book: the subscriber's path, the row's id, and the instant at which it begins."""


class Rules(NamedTuple):
    """What the settings say: thresholds of the balance and percentages of allowances, ascending, and the currency of amounts."""

    low_micros: tuple[int, ...]
    percents: tuple[int, ...]
    currency: str


class Allowance(NamedTuple):
    """A bucket as it was opened: its amount, its unit as the store calls it, its end, and the key of its product ("" not known)."""

    amount: int
    unit: int
    until_ms: int
    product: str


class Known(NamedTuple):
    """What records do not say themselves: allowances by row, and by path the mark of the last bar or unbar (``mark``)."""

    allowances: Mapping[RowName, Allowance]
    marks: Mapping[str, str]


class Derived(NamedTuple):
    """What a record tells, and which mark a subscriber has after it ("" none); marks are written after the notices are safe."""

    notices: tuple[Notice, ...]
    marks: Mapping[str, str]


def derive(partition: int, entry_id: str, record: records.Record, rules: Rules, known: Known) -> Derived:
    """Derive the notices of one record."""
    of = _Telling(partition, entry_id, record, rules)
    if isinstance(record, records.Account):
        return _status(of, record, known.marks.get(of.path, ""))
    tell = _BY_KIND.get(type(record))
    return Derived(tuple(tell(of, record, known)) if tell is not None else (), {})


def rows_of(record: records.Record) -> Iterator[tuple[str, records.Taken]]:
    """Give the allowances that a record used, each with whose book has it: what ``Known`` is asked for."""
    if isinstance(record, records.Charge):
        path = _path(record)
        for part in record.parts:
            if part.kind in _ALLOWANCES and part.id < COUNTER_IDS and not part.id % 2:
                yield path if part.own else record.account, part


def opened_in(record: records.Record) -> Iterator[tuple[RowName, Allowance]]:
    """Give the buckets that a record says came, as ``Known`` has them."""
    if not isinstance(record, records.Rows):
        return
    held = {each.number: each.product_key for each in _products(record)}
    path = _path(record)
    for row in record.rows:
        if row.id < COUNTER_IDS:
            name = (path if row.own else record.account, row.id, row.start_ms)
            yield name, Allowance(row.amount, row.unit, row.until_ms, held.get(row.id // 32, ""))


class _Telling:
    """Makes the notices of one record."""

    __slots__ = ("_partition", "_time_ms", "currency", "entry_id", "path", "rules")

    def __init__(self, partition: int, entry_id: str, record: records.Record, rules: Rules) -> None:
        self._partition = partition
        self.entry_id = entry_id
        self._time_ms = record.now_ms
        self.path = _path(record)
        self.rules = rules
        self.currency = rules.currency

    def __call__(self, kind: str, *, known_by: str = "", path: str | None = None, **facts: Fact) -> Notice:
        """Make a notice known by the record's id and its type, or by a name of its own."""
        name = f"{kind}.{known_by}" if known_by else f"{self._partition}.{self.entry_id}.{kind}"
        whose = self.path if path is None else path
        return Notice(name, kind, self._time_ms, whose, facts, self._partition)

    def money(self, micros: int) -> str:
        """Write an amount."""
        return format_amount(micros)


def _path(record: records.Record) -> str:
    member = getattr(record, "member", "")
    return f"{record.account}/{member}" if member else record.account


def _low(
    of: _Telling, record: records.Charge | records.Rows | records.Moved, moved_micros: int
) -> Iterator[Notice]:
    """Tell that what a record took brought the balance below a threshold; who shares an account shares its balance."""
    balance = record.credits_micros - record.posted_micros
    passed = [each for each in of.rules.low_micros if balance < each <= balance + moved_micros]
    if passed:
        yield of(
            "balance.low",
            path=record.account,
            threshold=of.money(passed[0]),
            balance=of.money(balance),
            currency=of.currency,
        )


def _charge(of: _Telling, record: records.Charge, known: Known) -> Iterator[Notice]:
    yield from _low(of, record, sum(line.amount_micros for line in record.lines))
    for path, part in rows_of(record):
        allowance = known.allowances.get((path, part.id, part.start_ms))
        if allowance is not None and allowance.amount > 0:
            yield from _used(of, path, part, allowance)
    if record.kind == _TERMINATION and record.state == SessionState.CLOSED:
        yield _ended(of, record.session_id, "normal")


def _used(of: _Telling, path: str, part: records.Taken, allowance: Allowance) -> Iterator[Notice]:
    """Tell of a percentage of an allowance, by the row and its period: once in each, also where a refund lets it be passed again."""
    before, after = 100 * (part.used_after - part.taken), 100 * part.used_after
    passed = [each for each in of.rules.percents if before < each * allowance.amount <= after]
    if not passed:
        return
    money = allowance.unit == _MONEY_ROW
    yield of(
        "allowance.used",
        known_by=f"{path}.{part.id}.{part.start_ms}.{passed[-1]}",
        path=path,
        percent=passed[-1],
        used=of.money(part.used_after) if money else part.used_after,
        amount=of.money(allowance.amount) if money else allowance.amount,
        unit=of.currency if money else UNITS.get(allowance.unit, "units"),
        product=allowance.product,
        until=instant(allowance.until_ms, "milliseconds"),
    )


def _ended(of: _Telling, session_id: str, reason: str) -> Notice:
    offline = session_id.startswith(ACCOUNTING)
    return of(
        "session.ended",
        reason=reason,
        session=session_id.removeprefix(ACCOUNTING),
        application="accounting" if offline else "credit-control",
    )


def _expire(of: _Telling, record: records.Expire, _known: Known) -> Iterator[Notice]:
    if record.session_id.startswith(RESERVATION):
        channel, _, name = record.session_id.removeprefix(RESERVATION).partition(":")
        balance = of.money(record.credits_micros - record.posted_micros)
        yield of(
            "balance.settled",
            channel=channel,
            id=name,
            amount=of.money(0),
            balance=balance,
            currency=of.currency,
        )
        return
    yield _ended(of, record.session_id, _REASONS.get(record.forced, "supervision"))


def _topup(of: _Telling, record: records.Topup, _known: Known) -> Iterator[Notice]:
    yield of(
        "topup.done",
        channel=record.channel,
        id=record.id,
        amount=of.money(record.amount_micros),
        balance=of.money(record.credits_micros - record.posted_micros),
        currency=of.currency,
    )


_MOVES = {
    ActionKind.ADJUST: "adjusted",
    ActionKind.TRANSFER: "transferred",
    ActionKind.REVERSAL: "reversed",
    ActionKind.REFUND: "refunded",
    ActionKind.EMERGENCY: "lent",
    ActionKind.REPAYMENT: "repaid",
}


def _moved(of: _Telling, record: records.Moved, _known: Known) -> Iterator[Notice]:
    """Tell what an action moved: of a reservation what it holds, and later what of it was posted."""
    kind = ActionKind(record.kind)
    moved = record.credited_micros - record.taken_micros
    if kind is ActionKind.RESERVE:
        verb, amount = (
            ("reserved", record.held_micros) if record.held_micros else ("settled", record.taken_micros)
        )
    else:
        verb, amount = _MOVES.get(kind, ""), moved
    if verb:
        yield of(
            f"balance.{verb}",
            channel=record.channel,
            id=record.id,
            amount=of.money(amount),
            balance=of.money(record.credits_micros - record.posted_micros),
            currency=of.currency,
        )
    yield from _low(of, record, -moved)


def _products(record: records.Rows) -> tuple[Held, ...]:
    """Return what the subscriber holds since a record of rows."""
    if not record.profile:
        return ()
    return read_profile(record.profile, _path(record), 0, record.version).products


def _rows(of: _Telling, record: records.Rows, _known: Known) -> Iterator[Notice]:
    verb, _, rest = record.cause.partition(" ")
    held = {each.number: each for each in _products(record)}
    if verb in {"bought", "bonus"}:
        yield from _new(of, record, rest, held.get(record.version - 1), verb)  # openings.py, law 1
    elif verb == "renewed":
        key, number, _begun = rest.rsplit(" ", 2)
        until = {"until": instant(held[int(number)].until_ms, "milliseconds")} if int(number) in held else {}
        price = {"price": of.money(record.price_micros), "currency": of.currency}
        yield of("product.renewed", product=key, number=int(number), **price, **until)
    elif verb in {"lapsed", "cancelled"}:
        key, number = rest.rsplit(" ", 1)
        yield of(f"product.{verb}", product=key, number=int(number))
    elif verb == "ended":
        words = rest.split(" ")
        for key, number in zip(words[::2], words[1::2], strict=True):
            made = of("product.ended", product=key, number=int(number))
            yield made._replace(id=f"{made.id}.{number}")
    yield from _low(of, record, record.price_micros)


def _new(of: _Telling, record: records.Rows, name: str, held: Held | None, verb: str) -> Iterator[Notice]:
    facts: dict[str, Fact] = {}
    if held is not None:
        facts = {
            "product": held.product_key,
            "number": held.number,
            "until": instant(held.until_ms, "milliseconds"),
        }
    if verb == "bonus":
        yield of("bonus.given")._replace(facts=facts)
    else:
        channel, blank, own_id = name.partition(" ")
        paid: dict[str, Fact] = {
            **({"channel": channel, "id": own_id} if blank else {"name": name}),
            "price": of.money(record.price_micros),
            "currency": of.currency,
        }
        yield of("product.bought")._replace(facts=paid | facts)


def mark(entry_id: str, status: Status) -> str:
    """Write the mark of a subscriber whose status a record changed."""
    return f"{entry_id} {int(status)}"


def _status(of: _Telling, record: records.Account, marked: str) -> Derived:
    """Tell a bar and its end once: a record that only repeats what its subscriber is tells nothing."""
    by, _, status_text = marked.partition(" ")
    was = Status(int(status_text)) if marked else Status.ACTIVE
    if record.status == Status.TERMINATED:
        return Derived((of("account.terminated"),), {of.path: ""})
    told = marked and order(by) >= order(of.entry_id)  # met again: its notice was safe before the mark
    if told or record.status == was:
        return Derived((), {})
    kind = "account.barred" if record.status == Status.BARRED else "account.unbarred"
    return Derived((of(kind),), {of.path: mark(of.entry_id, Status(record.status))})


_BY_KIND: Mapping[type, Callable[..., Iterator[Notice]]] = {
    records.Charge: _charge,
    records.Expire: _expire,
    records.Topup: _topup,
    records.Rows: _rows,
    records.Moved: _moved,
}
