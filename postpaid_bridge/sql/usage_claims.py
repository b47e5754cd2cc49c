"""Usage lines of many accounts at once: claimed for the bills of a chunk, and summed up by the days that they are billed over.

Laws
1. A bill sums up what it has claimed, in the unit of work that claims it: a line that comes in between is the next bill's.
2. A line older than its run's bound is held as late, as one account's are (sql/usage.py, law 4).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, literal, select, update

from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.sql.usage import lines

__all__ = ["Asked", "Sum", "claim", "sums", "unclaim"]


class Asked(NamedTuple):
    """What a bill may have of its account: lines from ``oldest_ms`` to before ``before_ms``."""

    bill: int
    billing_account: int
    oldest_ms: int
    before_ms: int


class Sum(NamedTuple):
    """Lines of one kind between two cuts (``place`` counts the cuts before it), added up."""

    billing_account: int
    service: int
    party: int
    book: str
    usage_class: str
    tax_code: str
    place: int
    lines: int
    units: int
    amount_micros: int


def _alike(asked: Sequence[Asked]) -> dict[tuple[int, int], dict[int, int]]:
    """Return accounts and their bills by the bounds that they share."""
    found: dict[tuple[int, int], dict[int, int]] = {}
    for each in asked:
        found.setdefault((each.oldest_ms, each.before_ms), {})[each.billing_account] = each.bill
    return found


def claim(work: Connection, asked: Sequence[Asked]) -> None:
    """Let each bill have its account's lines; older ones are held as late."""
    c = lines.c
    for (oldest_ms, before_ms), accounts in _alike(asked).items():
        for part in id_parts(accounts):
            free = (c.billing_account.in_(part), c.bill.is_(None))
            work.execute(update(lines).where(*free, c.at_ms < oldest_ms, c.held == "").values(held="late"))
            of_account = case({each: accounts[each] for each in part}, value=c.billing_account)
            work.execute(
                update(lines).where(*free, c.at_ms < before_ms, c.held != "late").values(bill=of_account)
            )


def sums(look: Connection, asked: Sequence[Asked], cuts_ms: Sequence[int], *, claimed: bool) -> list[Sum]:
    """Return what bills have claimed (or, without ``claimed``, what they would) by account, kind and place between the cuts."""
    c = lines.c
    ordered = sorted(cuts_ms)
    place: ColumnElement[int] = literal(0)
    if ordered:
        place = case(*((c.at_ms < cut, number) for number, cut in enumerate(ordered)), else_=len(ordered))
    by = (c.billing_account, c.service, c.party, c.book, c.usage_class, c.tax_code, place.label("place"))
    found: list[Sum] = []
    for (oldest_ms, before_ms), accounts in _alike(asked).items():
        for part in id_parts(accounts):
            of: tuple[ColumnElement[bool], ...]
            if claimed:
                of = (c.billing_account.in_(part), c.bill.in_(accounts[each] for each in part))
            else:
                of = (
                    c.billing_account.in_(part), c.bill.is_(None), c.at_ms < before_ms,
                    (c.held == "free") | ((c.held == "") & (c.at_ms >= oldest_ms)),
                )  # fmt: skip
            rows = look.execute(
                select(*by, func.count(), func.sum(c.units), func.sum(c.amount_micros))
                .where(*of)
                .group_by(*by)
            )
            found += [Sum(*row[:7], *map(int, row[7:])) for row in rows]
    return found


def unclaim(work: Connection, undone: Mapping[int, int]) -> None:
    """Give back the lines of bills that are undone: their ids, with their accounts'."""
    for part in id_parts(undone):
        accounts = sorted({undone[each] for each in part})
        of = (lines.c.billing_account.in_(accounts), lines.c.bill.in_(part))
        work.execute(update(lines).where(*of).values(bill=None))
