"""Usage priced again: the difference as a line and an entry of its own.

Laws
1. What was posted is not changed: the difference is a line of its own (``corrects`` names the first one), on the next bill.
2. The difference is to what the line and its earlier corrections come to. It happens once by (name, line): asked again with the same amount
   it moves nothing, with another it is refused.
3. The charging server's book does not know of it: it gets the difference by the outbox.
"""

from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select

from ocs.care.customers.tables import services
from ocs.sql import locked
from postpaid_bridge.journal import Ledger
from postpaid_bridge.sql import journal
from postpaid_bridge.sql.usage import lines
from postpaid_bridge.sql.usage_rows import line_row, services_by
from postpaid_bridge.usage import LINE_MICROS_MAX, Class, Line, Source, Taken, clean, rerate_entry

__all__ = ["RerateFault", "Rerated", "rerate"]


class RerateFault(ValueError):
    """A line cannot be priced again as it was asked; the message says why."""


class Rerated(NamedTuple):
    """What came of it: the difference, and whether it was posted by this call."""

    difference_micros: int
    new: bool


def rerate(
    work: Connection, name: str, key: str, amount_micros: int, reason: str, day: date, now_ms: int
) -> Rerated:
    """Let a line come to another amount, under the name of the work that has found it; ``day`` is the booking day. Raises RerateFault."""
    if not name or len(name) > 64 or not name.isprintable() or " " in name:
        raise RerateFault(f"{name[:64]!r}: a name has 1 to 64 characters without blanks")
    if not reason or len(reason) > 200:
        raise RerateFault("a reason has 1 to 200 characters")
    if abs(amount_micros) > LINE_MICROS_MAX:
        raise RerateFault(f"{amount_micros} micro-units: no line is above {LINE_MICROS_MAX}")
    first = work.execute(locked(select(lines).where(lines.c.key == key))).one_or_none()
    if first is None:
        raise RerateFault(f"{key}: no such usage line")
    if first.source == Source.RERATE:
        raise RerateFault(f"{key}: is a correction; name the line that it corrects")
    made = f"rerate.{name}.{first.id}"
    was = int(
        work.execute(
            select(func.sum(lines.c.amount_micros)).where(
                or_(lines.c.id == first.id, lines.c.corrects == first.id), lines.c.key != made
            )
        ).scalar_one()
    )
    difference = amount_micros - was
    there = work.execute(select(lines.c.amount_micros).where(lines.c.key == made)).scalar_one_or_none()
    if there is not None:
        if there != difference:
            raise RerateFault(
                f"{key}: {name} has posted {there} micro-units before, {difference} are asked now"
            )
        return Rerated(difference, new=False)
    if difference:
        _post(work, first.id, made, difference, reason, day, now_ms)
    return Rerated(difference, new=bool(difference))


def _post(
    work: Connection, first: int, key: str, difference_micros: int, reason: str, day: date, now_ms: int
) -> None:
    row = work.execute(select(lines).where(lines.c.id == first)).one()
    (held,) = services_by(work, services.c.id, [row.service])[row.service]
    line = Line(
        key, f"{row.partition}/{row.place}", row.session, row.number, row.service_key, row.book, row.member, row.started_ms, now_ms,
        row.usage_class, row.unit, 0, 0, difference_micros, difference_micros, row.rate, row.tariff, row.zone, row.roaming,
        row.direction, row.counterpart, clean(reason, 200),
    )  # fmt: skip
    held = held._replace(book=row.book, billing_account=row.billing_account, party=row.party)
    taken = Taken(line, held, Class(row.revenue_class, row.tax_code, Ledger(row.ledger)))
    entry = rerate_entry(f"usage:{key}", taken, line.text, day, now_ms)
    work.execute(
        lines.insert(), [{**line_row(taken, Source.RERATE, row.partition, entry.key), "corrects": first}]
    )
    journal.post(work, [entry])
