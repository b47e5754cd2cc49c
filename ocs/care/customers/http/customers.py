"""Customers in the shape of TMF629 v4.0.0: a party as somebody who buys. A customer's id is its number.

Laws
1. Paths, names, statuses and error bodies are the definition's. Its hub and listeners are not served here.
2. Kind and credit class are characteristics. DELETE ends a customer whose billing accounts are closed; it stays to be seen.
"""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection, Row, select

from ocs.care.customers import desk, reading
from ocs.care.customers.http import shapes
from ocs.care.customers.http.ground import (
    ONE,
    READ,
    WRITE,
    FieldsAsked,
    Ground,
    Key,
    Name,
    answers,
    begin,
    instant,
    listing,
    lists,
    looking,
    made_once,
    part,
    working,
)
from ocs.care.customers.shapes import NewCustomer, missing, wrong
from ocs.care.customers.tables import billing_accounts, customers
from ocs.http.access import Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.documented import faults, filters
from ocs.http.prepay.listing import fields_of, query_of

BASE: Final = "/tmf-api/customerManagement/v4"
_KNOWN: Final = {"kind": "kind", "creditClass": "credit_class"}
_ONE: Final = "/customer" + ONE


def router(ground: Ground) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["TMF629 customer"])
    _seen(routes, ground)
    _changed(routes, ground)
    return routes


def _seen(routes: APIRouter, ground: Ground) -> None:
    reads = ground.access.route(READ)
    columns = {"engagedParty.id": customers.c.party, "status": customers.c.status}

    @routes.get(
        "/customer", summary="List customers", responses=lists(shapes.Customer), openapi_extra=filters(*columns)
    )  # fmt: skip
    def list_customers(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List customers, terminated ones too."""
        query = query_of(request, shapes.Customer)
        with looking(ground) as look:
            asked = select(customers).order_by(customers.c.id)
            return listing(
                look, query, asked, {"id": customers.c.number, **columns}, lambda rows: described(look, rows)
            )

    @routes.get(_ONE, summary="Show a customer", responses=answers(200, shapes.Customer))
    def show_customer(name: Name, fields: FieldsAsked = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one customer, with its billing accounts."""
        wanted = fields_of(fields, shapes.Customer)
        with looking(ground) as look:
            (found,) = described(look, [_row(look, name)])
        return ExactAnswer(part(found, wanted))


def _changed(routes: APIRouter, ground: Ground) -> None:
    writes = ground.access.change(WRITE)

    @routes.post(
        "/customer", summary="Create a customer", status_code=201, responses=answers(201, shapes.Customer)
    )  # fmt: skip
    def create_customer(
        asked: shapes.CustomerCreate, key: Key = None, change: Change = writes
    ) -> ExactAnswer:
        """Let a party be a customer, once by the channel's own id; its number is its id."""
        begin(change, "customer.create")
        with working(ground, missing=400) as work:
            values = _values(asked.characteristic)
            party = _party(work, asked.engaged_party.id, asked.name)
            new = NewCustomer(party, values.pop("kind", ""), **values)
            made = made_once(
                ground, work, change, key, new._asdict(), "customer",
                lambda: desk.create_customer(work, new, ground.clock.now_ms(), ground.words).id,
            )  # fmt: skip
            (found,) = described(work, work.execute(select(customers).where(customers.c.id == made)).all())
            return ExactAnswer(found, 201, {"Location": found["href"]})

    @routes.patch(_ONE, summary="Change a customer", responses=answers(200, shapes.Customer))
    def change_customer(name: Name, asked: shapes.CustomerUpdate, change: Change = writes) -> ExactAnswer:
        """Change a customer's kind or credit class; what is left out stays."""
        with looking(ground) as look:
            row = _row(look, name)
        begin(change, "customer.change", f"customer {row.number}")
        with working(ground) as work:
            if asked.engaged_party is not None and asked.engaged_party.id != str(row.party):
                raise wrong(
                    "engagedParty", "a customer stays the party that it is", "create another customer"
                )
            desk.change_customer(work, row.id, _values(asked.characteristic or []), ground.words)
            (found,) = described(work, [_row(work, name)])
            return ExactAnswer(found)

    @routes.delete(_ONE, summary="End a customer", status_code=204, responses=faults())
    def end_customer(name: Name, change: Change = writes) -> None:
        """End a customer whose billing accounts are closed; it stays to be seen."""
        with looking(ground) as look:
            row = _row(look, name)
        begin(change, "customer.end", f"customer {row.number}")
        with working(ground) as work:
            desk.end_customer(work, row.id)


def _row(look: Connection, number: str) -> Row[Any]:
    row = look.execute(select(customers).where(customers.c.number == number)).one_or_none()
    if row is None:
        raise missing("customer", "none has this id")
    return row


def _party(look: Connection, name: str, called: str) -> int:
    key = int(name) if name.isascii() and name.isdigit() and len(name) <= 15 else -1
    names = reading.names_of(look, [key])
    if key not in names:
        raise missing("engagedParty.id", "no party has this id")
    if called != names[key]:
        raise wrong(
            "name", "the party is called otherwise", "write its name as it is, or change the party first"
        )
    return key


def _values(given: Sequence[shapes.Characteristic]) -> dict[str, str]:
    found = {_KNOWN[each.name]: each.value for each in given if each.name in _KNOWN}
    if len(found) != len(given):
        raise wrong(
            "characteristic", "an unknown name, or one is named twice", f"known are {', '.join(_KNOWN)}"
        )
    return found


def described(look: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Describe customers as the definition does."""
    names = reading.names_of(look, [row.party for row in rows])
    kinds = reading.kinds_of(look, [row.party for row in rows])
    accounts: dict[int, list[dict[str, str]]] = {}
    asked = select(billing_accounts.c.customer, billing_accounts.c.number).where(
        billing_accounts.c.customer.in_([row.id for row in rows])
    )
    for each in look.execute(asked.order_by(billing_accounts.c.id)):
        href = f"/tmf-api/accountManagement/v4/billingAccount/{each.number}"
        accounts.setdefault(each.customer, []).append({"id": each.number, "href": href, "name": each.number})
    return [_described(row, names[row.party], kinds[row.party], accounts.get(row.id, [])) for row in rows]


def _described(row: Row[Any], name: str, kind: str, accounts: list[dict[str, str]]) -> dict[str, Any]:
    shape = "Individual" if kind == "person" else "Organization"
    return {
        "id": row.number,
        "href": f"{BASE}/customer/{row.number}",
        "name": name,
        "status": row.status,
        "account": accounts,
        "characteristic": [
            {"name": name, "valueType": "string", "value": getattr(row, column)}
            for name, column in _KNOWN.items()
        ],
        "engagedParty": {
            "id": str(row.party),
            "href": f"/tmf-api/party/v4/{shape.lower()}/{row.party}",
            "name": name,
            "@referredType": shape,
        },
        "validFor": {"startDateTime": instant(row.since_ms)},
        "@type": "Customer",
    }
