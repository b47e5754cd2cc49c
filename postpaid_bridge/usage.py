"""From what charging tells to usage lines and entries of the journal (pure).

Laws
1. What a record moved in a charging account's book is in lines and payments, to the micro-unit: credits less posted falls by the sum of the
   lines' amounts and rises by that of the payments. So balance = -(unbilled + receivable) holds behind every record (journal.py, law 4).
2. Lines go to the next bill. They are: the services of a charge, of Gy, Rf or an event, refunds negative; a product bought or renewed at a price
   (class ``product``); what an action moved that was not ours: ``adjustment``, ``transfer``, ``reservation``, ``emergency`` (lent negative, repaid
   positive). An allowance used up costs nothing and is a line of amount 0. What moved neither money nor units is no line.
3. Payments are money that the charging server took in or paid out by itself: a top-up, its reversal, a balance refunded. They are no
   usage: cash against receivable, to be allotted as any payment.
4. What goes out by the outbox comes back on the stream under our own channels: it is in the journal already, and moves nothing here.
5. A line is known by its key: session, kind and number of the request, service key. A line of a file: its source and its own id there.
6. A class that the table handed in does not have is no guess: the record is parked.

The record has neither the number called nor the start of a data session. A destination is its zone and the kind of number, where the tariff
looks at them; a file can tell the number itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ocs.rating.tariff import Tariff
from ocs.records import ActionKind, Charge, Moved, Record, Rows, Topup
from ocs.units import Unit
from postpaid_bridge.journal import Entry, Ledger, Posting, posting

__all__ = [
    "STANDARD", "ActionLine", "Class", "Held", "Line", "Payment", "Source", "Summed", "Taken", "Why", "account_of", "clean", "entries_of",
    "lines_of", "movement_micros", "payments_of", "reversed_by", "service_for",
]  # fmt: skip

LINE_MICROS_MAX = 10**11
"""More than this in one line (100,000 of the currency) is a human's to look at."""
ENDED_DAYS = 2
"""So many days after its end a service still has what a session reports late that ran on over the end."""
HOME = "home"
PRODUCT = "product"
ROAMING = "roaming-"
_BY_UNIT = {Unit.OCTETS: "data", Unit.SECONDS: "voice", Unit.EVENTS: "event", Unit.MONEY: "event"}
_ACTIONS = {
    ActionKind.ADJUST: "adjustment",
    ActionKind.REVERSAL: "adjustment",
    ActionKind.TRANSFER: "transfer",
    ActionKind.RESERVE: "reservation",
    ActionKind.EMERGENCY: "emergency",
    ActionKind.REPAYMENT: "emergency",
}
_PAID_OUT = ActionKind.REFUND


class Source(StrEnum):
    """Where a line comes from."""

    STREAM = "stream"
    FILE = "file"
    RERATE = "rerate"


class Why(StrEnum):
    """Why a record or a line of a file is not taken; all but PREPAID, OWN and BROKEN may be taken later."""

    PREPAID = "prepaid"  # counted, not kept
    OWN = "own"  # posted by our outbox (law 4): counted, not kept
    UNKNOWN = "unknown-service"
    NOT_RUNNING = "service-not-running"
    SEVERAL = "several-services"
    BEHIND = "behind-parked"  # records of a book are taken in their order
    CLASS = "unknown-class"
    AMOUNT = "absurd-amount"
    DOUBLE = "double-key"
    UNREADABLE = "unreadable"
    BROKEN = "broken-line"
    CURRENCY = "wrong-currency"
    DATE = "absurd-date"
    REFERENCE = "no-such-reference"


class Class(NamedTuple):
    """What usage of one class is booked as: class of revenue, tax class (config/taxes.yaml), and the ledger account."""

    revenue: str
    tax_code: str = "standard"
    ledger: Ledger = Ledger.REVENUE


_SUPPLIES = ("data", "voice", "sms", "mms", "event")
STANDARD: Mapping[str, Class] = {
    **{name: Class(name) for name in _SUPPLIES},
    **{ROAMING + name: Class(ROAMING + name) for name in _SUPPLIES},
    **{name: Class(name) for name in (PRODUCT, "adjustment", "reservation")},
    # money that changes hands: no supply, so no revenue and no tax
    "transfer": Class("", "none", Ledger.CLEARING),
    "emergency": Class("", "none", Ledger.CLEARING),
}
"""The table where config has none."""


class Held(NamedTuple):
    """A service as it is looked up by its book or number; ``until`` None: not ended."""

    id: int
    billing_account: int
    party: int
    mode: str
    number: str
    book: str
    subscriber: str
    since: date
    until: date | None
    currency: str = "EUR"


class Line(NamedTuple):
    """One usage line before it is known whose it is. ``place`` is the stream's id or the file's line, ``units`` of ``unit`` (ocs/units.py)."""

    key: str
    place: str
    session: str
    number: int
    service_key: str
    book: str
    member: str
    started_ms: int
    at_ms: int
    usage_class: str
    unit: int
    units: int
    allowance_units: int
    amount_micros: int
    priced_micros: int
    rate: str = ""
    tariff: str = ""
    zone: str = ""
    roaming: str = ""
    direction: str = ""
    counterpart: str = ""
    text: str = ""

    @property
    def path(self) -> str:
        """Return the subscriber's path in the charging server."""
        return f"{self.book}/{self.member}" if self.member else self.book


class Payment(NamedTuple):
    """Money that the charging server took in (negative: gave back) by itself (law 3)."""

    key: str
    place: str
    book: str
    member: str
    channel: str
    id: str
    voucher: str
    amount_micros: int
    at_ms: int


class Taken(NamedTuple):
    """A line with whose it is and what it is booked as."""

    line: Line
    held: Held
    of: Class


@dataclass(frozen=True, slots=True)
class Summed:
    """Usage lines of a billing account, added up."""

    service: int
    party: int
    book: str
    usage_class: str
    tax_code: str
    count: int
    units: int
    amount_micros: int


ServiceOf = Callable[[str, str, int], str | None]
"""Tells the service of a tariff's key, a rate's mark and a unit; None where it is not known."""


def service_of(tariffs: Mapping[str, Tariff]) -> ServiceOf:
    """Return what tells services by the tariffs that are known, by key."""

    def told(key: str, mark: str, unit: int) -> str | None:
        tariff = tariffs.get(key)
        if tariff is None:
            return None
        if mark != tariff.plain_mark:
            found = tariff.marked(mark, "")
            return None if found is None else found[0].service
        plain = [
            name
            for name in ("data", "voice", "sms", "mms")
            if (known := tariff.marked(mark, name)) is not None and known[0].unit == unit
        ]
        return plain[0] if len(plain) == 1 else None

    return told


def days_of(zone: ZoneInfo) -> Callable[[int], date]:
    """Return what tells the day of an instant in a zone; zones differ from one another by whole quarters of an hour."""

    @lru_cache(maxsize=10_000)
    def quarter(number: int) -> date:
        return datetime.fromtimestamp(number * 900, zone).date()

    return lambda at_ms: quarter(at_ms // 900_000)


def clean(text: str, most: int = 120) -> str:
    """Return a text of a network as every database keeps it: what cannot be printed is written out, and what is longer ends in its SHA-256."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    if len(text) <= most:
        return text
    digest = sha256(text.encode()).hexdigest()
    return f"{text[: most - len(digest) - 1]}~{digest}"


# -- records


def account_of(record: Record) -> str:
    """Return the charging account of a record; "" where it is of none."""
    return clean(record.account)


def lines_of(
    record: Record, partition: int, entry_id: str, service: ServiceOf, paid: Iterable[str] = ()
) -> tuple[Line, ...]:
    """Return the lines of a record (law 2). ``paid`` are payments by channel and id (``reversed_by``): their reversals are payments too."""
    if isinstance(record, Charge):
        return _charged(record, entry_id, service)
    where = f"{partition}/{entry_id}"
    if isinstance(record, Rows) and record.price_micros:
        made = _plain(record, f"rows.{where}", entry_id, PRODUCT, record.price_micros)
        return (made._replace(units=1, priced_micros=record.price_micros, text=clean(record.cause, 200)),)
    if not isinstance(record, Moved) or record.kind == _PAID_OUT:
        return ()
    amount_micros = record.taken_micros - record.credited_micros
    if not amount_micros or (record.kind == ActionKind.REVERSAL and reversed_by(record) in paid):
        return ()
    made = _plain(record, f"moved.{where}", entry_id, _ACTIONS[ActionKind(record.kind)], amount_micros)
    return (
        made._replace(session=clean(f"{record.channel} {record.id}", 400), text=clean(record.reason, 200)),
    )


ActionLine = Rows | Moved


def _plain(record: ActionLine, key: str, entry_id: str, usage_class: str, amount_micros: int) -> Line:
    at_ms, book, member = record.now_ms, account_of(record), clean(record.member)
    return Line(
        key, entry_id, "", 0, "", book, member, at_ms, at_ms, usage_class, Unit.EVENTS, 0, 0, amount_micros, amount_micros
    )  # fmt: skip


def _charged(record: Charge, entry_id: str, service: ServiceOf) -> tuple[Line, ...]:
    zone = roaming = direction = ""
    if record.facts and not record.is_refund:  # a refund's name the debit instead
        zone, roaming, _, _, _, direction = (*clean(record.facts).split(","), "", "", "", "", "", "")[:6]
    abroad = roaming not in {"", HOME}
    session, book, member = clean(record.session_id, 400), account_of(record), clean(record.member)
    found = []
    for each in record.lines:
        if not each.posted_units and not each.amount_micros:
            continue
        known = service(record.tariff, each.rate, each.unit) or _BY_UNIT.get(Unit(each.unit), "event")
        seconds = each.posted_units if each.unit == Unit.SECONDS and each.posted_units > 0 else 0
        found.append(
            Line(
                f"{record.kind}.{record.number}.{clean(each.key)} {session}", entry_id, session, record.number, clean(each.key), book,
                member, record.at_ms - seconds * 1000, record.at_ms, ROAMING + known if abroad else known, each.unit,
                each.posted_units, each.allowance_units, each.amount_micros, each.priced_micros, clean(each.rate),
                clean(record.tariff), zone, roaming, direction,
            )
        )  # fmt: skip
    return tuple(found)


def reversed_by(record: Moved | Topup) -> str:
    """Return how a payment and its reversal are known: channel and id of the action."""
    return clean(f"{record.channel} {record.id}", 400)


def payments_of(
    record: Record, partition: int, entry_id: str, paid: Iterable[str] = ()
) -> tuple[Payment, ...]:
    """Return the payment that a record is (law 3), or nothing."""
    member, voucher, amount_micros = "", "", 0
    if isinstance(record, Topup):
        amount_micros, voucher = record.amount_micros, clean(record.voucher)
    elif isinstance(record, Moved):
        member = clean(record.member)
        out = record.kind == _PAID_OUT or (record.kind == ActionKind.REVERSAL and reversed_by(record) in paid)
        amount_micros = record.credited_micros - record.taken_micros if out else 0
    else:
        return ()
    if not amount_micros:
        return ()
    return (
        Payment(
            f"book:{partition}/{entry_id}", entry_id, account_of(record), member, clean(record.channel), clean(record.id), voucher,
            amount_micros, record.now_ms,
        ),
    )  # fmt: skip


def is_own(record: Record, channels: Iterable[str]) -> bool:
    """Tell whether a record is of what our outbox did (law 4)."""
    return isinstance(record, Topup | Moved) and record.channel in channels


def movement_micros(record: Record) -> int:
    """Return what a record did to its book's balance, by what it says that it did; what lines and payments of it add up to (law 1)."""
    if isinstance(record, Charge):
        return -sum(each.amount_micros for each in record.lines)
    if isinstance(record, Rows):
        return -record.price_micros
    if isinstance(record, Topup):
        return record.amount_micros
    if isinstance(record, Moved):
        return record.credited_micros - record.taken_micros
    return 0


# -- whose it is


def booked(held: Held, lines: Iterable[Line], classes: Mapping[str, Class]) -> tuple[Taken, ...] | Why:
    """Return lines with whose they are and what they are booked as, all of them or why none (law 6)."""
    found = []
    for line in lines:
        of = classes.get(line.usage_class)
        if of is None:
            return Why.CLASS
        if abs(line.amount_micros) > LINE_MICROS_MAX:
            return Why.AMOUNT
        found.append(Taken(line, held, of))
    return tuple(found)


def service_for(held: Sequence[Held], path: str, day: date, *, usage: bool = True) -> Held | Why:
    """Return which service of a book (or a number) what a subscriber did on a day belongs to, or why none.

    The account's own service has what members do that have none; what is no ``usage`` may be any service's, where one billing account pays
    for all of them.
    """
    if not held:
        return Why.UNKNOWN
    running = [each for each in held if each.since <= day and (each.until is None or day < each.until)]
    billed = [each for each in running if each.mode != "prepaid"]
    if not billed and running:
        return Why.PREPAID
    if not billed:  # what ran on over the end
        billed = [
            each
            for each in held
            if each.mode != "prepaid"
            and each.until is not None
            and each.until <= day < each.until + timedelta(ENDED_DAYS)
        ]
    if not billed:
        return Why.PREPAID if all(each.mode == "prepaid" for each in held) else Why.NOT_RUNNING
    named = [each for each in billed if each.subscriber == path]
    named = named or [each for each in billed if each.subscriber in {"", path.partition("/")[0]}]
    if len(named) == 1:
        return named[0]
    if not usage and len({each.billing_account for each in billed}) == 1:
        return billed[0]
    return Why.SEVERAL if len(billed) > 1 else Why.UNKNOWN


# -- entries


def entries_of(
    where: str, taken: Iterable[Taken], day_of: Callable[[int], date], at_ms: int, *, from_book: bool
) -> dict[tuple[int, date], Entry]:
    """Return the entries of lines that came together, by billing account and day of the usage; those that add up to 0 have none.

    ``where`` says which lines they are ("17/1-3..1-9", a file and its lines): it is in the entries' keys, and every line names its entry.
    """
    sums: dict[tuple[int, date], dict[tuple[str, Class], int]] = {}
    for line, held, of in taken:
        group = sums.setdefault((held.billing_account, day_of(line.at_ms)), {})
        kind = (held.book, of)
        group[kind] = group.get(kind, 0) + line.amount_micros
    found = {}
    for (billing_account, day), group in sorted(sums.items()):
        postings: list[Posting] = []
        for (book, of), micros in sorted(group.items()):
            postings += posting(Ledger.UNBILLED, of.ledger, micros, book, of.revenue, of.tax_code)
        if postings:
            key = f"usage:{where}:{billing_account}:{day}"
            found[billing_account, day] = Entry(
                key, "usage", billing_account, day, at_ms, postings, from_book=from_book
            )
    return found


def payment_entry(payment: Payment, held: Held, day: date, at_ms: int) -> Entry:
    """Return the entry of a payment that the charging server took: the book has it already."""
    made = posting(Ledger.CASH, Ledger.RECEIVABLE, payment.amount_micros, payment.book)
    return Entry(payment.key, "book-payment", held.billing_account, day, at_ms, made, from_book=True)


def opening_entry(held: Held, book: str, balance_micros: int, day: date, at_ms: int) -> Entry | None:
    """Return the entry of what a book had before the first record that was taken of it, for a human to allot; None where it was 0."""
    made = posting(Ledger.CLEARING, Ledger.RECEIVABLE, balance_micros, book)
    if not made:
        return None
    return Entry(f"opening:{book}", "opening", held.billing_account, day, at_ms, made, from_book=True)


def rerate_entry(key: str, taken: Taken, reason: str, day: date, at_ms: int) -> Entry:
    """Return the entry of a difference: the book has not had it, so it goes there by the outbox."""
    of = taken.of
    made = posting(
        Ledger.UNBILLED, of.ledger, taken.line.amount_micros, taken.held.book, of.revenue, of.tax_code
    )
    return Entry(key, "rerate", taken.held.billing_account, day, at_ms, made, reason)
