"""Who pays for a service, decided by its tree and kept by day.

Laws
1. Pieces of a service's holding follow each other without a gap. A change on a day ends the piece before it; on a piece's own first day it
   replaces that piece; before the last piece's first day it is refused, since that would be another history.
2. Days that are on bills with numbers (``billed_until``) keep the payer that they were billed to.
3. All services that share a book have one payer at a time: a book's balance is one payer's debt.
4. A postpaid or hybrid service always has a payer; what would take its last one is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, or_, select

from ocs.care.customers import branches, tree
from ocs.care.customers.once import claim
from ocs.care.customers.shapes import conflict, missing, wrong
from ocs.care.customers.tables import billing_accounts, holdings, services
from ocs.limits import SQL_ROWS_AT_ONCE
from ocs.sql import locked

__all__ = ["check_books", "check_open", "check_unbilled", "held_account", "nearest", "place", "settle"]


class _Opened(NamedTuple):
    """A billing account that may pay: from when, and where."""

    id: int
    party: int
    since: date


def nearest(look: Connection, party: int, day: date) -> list[tuple[date, int | None]]:
    """Return who pays for what a party holds without naming anybody: from ``day`` on, and from each later day on which that changes."""
    parents = branches.parents_of(look, party)
    opened = _opened(look, billing_accounts.c.party.in_(parents))
    found: list[tuple[date, int | None]] = []
    for each in _days(opened, day):
        payer = tree.payer_of(parents, _at(opened, each), party)
        if not found or found[-1][1] != payer:
            found.append((each, payer))
    return found


def held_account(work: Connection, account: int) -> Row[Any]:
    """Lock a billing account and return it. Raises CustomerFault."""
    row = work.execute(locked(select(billing_accounts).where(billing_accounts.c.id == account))).one_or_none()
    if row is None:
        raise missing(f"billing account {account}")
    return row


def settle(work: Connection, node: int, day: date) -> list[int]:
    """Decide anew from a day on who pays for what hangs at a node and below; returns the services whose payer changed.

    The top of its tree is held by the caller. Raises CustomerFault (laws 1 to 4), and then nothing may be kept.
    """
    found = branches.below(node)
    parents = branches.parents_of(work, node) | branches.parents_below(work, node)
    above = [each for each in branches.parents_of(work, node) if each != node]
    opened = _opened(
        work, or_(billing_accounts.c.party.in_(select(found.c.id)), billing_accounts.c.party.in_(above))
    )
    asked = select(services).where(
        services.c.party.in_(select(found.c.id)),
        services.c.payer_named.is_(False),
        or_(services.c.until.is_(None), services.c.until > day),
    )
    changed: dict[int, str] = {}
    days = [(each, _at(opened, each)) for each in _days(opened, day)]
    for row in work.execute(locked(asked.order_by(services.c.id))).all():
        # of the days before a service begins only the last counts, on its first day
        of_row = {max(each, row.since): accounts for each, accounts in days}
        for each, accounts in of_row.items():
            if row.until is not None and row.until <= each:
                continue
            payer = tree.payer_of(parents, accounts, row.party)
            if place(work, row.id, each, billing_account=payer):
                changed[row.id] = row.book
    check_books(work, [book for book in changed.values() if book])
    return list(changed)


def place(work: Connection, service: int, day: date, **changes: int | None) -> bool:
    """Begin a new piece of a service's holding (``party``, ``billing_account``) on a day; returns whether anything changed. Law 1."""
    held = work.execute(select(services).where(services.c.id == service)).one()
    last = work.execute(
        select(holdings).where(holdings.c.service == service).order_by(holdings.c.since.desc()).limit(1)
    ).one()
    wanted = {"party": last.party, "billing_account": last.billing_account} | changes
    if (wanted["party"], wanted["billing_account"]) == (last.party, last.billing_account):
        return False
    where = f"service {service}"
    if day < last.since:
        raise conflict(
            where, f"who holds and pays it is decided from {last.since} on", "date the change then or later"
        )
    if held.until is not None and day >= held.until:
        raise conflict(where, f"it ends on {held.until}", "date the change before")
    if wanted["billing_account"] is None and held.mode != "prepaid":
        raise conflict(
            where,
            "nobody would pay for it",
            "open a billing account at its party or above, name one, or end it before",
        )
    check_unbilled(work, (last.billing_account, wanted["billing_account"]), day)
    if day == last.since:
        work.execute(holdings.update().where(holdings.c.id == last.id).values(**wanted))
    else:
        work.execute(holdings.update().where(holdings.c.id == last.id).values(until=day))
        work.execute(holdings.insert(), [{"service": service, "since": day, "until": last.until, **wanted}])
    work.execute(services.update().where(services.c.id == service).values(**wanted))
    return True


def check_unbilled(look: Connection, accounts: Iterable[int | None], day: date) -> None:
    """Refuse a change of days that are on bills with numbers. Raises CustomerFault (law 2)."""
    named = [each for each in accounts if each is not None]
    if not named:
        return
    asked = select(billing_accounts.c.number, billing_accounts.c.billed_until).where(
        billing_accounts.c.id.in_(named), billing_accounts.c.billed_until > day
    )
    for row in look.execute(asked):
        raise conflict(
            "day",
            f"billing account {row.number} is billed up to {row.billed_until}",
            "date the change then or later",
        )


def check_books(work: Connection, books: Sequence[str]) -> None:
    """Refuse books that more than one billing account would pay for at a time. Raises CustomerFault (law 3)."""
    claim(work, [f"book:{each}" for each in books])
    for start in range(0, len(books), SQL_ROWS_AT_ONCE):
        part = list(set(books[start : start + SQL_ROWS_AT_ONCE]))
        one, other = holdings.alias("one"), holdings.alias("other")
        first, second = services.alias("first"), services.alias("second")
        both = (
            select(first.c.id, second.c.id)
            .join(one, one.c.service == first.c.id)
            .join(second, (second.c.book == first.c.book) & (second.c.id > first.c.id))
            .join(other, other.c.service == second.c.id)
            .where(
                first.c.book.in_(part),
                one.c.billing_account != other.c.billing_account,
                one.c.since < func.coalesce(other.c.until, date.max),
                other.c.since < func.coalesce(one.c.until, date.max),
            )
            .limit(1)
        )
        for left, right in work.execute(both):
            raise conflict(
                f"service {right}",
                f"it shares its book with service {left}, and both would have different payers at a time",
                "give both the same payer, or books of their own",
            )


def _opened(look: Connection, where: Any) -> list[_Opened]:
    """Return the accounts that take something new, the first of each node first."""
    asked = select(billing_accounts.c.id, billing_accounts.c.party, billing_accounts.c.since).where(
        where, billing_accounts.c.status == "active", billing_accounts.c.until.is_(None)
    )
    return [_Opened(*row) for row in look.execute(asked.order_by(billing_accounts.c.id))]


def _at(opened: Sequence[_Opened], day: date) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for each in opened:
        if each.since <= day:
            found.setdefault(each.party, each.id)
    return found


def _days(opened: Sequence[_Opened], day: date) -> list[date]:
    return sorted({day, *(each.since for each in opened if each.since > day)})


def check_open(row: Row[Any], since: date, where: str = "payer") -> None:
    """Refuse a billing account that cannot pay from a day on. Raises CustomerFault."""
    if row.status != "active" or row.until is not None:
        raise conflict(where, f"billing account {row.number} is {row.status}", "name one that is active")
    if since < row.since:
        raise wrong(where, f"billing account {row.number} begins on {row.since}", "date it then or later")
