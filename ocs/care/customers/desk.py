"""Units of work on parties, addresses, customers and billing accounts: create, change, end. Services are service_desk.py's.

Laws
1. Every function works in the unit of work that it is given (ocs.sql.writing), and raises CustomerFault before its first write, or the
   unit of work is undone.
2. What is there already so stays so: a change that changes nothing is none.
3. Nothing is deleted but an address, of which bills have their own copy.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Table, func, or_, select

from ocs.care.customers import branches, tree
from ocs.care.customers.once import next_of
from ocs.care.customers.payers import check_unbilled, held_account, settle
from ocs.care.customers.shapes import (
    ANY_WORDS,
    Address,
    BillingAccount,
    Customer,
    NewAccount,
    NewCustomer,
    NewOrganisation,
    NewPerson,
    Words,
    account_number,
    checked,
    conflict,
    customer_number,
    missing,
    wrong,
)
from ocs.care.customers.tables import addresses, billing_accounts, customers, holdings, parties, services
from ocs.sql import locked

__all__ = [
    "change_account", "change_customer", "change_party", "close_account", "create_customer", "create_party", "drop_address", "end_account",
    "end_customer", "end_party", "move_branch", "open_account", "put_address",
]  # fmt: skip

_Shape = TypeVar("_Shape", NewPerson, NewOrganisation, NewCustomer, NewAccount)


def create_party(work: Connection, asked: NewPerson | NewOrganisation, now_ms: int) -> int:
    """Create a person, a company or a branch; returns its id. Raises CustomerFault."""
    if isinstance(asked, NewPerson):
        made = checked(asked)
        return _insert(work, parties, {"kind": "person", "since_ms": now_ms, **made._asdict()})
    made_organisation = checked(asked)
    if made_organisation.parent is not None:
        branches.held_tops(work, [made_organisation.parent])
        _check_parent(work, made_organisation.parent)
        upwards = branches.parents_of(work, made_organisation.parent)
        if refusal := tree.move_refusal({**upwards, 0: None}, 0, made_organisation.parent):
            raise conflict("parent", *refusal.split("; ", 1))
    return _insert(work, parties, {"kind": "organisation", "since_ms": now_ms, **made_organisation._asdict()})


def change_party(work: Connection, party: int, changes: Mapping[str, Any]) -> None:
    """Change fields of a person or an organisation; where it hangs is ``move_branch``'s. Raises CustomerFault."""
    row = _held(work, parties, party, "party")
    if row.until_ms is not None:
        raise conflict(f"party {party}", "it has ended", "create another one")
    if "parent" in changes:
        raise wrong("parent", "a branch is moved from a day on", "say from which day")
    made: NewPerson | NewOrganisation
    made = (
        _changed(NewPerson, row, changes) if row.kind == "person" else _changed(NewOrganisation, row, changes)
    )
    if isinstance(made, NewOrganisation) and row.vat_id and not made.vat_id:
        _check_vat_id_free(work, party)
    values = made._asdict()
    values.pop("parent", None)
    work.execute(parties.update().where(parties.c.id == party).values(**values))


def move_branch(work: Connection, party: int, to: int | None, day: date) -> list[int]:
    """Hang an organisation, and all below it, below another one (None: nowhere) from a day on; returns the services whose payer changes.

    Raises CustomerFault: for circles, too many levels, and billing accounts whose customer would no longer be above them.
    """
    branches.held_tops(work, [party] if to is None else [party, to])
    row = _held(work, parties, party, "party")
    if row.parent == to:
        return []
    if row.kind != "organisation":
        raise wrong(f"party {party}", "a person has no place in a tree", "move an organisation")
    parents = branches.parents_below(work, party)
    if to is not None:
        _check_parent(work, to)
        parents |= branches.parents_of(work, to)
    if refusal := tree.move_refusal(parents, party, to):
        raise conflict("parent", *refusal.split("; ", 1))
    work.execute(parties.update().where(parties.c.id == party).values(parent=to))
    _check_customers_above(work, party)
    return settle(work, party, day)


def end_party(work: Connection, party: int, now_ms: int) -> None:
    """End a party that holds nothing any more. Raises CustomerFault."""
    branches.held_tops(work, [party])
    row = _held(work, parties, party, "party")
    if row.until_ms is not None:
        return
    where = f"party {party}"
    if (
        found := _first(work, parties.c.id, parties.c.parent == party, parties.c.until_ms.is_(None))
    ) is not None:
        raise conflict(where, f"party {found} hangs below it", "end or move it first")
    if (
        found := _first(work, services.c.id, services.c.party == party, services.c.until.is_(None))
    ) is not None:
        raise conflict(where, f"it holds service {found}", "end that first")
    if (
        found := _first(work, customers.c.number, customers.c.party == party, customers.c.status == "active")
    ) is not None:
        raise conflict(where, f"it is customer {found}", "end that first")
    open_here = (billing_accounts.c.party == party, billing_accounts.c.status != "closed")
    if (found := _first(work, billing_accounts.c.number, *open_here)) is not None:
        raise conflict(where, f"billing account {found} is there", "close that first")
    work.execute(parties.update().where(parties.c.id == party).values(until_ms=now_ms))


def put_address(work: Connection, party: int, asked: Address) -> None:
    """Give a party an address, in place of the one of that kind. Raises CustomerFault."""
    made = checked(asked)
    _held(work, parties, party, "party")
    its = (addresses.c.party == party) & (addresses.c.kind == made.kind)
    if not work.execute(addresses.update().where(its).values(**made._asdict())).rowcount:
        work.execute(addresses.insert(), [{"party": party, **made._asdict()}])


def drop_address(work: Connection, party: int, kind: str) -> None:
    """Take an address away from a party; the main one of a paying node stays. Raises CustomerFault."""
    _held(work, parties, party, "party")
    paying = (billing_accounts.c.party == party, billing_accounts.c.status != "closed")
    if kind == "main" and (found := _first(work, billing_accounts.c.number, *paying)) is not None:
        raise conflict(
            "address", f"bills of billing account {found} need it", "give another one in its place"
        )
    work.execute(addresses.delete().where((addresses.c.party == party) & (addresses.c.kind == kind)))


def create_customer(work: Connection, asked: NewCustomer, now_ms: int, words: Words = ANY_WORDS) -> Customer:
    """Let a party be a customer, with a number of its own. Raises CustomerFault."""
    made = checked(asked, words)
    row = _held(work, parties, made.party, "party")
    _check_kind(row, made.kind)
    if row.until_ms is not None:
        raise conflict("party", "it has ended", "name one that has not")
    if (found := _first(work, customers.c.number, customers.c.party == made.party)) is not None:
        raise conflict("party", f"it is customer {found} already", "a party is one customer")
    values = {
        "number": customer_number(next_of(work, "customer")), **made._asdict(), "status": "active", "since_ms": now_ms,
    }  # fmt: skip
    return Customer(id=_insert(work, customers, values), **values)


def change_customer(
    work: Connection, customer: int, changes: Mapping[str, Any], words: Words = ANY_WORDS
) -> None:
    """Change a customer's kind or credit class. Raises CustomerFault."""
    row = _held(work, customers, customer, "customer")
    if row.status != "active":
        raise conflict(f"customer {customer}", "it has ended", "create another one")
    if "party" in changes and changes["party"] != row.party:
        raise wrong("party", "a customer stays the party that it is", "create another customer")
    made = _changed(NewCustomer, row, changes, words)
    _check_kind(_held(work, parties, row.party, "party"), made.kind)
    values = {"kind": made.kind, "credit_class": made.credit_class}
    work.execute(customers.update().where(customers.c.id == customer).values(**values))


def end_customer(work: Connection, customer: int) -> None:
    """End a customer whose billing accounts are all closed. Raises CustomerFault."""
    _held(work, customers, customer, "customer")
    its = (billing_accounts.c.customer == customer, billing_accounts.c.status != "closed")
    if (found := _first(work, billing_accounts.c.number, *its)) is not None:
        raise conflict(
            f"customer {customer}",
            f"billing account {found} is not closed",
            "end it, and let its final bill be made",
        )
    work.execute(customers.update().where(customers.c.id == customer).values(status="terminated"))


def open_account(work: Connection, asked: NewAccount, words: Words = ANY_WORDS) -> BillingAccount:
    """Open a billing account, with a number of its own: from its first day on it pays for what hangs below its party and names nobody.

    Raises CustomerFault.
    """
    made = checked(asked, words)
    customer = _held(work, customers, made.customer, "customer")
    if customer.status != "active":
        raise conflict("customer", "it has ended", "name one that is active")
    party = made.party if made.party is not None else customer.party
    branches.held_tops(work, [party])
    if customer.party not in branches.climb(work, party):
        raise wrong(
            "party",
            f"it is not below party {customer.party}, which is the customer",
            "name the customer's party or one below it",
        )
    node = _held(work, parties, party, "party")
    if node.until_ms is not None:
        raise conflict("party", "it has ended", "name one that has not")
    _check_reachable(work, made, party)
    values = {
        "number": account_number(next_of(work, "billing account")), **made._asdict(), "party": party, "status": "active", "until": None,
        "billed_until": None,
    }  # fmt: skip
    account = BillingAccount(id=_insert(work, billing_accounts, values), **values)
    settle(work, party, made.since)
    return account


def change_account(
    work: Connection, account: int, changes: Mapping[str, Any], words: Words = ANY_WORDS
) -> None:
    """Change how an account is billed and paid; its customer, party, currency and first day stay. Raises CustomerFault."""
    row = held_account(work, account)
    if row.status == "closed":
        raise conflict(f"billing account {row.number}", "it is closed", "open another one")
    for name in ("customer", "party", "currency", "since"):
        if name in changes and changes[name] != getattr(row, name):
            raise wrong(name, "it stays as it is while the account lives", "open another billing account")
    made = _changed(NewAccount, row, changes, words)
    _check_reachable(work, made, row.party)
    work.execute(billing_accounts.update().where(billing_accounts.c.id == account).values(**made._asdict()))


def end_account(work: Connection, account: int, day: date) -> None:
    """Let an account pay for nothing from a day on; it is closing until its final bill is made. Raises CustomerFault.

    What names nobody is paid by the next account upwards from then on; where there is none, or an account is named, it is refused.
    """
    found = work.execute(
        select(billing_accounts.c.party).where(billing_accounts.c.id == account)
    ).scalar_one_or_none()
    if found is None:
        raise missing(f"billing account {account}")
    branches.held_tops(work, [found])
    row = held_account(work, account)
    where = f"billing account {row.number}"
    if row.until is not None:
        if row.until == day:
            return
        raise conflict(where, f"it ends on {row.until} already", "leave it so")
    if day < row.since:
        raise wrong("until", f"it begins on {row.since}", "date its end then or later")
    check_unbilled(work, [account], day)
    work.execute(
        billing_accounts.update().where(billing_accounts.c.id == account).values(status="closing", until=day)
    )
    settle(work, row.party, day)
    left = select(func.min(holdings.c.service)).where(
        holdings.c.billing_account == account, or_(holdings.c.until.is_(None), holdings.c.until > day)
    )
    if (service := work.execute(left).scalar()) is not None:
        raise conflict(
            where,
            f"it pays for service {service} after {day}",
            "end that service by then, or name another payer",
        )


def close_account(work: Connection, account: int) -> None:
    """Close an account that has ended: its final bill is made (the bill run says so). Raises CustomerFault."""
    row = held_account(work, account)
    if row.until is None:
        raise conflict(f"billing account {row.number}", "it has not ended", "end it first")
    work.execute(billing_accounts.update().where(billing_accounts.c.id == account).values(status="closed"))


def _insert(work: Connection, table: Table, values: Mapping[str, Any]) -> int:
    return int(work.execute(table.insert().values(**values).returning(table.c.id)).scalar_one())


def _held(work: Connection, table: Table, key: int, name: str) -> Row[Any]:
    row = work.execute(locked(select(table).where(table.c.id == key))).one_or_none()
    if row is None:
        raise missing(f"{name} {key}")
    return row


def _first(work: Connection, column: Any, *where: Any) -> Any:
    return work.execute(select(column).where(*where).limit(1)).scalar_one_or_none()


def _changed(
    kind: type[_Shape], row: Row[Any], changes: Mapping[str, Any], words: Words = ANY_WORDS
) -> _Shape:
    """Return a row as it was asked for, with other values. Raises CustomerFault."""
    if unknown := changes.keys() - set(kind._fields):
        raise wrong(min(unknown), "there is no such field", f"fields are {', '.join(kind._fields)}")
    now = {name: getattr(row, name) for name in kind._fields}
    return checked(kind(**(now | dict(changes))), words)


def _check_parent(work: Connection, parent: int) -> None:
    row = work.execute(select(parties).where(parties.c.id == parent)).one()
    if row.kind != "organisation":
        raise wrong("parent", f"party {parent} is a person", "name an organisation")
    if row.until_ms is not None:
        raise conflict("parent", f"party {parent} has ended", "name one that has not")


def _check_kind(party: Row[Any], kind: str) -> None:
    if party.kind == "organisation" and kind == "consumer":
        raise wrong(
            "kind",
            "an organisation is no consumer (BGB section 13)",
            "write business, small_business or non_profit",
        )
    if party.kind == "person" and kind == "non_profit":
        raise wrong(
            "kind",
            "a person is no organisation",
            "write consumer, or business or small_business for a trader",
        )


def _check_customers_above(work: Connection, party: int) -> None:
    """Refuse a place in which a billing account has no longer its customer at its party or above it."""
    found = branches.below(party)
    its = billing_accounts.c.customer == customers.c.id
    asked = (
        select(billing_accounts.c.number, billing_accounts.c.party, customers.c.party.label("top"))
        .join(customers, its)
        .where(billing_accounts.c.party.in_(select(found.c.id)), billing_accounts.c.status != "closed")
    )
    for row in work.execute(asked).all():
        if row.top not in branches.climb(work, row.party):
            raise conflict(
                "parent",
                f"billing account {row.number} would be outside its customer's tree",
                "close it first",
            )


def _check_reachable(work: Connection, made: NewAccount, party: int) -> None:
    """Refuse an account whose bills would not arrive, or would lack what tax law asks for."""
    row = work.execute(select(parties.c.email, parties.c.vat_id).where(parties.c.id == party)).one()
    if made.delivery == "email" and not made.email and not row.email:
        raise wrong(
            "email",
            "bills by mail need an address",
            "name one here or at the party, or deliver by download or post",
        )
    if made.tax_status == "reverse_charge" and not row.vat_id:
        raise wrong(
            "tax_status",
            "reverse charge needs the VAT id of the paying party (UStG section 14a)",
            "give the party its vat_id",
        )


def _check_vat_id_free(work: Connection, party: int) -> None:
    asked = (
        billing_accounts.c.party == party,
        billing_accounts.c.tax_status == "reverse_charge",
        billing_accounts.c.status != "closed",
    )
    if (found := _first(work, billing_accounts.c.number, *asked)) is not None:
        raise conflict("vat_id", f"billing account {found} has reverse charge", "change its tax status first")
