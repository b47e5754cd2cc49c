"""What bills read of customers: who pays on a day, what an account pays for in a period, whom a cycle bills.

Laws
1. Everything is answered as of a day or a period, from history: an old bill can be made again.
2. Lists go on behind the last id (a keyset): memory is flat and each page costs the same, however many there are.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import Any, TypeVar

from sqlalchemy import Connection, func, or_, select

from ocs.care.customers import branches, tree
from ocs.care.customers.shapes import (
    Address,
    BillingAccount,
    Customer,
    Days,
    HeldPlan,
    Holding,
    Service,
    missing,
)
from ocs.care.customers.tables import (
    addresses,
    barrings,
    billing_accounts,
    customers,
    holdings,
    parties,
    service_plans,
    services,
)
from ocs.limits import CUSTOMERS_AT_ONCE, SQL_ROWS_AT_ONCE

__all__ = [
    "account", "account_by_number", "addresses_of", "barred_on", "customer", "customer_by_number", "every_payer", "held_by_number", "held_plans",
    "held_plans_of", "holdings_of_books", "holdings_of_numbers", "kinds_of", "names_of", "numbers_of", "payer_of", "payers_of_cycle", "plans_on", "service", "subtree",
]  # fmt: skip

_T = TypeVar("_T")


def customer(look: Connection, key: int) -> Customer:
    """Return a customer. Raises CustomerFault."""
    row = look.execute(select(customers).where(customers.c.id == key)).one_or_none()
    if row is None:
        raise missing(f"customer {key}")
    return Customer(*row)


def customer_by_number(look: Connection, number: str) -> Customer:
    """Return a customer by its number. Raises CustomerFault."""
    row = look.execute(select(customers).where(customers.c.number == number)).one_or_none()
    if row is None:
        raise missing("customer", "none has this number")
    return Customer(*row)


def account(look: Connection, key: int) -> BillingAccount:
    """Return a billing account. Raises CustomerFault."""
    row = look.execute(select(billing_accounts).where(billing_accounts.c.id == key)).one_or_none()
    if row is None:
        raise missing(f"billing account {key}")
    return BillingAccount(*row)


def account_by_number(look: Connection, number: str) -> BillingAccount:
    """Return a billing account by its number. Raises CustomerFault."""
    row = look.execute(select(billing_accounts).where(billing_accounts.c.number == number)).one_or_none()
    if row is None:
        raise missing("billing account", "none has this number")
    return BillingAccount(*row)


def service(look: Connection, key: int) -> Service:
    """Return a service as it was decided last. Raises CustomerFault."""
    row = look.execute(select(services).where(services.c.id == key)).one_or_none()
    if row is None:
        raise missing(f"service {key}")
    return Service(*row)


def addresses_of(look: Connection, party: int) -> dict[str, Address]:
    """Return the addresses of a party by kind (main, billing, delivery)."""
    asked = select(*(addresses.c[name] for name in Address._fields)).where(addresses.c.party == party)
    return {each.kind: each for each in (Address(*row) for row in look.execute(asked))}


def payer_of(look: Connection, key: int, day: date) -> int | None:
    """Return the billing account that pays for a service on a day; None: nobody, or it is not held then."""
    asked = select(holdings.c.billing_account).where(holdings.c.service == key, *_on(holdings, day))
    return look.execute(asked).scalar_one_or_none()


def held_by_number(look: Connection, number: str, day: date) -> Holding | None:
    """Return who holds the service of a number on a day, and who pays for it; None: nobody."""
    found = holdings_of_numbers(look, [number]).get(number, ())
    return next((each for each in found if each.covers(day)), None)


def holdings_of_books(look: Connection, books: Collection[str]) -> dict[str, list[Holding]]:
    """Return the history of all services that are charged on books, by book: what intake keeps to find payers by day."""
    return _holdings(look, services.c.book, books)


def holdings_of_numbers(look: Connection, numbers: Collection[str]) -> dict[str, list[Holding]]:
    """Return the history of all services that have had numbers (E.164 without a plus), by number."""
    return _holdings(look, services.c.number, numbers)


def _holdings(look: Connection, column: Any, values: Collection[str]) -> dict[str, list[Holding]]:
    found: dict[str, list[Holding]] = {}
    for part in _parts(sorted({each for each in values if each})):
        asked = (
            select(
                column.label("found"), holdings.c.service, holdings.c.party, holdings.c.billing_account, services.c.number, services.c.book,
                services.c.mode, holdings.c.since, holdings.c.until,
            )
            .join(services, holdings.c.service == services.c.id)
            .where(column.in_(part))
            .order_by(holdings.c.service, holdings.c.since)
        )  # fmt: skip
        for row in look.execute(asked):
            found.setdefault(row.found, []).append(Holding(*row[1:]))
    return found


def plans_on(look: Connection, key: int, day: date) -> list[str]:
    """Return the plan of a service on a day, and its options behind it; empty where it is not held then."""
    asked = select(service_plans.c.plan).where(service_plans.c.service == key, *_on(service_plans, day))
    return list(look.execute(asked.order_by(service_plans.c.role.desc(), service_plans.c.id)).scalars())


def barred_on(look: Connection, key: int, day: date) -> str:
    """Return what a service was barred for at the end of a day: none, outgoing or all."""
    asked = select(barrings.c.barred).where(barrings.c.service == key, barrings.c.since <= day)
    found = look.execute(asked.order_by(barrings.c.since.desc(), barrings.c.id.desc()).limit(1))
    return found.scalar_one_or_none() or "none"


def held_plans(look: Connection, billing_account: int, period: Days) -> list[HeldPlan]:
    """Return the plans and options that an account pays for on some day of a period, in order of service and first day."""
    return held_plans_of(look, [billing_account], period)[billing_account]


def held_plans_of(look: Connection, accounts: Sequence[int], period: Days) -> dict[int, list[HeldPlan]]:
    """Return the same for many accounts at once, each of them with a list."""
    found: dict[int, list[HeldPlan]] = {each: [] for each in accounts}
    plans = service_plans
    for part in _parts(accounts):
        asked = (
            select(
                holdings.c.billing_account, holdings.c.party, holdings.c.since.label("held"), holdings.c.until.label("left"),
                plans.c.id, plans.c.service, plans.c.plan, plans.c.role, plans.c.since, plans.c.until,
                services.c.book, services.c.number, services.c.mode,
            )
            .join(plans, plans.c.service == holdings.c.service)
            .join(services, services.c.id == holdings.c.service)
            .where(
                holdings.c.billing_account.in_(part), *_within(holdings, period), *_within(plans, period),
                plans.c.since < _end(holdings), holdings.c.since < _end(plans),
            )
            .order_by(plans.c.service, plans.c.since, plans.c.id, holdings.c.since)
        )  # fmt: skip
        for row in look.execute(asked):
            if row.until is not None and row.until <= row.since:
                continue  # it never held
            ends = [each for each in (row.until, row.left) if each is not None]
            found[row.billing_account].append(
                HeldPlan(
                    row.id, row.service, row.plan, max(row.since, row.held), min(ends, default=None), row.book, row.party, row.since,
                    row.role, row.number, row.mode,
                )
            )  # fmt: skip
    return found


def payers_of_cycle(
    look: Connection, cycle: str, period: Days, *, after: int = 0, count: int = CUSTOMERS_AT_ONCE
) -> list[BillingAccount]:
    """Return the next accounts behind an id that a cycle bills for a period: open on some day of it, or ended and not yet closed."""
    asked = (
        select(billing_accounts)
        .where(
            billing_accounts.c.cycle == cycle,
            billing_accounts.c.status != "closed",
            billing_accounts.c.since < period.next,
            billing_accounts.c.id > after,
        )
        .order_by(billing_accounts.c.id)
        .limit(count)
    )
    return [BillingAccount(*row) for row in look.execute(asked)]


def every_payer(look: Connection, cycle: str, period: Days) -> Iterator[BillingAccount]:
    """Give every account that a cycle bills for a period, page by page (law 2)."""
    after = 0
    while page := payers_of_cycle(look, cycle, period, after=after):
        yield from page
        after = page[-1].id


def subtree(look: Connection, billing_account: int) -> list[int]:
    """Return the parties whose nearest payer is an account now, its own first, each level before the next. Raises CustomerFault.

    Services that name another payer are not its own all the same; those that name it from elsewhere are found by ``held_plans``.
    """
    own = account(look, billing_account)
    found = branches.below(own.party)
    parents = branches.parents_below(look, own.party)
    asked = select(billing_accounts.c.id, billing_accounts.c.party).where(
        billing_accounts.c.party.in_(select(found.c.id)),
        billing_accounts.c.status == "active",
        billing_accounts.c.until.is_(None),
    )
    nodes: dict[int, int] = {}
    for row in look.execute(asked.order_by(billing_accounts.c.id)):
        nodes.setdefault(row.party, row.id)
    paid = tree.paid_by({**parents, own.party: None}, nodes, billing_account)
    return [each for each in parents if each in paid]


def names_of(look: Connection, wanted: Collection[int]) -> dict[int, str]:
    """Return how parties are called, by id."""
    found: dict[int, str] = {}
    asked = select(parties.c.id, parties.c.given_name, parties.c.family_name, parties.c.organisation_name)
    for part in _parts(sorted(set(wanted))):
        for row in look.execute(asked.where(parties.c.id.in_(part))):
            found[row.id] = row.organisation_name or f"{row.given_name} {row.family_name}"
    return found


def kinds_of(look: Connection, wanted: Collection[int]) -> dict[int, str]:
    """Return what parties are (person, organisation), by id."""
    found: dict[int, str] = {}
    for part in _parts(sorted(set(wanted))):
        found.update(
            (row.id, row.kind)
            for row in look.execute(select(parties.c.id, parties.c.kind).where(parties.c.id.in_(part)))
        )
    return found


def numbers_of(look: Connection, wanted: Collection[int]) -> dict[int, str]:
    """Return the numbers of billing accounts, by id."""
    found: dict[int, str] = {}
    asked = select(billing_accounts.c.id, billing_accounts.c.number)
    for part in _parts(sorted(set(wanted))):
        found.update(
            (row.id, row.number) for row in look.execute(asked.where(billing_accounts.c.id.in_(part)))
        )
    return found


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), SQL_ROWS_AT_ONCE):
        yield values[start : start + SQL_ROWS_AT_ONCE]


def _on(table: Any, day: date) -> tuple[Any, ...]:
    return (table.c.since <= day, or_(table.c.until.is_(None), table.c.until > day))


def _within(table: Any, period: Days) -> tuple[Any, ...]:
    return (table.c.since < period.next, or_(table.c.until.is_(None), table.c.until > period.first))


def _end(table: Any) -> Any:
    return func.coalesce(table.c.until, date.max)
