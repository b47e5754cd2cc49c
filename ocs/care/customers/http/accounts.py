"""Billing accounts: in the shape of TMF666 v4.0.0, and whole at /customers/v1/accounts. An account's id is its number.

Laws
1. Paths, names, statuses and error bodies below /tmf-api are the definition's. A partyAccount is a billing account as it is seen; it is
   changed as a billingAccount. Settlement and financial accounts are not served, nor hub and listeners.
2. What the definition has no room for (currency, language, bank account, mandate, discounts, days) is at /customers/v1/accounts. Of a bank
   account only the last four characters are shown.
3. DELETE ends an account today: it is closing until its final bill is made. Nothing hangs on it any more, or it is refused.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt
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
    day_time,
    listing,
    lists,
    looking,
    made_once,
    part,
    working,
)
from ocs.care.customers.shapes import NewAccount, missing, wrong
from ocs.care.customers.tables import billing_accounts, customers
from ocs.http.access import Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.documented import faults, filters
from ocs.http.prepay.listing import fields_of, query_of
from ocs.http.problems import faults_of

BASE: Final = "/tmf-api/accountManagement/v4"
OWN: Final = "/customers/v1/accounts"
_KINDS: Final = {"billingAccount": "BillingAccount", "partyAccount": "PartyAccount"}
_ONE: Final = "/billingAccount" + ONE
_Text = Annotated[str, Field(max_length=256)]


class AccountFields(BaseModel):
    """What a billing account is to be; what is left out stays, or is as usual."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    language: _Text | None = None
    cycle: _Text | None = None
    tax_status: _Text | None = None
    itemised: _Text | None = None
    delivery: _Text | None = None
    email: _Text | None = None
    payment: _Text | None = None
    iban: _Text | None = None
    mandate: _Text | None = None
    mandate_day: date | None = None
    due_days: StrictInt | None = None
    discount_plan: _Text | None = None


class AccountNew(AccountFields):
    """A billing account to be opened, today where no day is named; ``party`` is the paying node, the customer's own if none."""

    customer: _Text
    party: StrictInt | None = None
    currency: _Text | None = None
    since: date | None = None


class AccountShown(BaseModel):
    """A billing account."""

    id: str
    customer: str
    party: int
    currency: str
    language: str
    cycle: str
    tax_status: str
    itemised: str
    delivery: str
    email: str
    payment: str
    iban_end: str
    mandate: str
    mandate_day: str | None
    due_days: int
    discount_plan: str
    status: str
    since: str
    until: str | None
    billed_until: str | None


def tmf_router(ground: Ground) -> APIRouter:
    """Build the routes of the definition."""
    routes = APIRouter(prefix=BASE, tags=["TMF666 account"])
    for path in _KINDS:
        _seen(routes, ground, path)
    _changed(routes, ground)
    return routes


def own_router(ground: Ground) -> APIRouter:
    """Build the routes of our own (law 2)."""
    routes = APIRouter(prefix=OWN, tags=["billing accounts"], responses=faults_of(401, 403, 404, 409))
    reads, writes = ground.access.route(READ), ground.access.change(WRITE)

    @routes.get(ONE, summary="Show a billing account", response_model=AccountShown)
    def show_own(name: Name, _caller: Caller = reads) -> ExactAnswer:
        """Show one account whole."""
        with looking(ground) as look:
            return ExactAnswer(_own(look, name))

    @routes.post("", summary="Open a billing account", status_code=201, response_model=AccountShown)
    def open_own(asked: AccountNew, key: Key = None, change: Change = writes) -> ExactAnswer:
        """Open an account, once by the channel's own id."""
        begin(change, "account.open")
        with working(ground, wrong=422, missing=422) as work:
            given = asked.model_dump(exclude_unset=True, exclude_none=True)
            found = _customer(work, asked.customer)
            new = NewAccount(**({"since": ground.today()} | given | {"customer": found.id}))
            content = given | {"customer": found.id}
            number = _opened(ground, work, change, key, content, new)
            return ExactAnswer(_own(work, number), 201, {"Location": f"{OWN}/{number}"})

    @routes.patch(ONE, summary="Change a billing account", response_model=AccountShown)
    def change_own(name: Name, asked: AccountFields, change: Change = writes) -> ExactAnswer:
        """Change how an account is billed and paid; what is left out stays."""
        with looking(ground) as look:
            row = _row(look, name)
        begin(change, "account.change", f"account {row.number}")
        with working(ground, wrong=422) as work:
            changes = asked.model_dump(exclude_unset=True)
            desk.change_account(
                work,
                row.id,
                {name: "" if value is None else value for name, value in changes.items()},
                ground.words,
            )
            return ExactAnswer(_own(work, name))

    return routes


routers = (tmf_router, own_router)


def _seen(routes: APIRouter, ground: Ground, path: str) -> None:
    shape = shapes.BillingAccount
    columns = {"state": billing_accounts.c.status}
    reads = ground.access.route(READ)

    @routes.get(
        f"/{path}",
        name=f"list_{path}",
        summary=f"List {path}s",
        responses=lists(shape),
        openapi_extra=filters(*columns),
    )
    def list_accounts(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List accounts, closed ones too."""
        query = query_of(request, shape)
        with looking(ground) as look:
            asked = select(billing_accounts).order_by(billing_accounts.c.id)
            columns_all = {"id": billing_accounts.c.number, **columns}
            return listing(look, query, asked, columns_all, lambda rows: _described(look, rows, path))

    @routes.get(
        f"/{path}" + ONE,
        name=f"show_{path}",
        summary=f"Show a {path}",
        responses=answers(200, shape),
    )
    def show_account(name: Name, fields: FieldsAsked = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one account."""
        wanted = fields_of(fields, shape)
        with looking(ground) as look:
            (found,) = _described(look, [_row(look, name)], path)
        return ExactAnswer(part(found, wanted))


def _changed(routes: APIRouter, ground: Ground) -> None:
    writes = ground.access.change(WRITE)

    @routes.post(
        "/billingAccount",
        summary="Open a billingAccount",
        status_code=201,
        responses=answers(201, shapes.BillingAccount),
    )
    def open_account(asked: shapes.AccountCreate, key: Key = None, change: Change = writes) -> ExactAnswer:
        """Open an account today, once by the channel's own id; its number is its id."""
        begin(change, "account.open")
        with working(ground, missing=400) as work:
            customer, party = _parties(work, asked.related_party)
            _check_name(work, asked.name, party)
            fields = _fields(asked)
            new = NewAccount(customer, ground.today(), party, **fields)
            number = _opened(ground, work, change, key, {"customer": customer, "party": party} | fields, new)
            (found,) = _described(work, [_row(work, number)], "billingAccount")
            return ExactAnswer(found, 201, {"Location": found["href"]})

    @routes.patch(_ONE, summary="Change a billingAccount", responses=answers(200, shapes.BillingAccount))
    def change_account(name: Name, asked: shapes.AccountUpdate, change: Change = writes) -> ExactAnswer:
        """Change how an account is billed; what is left out stays."""
        with looking(ground) as look:
            row = _row(look, name)
        begin(change, "account.change", f"account {row.number}")
        with working(ground) as work:
            if asked.name is not None:
                _check_name(work, asked.name, row.party)
            if asked.related_party is not None and _parties(work, asked.related_party) != (
                row.customer,
                row.party,
            ):
                raise wrong(
                    "relatedParty",
                    "customer and payer stay while the account lives",
                    "open another billing account",
                )
            desk.change_account(work, row.id, _fields(asked), ground.words)
            (found,) = _described(work, [_row(work, name)], "billingAccount")
            return ExactAnswer(found)

    @routes.delete(_ONE, summary="End a billingAccount", status_code=204, responses=faults())
    def end_account(name: Name, change: Change = writes) -> None:
        """Let an account pay for nothing from today on; it is closing until its final bill is made."""
        with looking(ground) as look:
            row = _row(look, name)
        begin(change, "account.end", f"account {row.number}")
        with working(ground) as work:
            if row.until is None:
                desk.end_account(work, row.id, ground.today())


def _opened(
    ground: Ground,
    work: Connection,
    change: Change,
    key: str | None,
    content: dict[str, Any],
    new: NewAccount,
) -> str:
    made = made_once(
        ground, work, change, key, content, "account", lambda: desk.open_account(work, new, ground.words).id
    )
    return reading.account(work, made).number


def _row(look: Connection, number: str) -> Row[Any]:
    row = look.execute(select(billing_accounts).where(billing_accounts.c.number == number)).one_or_none()
    if row is None:
        raise missing("account", "none has this id")
    return row


def _customer(look: Connection, number: str) -> Row[Any]:
    row = look.execute(select(customers).where(customers.c.number == number)).one_or_none()
    if row is None:
        raise missing("customer", "none has this number")
    return row


def _check_name(look: Connection, name: str, party: int) -> None:
    if reading.names_of(look, [party]).get(party) != name:
        raise wrong(
            "name",
            "the paying party is called otherwise",
            "write its name as it is, or change the party first",
        )


def _parties(look: Connection, related: Sequence[shapes.AccountParty]) -> tuple[int, int]:
    """Return customer and paying party of an account that is asked for; without a payer it is the customer's own party."""
    roles = {each.role: each.id for each in related}
    if len(roles) != len(related) or roles.keys() - {"customer", "payer"} or "customer" not in roles:
        raise wrong(
            "relatedParty",
            "its roles are not those of an account",
            "name one with role customer, and one with role payer or none",
        )
    customer = _customer(look, roles["customer"])
    payer = roles.get("payer", str(customer.party))
    if not (payer.isascii() and payer.isdigit() and len(payer) <= 15):
        raise missing("relatedParty", "no party has the payer's id")
    return customer.id, int(payer)


def _fields(asked: shapes.AccountUpdate) -> dict[str, Any]:
    """Return the fields that a body names, as the desk has them."""
    found: dict[str, Any] = {}
    structure = asked.bill_structure or shapes.BillStructure()
    if structure.cycle_specification is not None:
        found["cycle"] = structure.cycle_specification.id or structure.cycle_specification.name
        if structure.cycle_specification.payment_due_date_offset is not None:
            found["due_days"] = structure.cycle_specification.payment_due_date_offset
    if structure.format is not None:
        found["itemised"] = structure.format.id or structure.format.name
    if structure.presentation_media is not None:
        found["delivery"] = structure.presentation_media[0].id or structure.presentation_media[0].name
    if asked.default_payment_method is not None:
        found["payment"] = asked.default_payment_method.id
    if asked.tax_exemption is not None:
        found["tax_status"] = asked.tax_exemption[0].reason if asked.tax_exemption else "domestic"
    if asked.contact is not None:
        (medium,) = asked.contact[0].contact_medium
        if medium.medium_type != "email" or medium.characteristic.email_address is None:
            raise wrong(
                "contact[0].contactMedium[0]",
                "bills go to a mail address",
                "name an email, or give the party a billing address",
            )
        found["email"] = medium.characteristic.email_address
    return found


def _described(look: Connection, rows: Sequence[Row[Any]], path: str) -> list[dict[str, Any]]:
    names = reading.names_of(look, [row.party for row in rows])
    asked = select(customers.c.id, customers.c.number, customers.c.party).where(
        customers.c.id.in_([row.customer for row in rows])
    )
    own = {row.id: row for row in look.execute(asked)}
    called = reading.names_of(look, [each.party for each in own.values()])
    kinds = reading.kinds_of(look, [row.party for row in rows])
    return [
        _one(row, path, names[row.party], kinds[row.party], own[row.customer].number, called[own[row.customer].party]) for row in rows
    ]  # fmt: skip


def _one(row: Row[Any], path: str, name: str, kind: str, customer: str, called: str) -> dict[str, Any]:
    shape = "Individual" if kind == "person" else "Organization"
    during = {"startDateTime": day_time(row.since)}
    if row.until is not None:
        during["endDateTime"] = day_time(row.until)
    found: dict[str, Any] = {
        "id": row.number,
        "href": f"{BASE}/{path}/{row.number}",
        "name": name,
        "accountType": "billing",
        "state": row.status,
        "billStructure": {
            "cycleSpecification": {"id": row.cycle, "name": row.cycle, "isRef": True, "paymentDueDateOffset": row.due_days},
            "format": {"id": row.itemised, "name": row.itemised, "isRef": True},
            "presentationMedia": [{"id": row.delivery, "name": row.delivery, "isRef": True}],
        },
        "defaultPaymentMethod": {"id": row.payment, "name": row.payment},
        "relatedParty": [
            {"id": customer, "href": f"/tmf-api/customerManagement/v4/customer/{customer}", "name": called, "role": "customer",
             "@referredType": "Customer"},
            {"id": str(row.party), "href": f"/tmf-api/party/v4/{shape.lower()}/{row.party}", "name": name, "role": "payer",
             "@referredType": shape},
        ],
        "@type": _KINDS[path],
    }  # fmt: skip
    if row.email:
        medium = {"mediumType": "email", "characteristic": {"emailAddress": row.email}}
        found["contact"] = [{"contactType": "billing", "validFor": during, "contactMedium": [medium]}]
    if row.tax_status != "domestic":
        found["taxExemption"] = [{"issuingJurisdiction": "DE", "reason": row.tax_status, "validFor": during}]
    return found


def _own(look: Connection, number: str) -> dict[str, Any]:
    row = _row(look, number)
    found: dict[str, Any] = {
        name: getattr(row, name)
        for name in AccountShown.model_fields
        if name not in {"id", "iban_end", "customer"}
    }
    found = {name: value.isoformat() if isinstance(value, date) else value for name, value in found.items()}
    return {
        "id": row.number,
        "customer": reading.customer(look, row.customer).number,
        **found,
        "iban_end": row.iban[-4:],
    }
