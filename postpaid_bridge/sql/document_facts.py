"""What the documents of published bills are made of, read for many at once and frozen.

Laws
1. A chunk is read by a fixed number of statements, whatever its size.
2. What is wrong with one bill is its own reason; the others of the chunk have their facts.
3. A bill above 250.00 names its recipient's full address (UStG section 14(4) no. 1; below: UStDV section 33).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from babel import Locale
from sqlalchemy import Connection, Row, func, select

from ocs.care.customers import reading
from ocs.care.customers.shapes import Address
from ocs.care.customers.tables import addresses, billing_accounts, customers, parties, services
from postpaid_bridge.documents.facts import Facts, Held, Past, Recipient, Seller, ThirdParty, Used, frozen
from postpaid_bridge.sql.bills import bill_lines, bills
from postpaid_bridge.sql.deliveries import New, documents
from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.sql.usage import lines

__all__ = ["Shop", "gathered", "recipients", "unqueued"]

SMALL_CENTS_MAX = 25_000
"""UStDV section 33: up to this a bill needs no recipient."""
_PAST_DAYS = 400
_PAST_MAX = 6


class Shop(NamedTuple):
    """Who sells, third parties by class of revenue, numbers that are never shown, and the zone in which times are told."""

    seller: Seller
    third: Mapping[str, ThirdParty]
    help_lines: tuple[str, ...]
    zone: ZoneInfo


@dataclass(slots=True)
class _Found:
    """What was read for a chunk, by what it is of."""

    recipients: Mapping[int, Recipient]
    names: Mapping[int, str]
    services: dict[int, Held] = field(default_factory=dict)
    lines: dict[int, set[tuple[int, int]]] = field(default_factory=dict)
    used: dict[int, list[Used]] = field(default_factory=dict)
    past: dict[int, list[tuple[date, int]]] = field(default_factory=dict)


def unqueued(look: Connection, after: int, count: int) -> list[int]:
    """Return the next published bills behind an id that have no document yet."""
    asked = (
        select(bills.c.id)
        .outerjoin(documents, documents.c.bill == bills.c.id)
        .where(bills.c.state == "published", documents.c.id.is_(None), bills.c.id > after)
        .order_by(bills.c.id)
        .limit(count)
    )
    return list(look.execute(asked).scalars())


def gathered(look: Connection, ids: Sequence[int], shop: Shop) -> list[New]:
    """Return the documents of bills with their facts frozen, or with the reason for which they have none."""
    a = billing_accounts.c
    own = (a.language, a.itemised, a.payment, a.iban, a.mandate)
    head: list[Any] = [each for each in bills.c if each.name != "content"]
    rows: list[Row[Any]] = []
    for part in id_parts(ids):
        asked = select(*[*head, *own]).join(billing_accounts, a.id == bills.c.billing_account)
        rows += look.execute(asked.where(bills.c.id.in_(part)).order_by(bills.c.id)).all()
    found = _read(look, rows, shop)
    return [_new(row, found, shop) for row in rows]


def _new(row: Row[Any], found: _Found, shop: Shop) -> New:
    recipient = found.recipients[row.billing_account]
    reason = _reason(row, recipient, shop)
    of_lines = found.lines.get(row.id, set())
    facts = Facts(
        row.number,
        row.day,
        row.due_day or row.day,
        shop.seller,
        recipient,
        {party: found.names.get(party, str(party)) for _, party in sorted(of_lines)},
        {service: found.services[service] for service, _ in sorted(of_lines) if service in found.services},
        row.itemised,
        tuple(found.used.get(row.id, ())),
        shop.help_lines,
        _past(found.past.get(row.billing_account, ()), row),
        shop.third,
        payment=row.payment,
        iban_end=row.iban[-4:],
        mandate=row.mandate,
    )
    return New(
        f"bill:{row.number}", "bill", row.language, row.number, row.id, row.billing_account, None if reason else frozen(facts), reason,
    )  # fmt: skip


def _reason(row: Row[Any], recipient: Recipient, shop: Shop) -> str:
    if not shop.seller.name:
        return "the seller has no name: set [seller] in the settings (UStG section 14(4) no. 1)"
    if len(recipient.address) < 3 and abs(row.gross_cents) > SMALL_CENTS_MAX:
        return "the payer has no address: give its party one (UStG section 14(4) no. 1 wants it above 250.00)"
    return ""


def _past(found: Iterable[tuple[date, int]], row: Row[Any]) -> tuple[Past, ...]:
    before = [Past(first.isoformat(), cents) for first, cents in found if first < row.period_first]
    return tuple(before[-_PAST_MAX:])


# ---------------------------------------------------------------- reading


def _read(look: Connection, rows: Sequence[Row[Any]], shop: Shop) -> _Found:
    ids = [row.id for row in rows]
    of_lines: dict[int, set[tuple[int, int]]] = {}
    for part in id_parts(ids):
        b = bill_lines.c
        for bill, service, party in look.execute(
            select(b.bill, b.service, b.party).where(b.bill.in_(part)).distinct()
        ):
            of_lines.setdefault(bill, set()).add((service, party))
    pairs = {pair for each in of_lines.values() for pair in each}
    found = _Found(
        recipients(look, [row.billing_account for row in rows], shop.seller.country),
        reading.names_of(look, {party for _, party in pairs}),
        lines=of_lines,
    )
    for part in id_parts(service for service, _ in pairs if service):
        asked = select(services.c.id, services.c.number, services.c.kind).where(services.c.id.in_(part))
        found.services |= {key: Held(number, kind) for key, number, kind in look.execute(asked)}
    _read_used(look, [row.id for row in rows if row.itemised != "none"], shop.zone, found)
    _read_past(look, rows, found)
    return found


def _read_used(look: Connection, ids: Sequence[int], zone: ZoneInfo, found: _Found) -> None:
    c = lines.c
    columns = (
        c.bill,
        c.started_ms,
        c.service,
        c.usage_class,
        c.counterpart,
        c.unit,
        c.units,
        c.amount_micros,
    )
    for part in id_parts(ids):
        asked = select(*columns).where(c.bill.in_(part)).order_by(c.service, c.started_ms, c.id)
        for bill, started_ms, *rest in look.execute(asked):
            at = datetime.fromtimestamp(started_ms // 1000, zone).replace(tzinfo=None)
            found.used.setdefault(bill, []).append(Used(at.isoformat(), *rest))


def _read_past(look: Connection, rows: Sequence[Row[Any]], found: _Found) -> None:
    if not rows:
        return
    since = min(row.period_first for row in rows) - timedelta(days=_PAST_DAYS)
    c = bills.c
    for part in id_parts(row.billing_account for row in rows):
        asked = (
            select(c.billing_account, c.period_first, func.sum(c.gross_cents))
            .where(c.billing_account.in_(part), c.state == "published", c.period_first >= since)
            .group_by(c.billing_account, c.period_first)
            .order_by(c.billing_account, c.period_first)
        )
        for account, first, cents in look.execute(asked):
            found.past.setdefault(account, []).append((first, int(cents)))


def recipients(look: Connection, accounts: Sequence[int], home: str) -> dict[int, Recipient]:
    """Return to whom the documents of accounts go, by account: the paying party at its address for bills, else its main one."""
    a, p = billing_accounts.c, parties.c
    found: dict[int, Recipient] = {}
    columns = (
        a.id, a.party, a.number, a.language, customers.c.number.label("customer"), p.vat_id, p.kind, p.given_name, p.family_name,
        p.organisation_name,
    )  # fmt: skip
    for part in id_parts(accounts):
        asked = (
            select(*columns)
            .join(parties, p.id == a.party)
            .join(customers, customers.c.id == a.customer)
            .where(a.id.in_(part))
        )
        rows = look.execute(asked).all()
        places = _addresses(look, [row.party for row in rows])
        for row in rows:
            name = (
                row.organisation_name
                if row.kind == "organisation"
                else f"{row.given_name} {row.family_name}".strip()
            )
            where = places.get(row.party)
            window = (name, *(_window(where, row.language, home) if where else ()))
            found[row.id] = Recipient(window, row.customer, row.number, row.vat_id)
    return found


def _addresses(look: Connection, wanted: Iterable[int]) -> dict[int, Address]:
    c = addresses.c
    found: dict[int, Address] = {}
    for part in id_parts(wanted):
        asked = select(c.party, *(c[name] for name in Address._fields)).where(
            c.party.in_(part), c.kind.in_(("main", "billing"))
        )
        for party, *rest in look.execute(asked.order_by(c.kind.desc())):
            found[party] = Address(*rest)  # "main" comes first, and "billing" behind it wins
    return found


def _window(where: Address, language: str, home: str) -> tuple[str, ...]:
    """Return an address as the window shows it (DIN 5008); the country in capitals where it is another one."""
    country = ""
    if where.country != home:
        names = Locale("de" if language == "de" else "en").territories
        country = str(names.get(where.country, where.country)).upper()
    said = (
        where.addition,
        f"{where.street} {where.house_number}".strip(),
        f"{where.postcode} {where.city}",
        country,
    )
    return tuple(each for each in said if each)
