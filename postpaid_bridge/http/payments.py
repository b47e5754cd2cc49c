"""Payments over HTTP: in the shape of TMF676 v4 (payment), and what it has no room for at /payments/v1 (charge-backs, refunds, clearing).

Laws
1. A payment is known by the caller's channel and ``correlatorId``, the provider's own id: posted again it gives the same answer, other content 409.
2. ``account`` is a billing account by its number; without one the payment is placed by the bills that it names, or waits in clearing.
3. What is changed is on the audit log by ids and states alone; a payer's bank account is shown by its last four characters.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy import Connection, Row, select

from ocs.care.customers.http.ground import (
    ONE,
    READ,
    FieldsAsked,
    Ground,
    Name,
    answers,
    begin,
    day_time,
    instant,
    key_of,
    listing,
    lists,
    looking,
    part,
    working,
)
from ocs.care.customers.shapes import missing
from ocs.care.customers.tables import billing_accounts
from ocs.http.access import Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.documented import filters
from ocs.http.prepay.listing import fields_of, query_of
from ocs.http.prepay.quantities import decimal_of, micros_of
from ocs.http.prepay.shapes import AccountRef, Instant, Money, Ref, Shape, Text
from ocs.http.problems import faults_of
from postpaid_bridge.allocation import Wish
from postpaid_bridge.payments import Received, Return
from postpaid_bridge.sql import clearing
from postpaid_bridge.sql.payment_views import View, listed, views
from postpaid_bridge.sql.payments import day_before, payments, read, receive, returns
from postpaid_bridge.sql.returns import charge_back, refund

__all__ = ["BASE", "OWN", "own_router", "routers", "tmf_router"]

BASE: Final = "/tmf-api/paymentManagement/v4"
OWN: Final = "/payments/v1"
WRITE: Final = "payments:write"
_STATES: Final = {"placed": "accepted", "clearing": "pending", "left": "pending", "gone": "cancelled"}
"""Status of a payment, by its state."""
OwnId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[ -~]{1,128}$")]


class PaymentItem(Shape):
    """What the payer named: a bill, and how much of the payment is for it."""

    item: Ref
    amount: Money | None = None
    id: Text | None = None
    total_amount: Money | None = None


class PaymentMethod(Shape):
    """How it was paid: bankTransfer, directDebit, card, cash …"""

    name: Text | None = None
    id: Text | None = None


class Payer(Shape):
    """Who paid."""

    name: Text | None = None
    id: Text | None = None
    role: Text | None = None
    referred_type: Text | None = Field(None, alias="@referredType")


class PaymentCreate(Shape):
    """A payment that came in (Payment_Create); ``paymentDate`` is the day from which the money is ours, today if none."""

    correlator_id: OwnId
    total_amount: Money
    payment_method: PaymentMethod
    account: AccountRef | None = None
    payment_date: Instant | None = None
    description: Text | None = None
    name: Text | None = None
    payer: Payer | None = None
    payment_item: Annotated[list[PaymentItem], Field(max_length=100)] | None = None


class Payment(PaymentCreate):
    """A payment."""

    id: Text
    href: Text
    status: Text
    status_date: Instant
    amount: Money


class Returned(BaseModel):
    """Money that goes back; ``id`` is the provider's own, ``amount`` all that is left if none."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: OwnId
    amount: Decimal | None = None
    fee: Decimal | None = None
    fee_passed_on: bool = True
    day: date | None = None
    reason: Annotated[str, Field(max_length=200)] = ""


class Placed(BaseModel):
    """Where a payment that waited goes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    account: Annotated[str, Field(max_length=20)]
    bills: Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=100)] = []
    reason: Annotated[str, Field(max_length=200)] = ""


class Left(BaseModel):
    """Why a payment is left in clearing."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Annotated[str, Field(min_length=1, max_length=200)]


class PaymentShown(BaseModel):
    """A payment, whole."""

    id: int
    provider: str
    provider_id: str
    state: str
    why: str
    account: str
    amount: Decimal
    left: Decimal
    currency: str
    day: date
    method: str
    payer: str
    iban_end: str
    text: str
    looks_like: StrictInt | None
    paid: list[dict[str, Any]]
    returned: list[dict[str, Any]]


def tmf_router(ground: Ground) -> APIRouter:
    """Build the routes of the definition."""
    routes = APIRouter(prefix=BASE, tags=["TMF676 payment"])
    reads, writes = ground.access.route(READ), ground.access.change(WRITE)

    @routes.post("/payment", summary="Book a payment", status_code=201, responses=answers(201, Payment))
    def create_payment(asked: PaymentCreate, change: Change = writes) -> ExactAnswer:
        """Book a payment once by the provider's id."""
        begin(change, "payment.create", asked.correlator_id[:64])
        with working(ground, missing=400) as work:
            row, _ = receive(work, _received(work, ground, change, asked), ground.clock.now_ms())
            (found,) = _described(work, [row])
            change.made(resource=f"payment {row.id}")
        return ExactAnswer(found, 201, {"Location": found["href"]})

    columns = {
        "correlatorId": payments.c.own_id,
        "account.id": billing_accounts.c.number,
        "id": payments.c.id,
    }

    @routes.get(
        "/payment", summary="List payments", responses=lists(Payment), openapi_extra=filters(*columns)
    )
    def list_payments(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List payments, the newest first."""
        with looking(ground) as look:
            asked = listed().outerjoin(billing_accounts, billing_accounts.c.id == payments.c.billing_account)
            return listing(
                look, query_of(request, Payment), asked, columns, lambda rows: _described(look, rows)
            )

    @routes.get("/payment" + ONE, summary="Show a payment", responses=answers(200, Payment))
    def show_payment(name: Name, fields: FieldsAsked = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one payment."""
        wanted = fields_of(fields, Payment)
        with looking(ground) as look:
            (found,) = _described(look, [read(look, key_of(name, "payment"))])
        return ExactAnswer(part(found, wanted))

    return routes


def own_router(ground: Ground) -> APIRouter:
    """Build the routes of our own."""
    routes = APIRouter(prefix=OWN, tags=["payments"], responses=faults_of(401, 403, 404, 409))
    _returns(routes, ground)
    _clearing(routes, ground)
    return routes


routers = (tmf_router, own_router)


def _returns(routes: APIRouter, ground: Ground) -> None:
    reads, writes = ground.access.route(READ), ground.access.change(WRITE)

    @routes.get("/payments" + ONE, summary="Show a payment whole", response_model=PaymentShown)
    def show_whole(name: Name, _caller: Caller = reads) -> ExactAnswer:
        """Show what a payment paid, what went back, and what is left."""
        with looking(ground) as look:
            return _whole(look, read(look, key_of(name, "payment")))

    @routes.post(
        "/payments" + ONE + "/charge-backs",
        summary="Book what the bank took back",
        status_code=201,
        response_model=PaymentShown,
    )
    def create_charge_back(name: Name, asked: Returned, change: Change = writes) -> ExactAnswer:
        """Book a charge-back once by the provider's id: what the payment paid is open again."""
        key = key_of(name, "payment")
        begin(change, "payment.charge_back", f"payment {key}")
        with working(ground, wrong=422) as work:
            charge_back(work, _return(work, ground, change, key, asked), ground.clock.now_ms())
            return _whole(work, read(work, key), 201)

    @routes.post(
        "/payments" + ONE + "/refunds",
        summary="Pay something back",
        status_code=201,
        response_model=PaymentShown,
    )
    def create_refund(name: Name, asked: Returned, change: Change = writes) -> ExactAnswer:
        """Book a refund once by the provider's id, of what is on no claim."""
        key = key_of(name, "payment")
        begin(change, "payment.refund", f"payment {key}")
        with working(ground, wrong=422) as work:
            refund(work, _return(work, ground, change, key, asked), ground.clock.now_ms())
            return _whole(work, read(work, key), 201)


def _clearing(routes: APIRouter, ground: Ground) -> None:
    reads, writes = ground.access.route(READ), ground.access.change(WRITE)

    @routes.get("/clearing", summary="List what nobody can place", response_model=list[dict[str, Any]])
    def list_clearing(_caller: Caller = reads) -> ExactAnswer:
        """List payments that wait for a human (at most 100), with the accounts that they may be for."""
        with looking(ground) as look:
            rows = clearing.waiting(look)
            shown = [_whole_of(each) for each in views(look, rows)]
            for each in shown:
                each["proposals"] = [
                    {"account": one.number, "bills": list(one.bills), "why": list(one.why)}
                    for one in clearing.proposals(look, each["id"])
                ]
            return ExactAnswer(shown)

    @routes.post(
        "/clearing" + ONE + "/place", summary="Place a payment on an account", response_model=PaymentShown
    )
    def place_payment(name: Name, asked: Placed, change: Change = writes) -> ExactAnswer:
        """Place a payment that waits."""
        key = key_of(name, "payment")
        begin(change, "payment.place", f"payment {key}")
        with working(ground, wrong=422, missing=422) as work:
            wishes = tuple(Wish(each) for each in asked.bills)
            account = _account(work, asked.account).id
            row = clearing.place(work, key, account, wishes, _by(change), asked.reason, ground.clock.now_ms())
            return _whole(work, row)

    @routes.post("/clearing" + ONE + "/leave", summary="Leave a payment there", response_model=PaymentShown)
    def leave_payment(name: Name, asked: Left, change: Change = writes) -> ExactAnswer:
        """Leave a payment in clearing, with a reason."""
        key = key_of(name, "payment")
        begin(change, "payment.leave", f"payment {key}")
        with working(ground, wrong=422) as work:
            return _whole(work, clearing.leave(work, key, _by(change), asked.reason, ground.clock.now_ms()))


def _by(change: Change) -> str:
    return change.caller.channel if change.caller is not None else "local"


def _account(look: Connection, number: str) -> Row[Any]:
    found = look.execute(select(billing_accounts).where(billing_accounts.c.number == number)).first()
    if found is None:
        raise missing("account", "none has this id")
    return found


def _received(work: Connection, ground: Ground, change: Change, asked: PaymentCreate) -> Received:
    unit, provider = asked.total_amount.unit, _by(change)
    account = _account(work, asked.account.id).id if asked.account is not None else None
    wishes = tuple(
        Wish(
            each.item.id,
            amount_micros=None
            if each.amount is None
            else micros_of(each.amount.value, each.amount.unit, unit, "paymentItem.amount"),
        )
        for each in asked.payment_item or ()
    )
    return Received(
        provider, asked.correlator_id, micros_of(asked.total_amount.value, unit, unit, "totalAmount"), unit,
        asked.payment_date.date() if asked.payment_date is not None else day_before(work, payments, provider, asked.correlator_id) or ground.today(), account,
        (asked.payment_method.name or asked.payment_method.type or "transfer")[:16],
        (asked.payer.name or "") if asked.payer is not None else "", "", asked.description or "", wishes,
    )  # fmt: skip


def _return(work: Connection, ground: Ground, change: Change, payment: int, asked: Returned) -> Return:
    currency = read(work, payment).currency

    def micros(value: Decimal | None, where: str) -> int | None:
        return None if value is None else micros_of(value, currency, currency, where)

    return Return(
        _by(change), asked.id, payment, asked.day or day_before(work, returns, _by(change), asked.id) or ground.today(), micros(asked.amount, "amount"), micros(asked.fee, "fee") or 0,
        asked.fee_passed_on, asked.reason, _by(change),
    )  # fmt: skip


def _described(look: Connection, rows: Any) -> list[dict[str, Any]]:
    """Describe payments as the definition does; a payment's items are what it paid."""
    found = []
    for row, number, paid, *_ in views(look, rows):
        money = {"unit": row.currency, "value": decimal_of(row.amount_micros)}
        shown: dict[str, Any] = {
            "id": str(row.id),
            "href": f"{BASE}/payment/{row.id}",
            "correlatorId": row.own_id,
            "status": _STATES[row.state],
            "statusDate": instant(row.at_ms),
            "paymentDate": day_time(row.day),
            "amount": money,
            "totalAmount": money,
            "paymentMethod": {"name": row.method, "@type": row.method},
            "description": row.text,
            "paymentItem": [
                {
                    "id": str(each.claim),
                    "amount": {"unit": row.currency, "value": decimal_of(each.amount_micros)},
                    "item": {"id": each.bill or str(each.claim), "@referredType": "CustomerBill"},
                }
                for each in paid
            ],
        }
        if number:
            shown["account"] = {"id": number, "@referredType": "BillingAccount"}
        if row.payer:
            shown["payer"] = {"name": row.payer, "@referredType": "Individual"}
        found.append(shown)
    return found


def _whole(look: Connection, row: Row[Any], status: int = 200) -> ExactAnswer:
    (found,) = views(look, [row])
    return ExactAnswer(_whole_of(found), status)


def _whole_of(found: View) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id, "provider": row.provider, "provider_id": row.own_id, "state": row.state, "why": row.why, "account": found.account,
        "amount": decimal_of(row.amount_micros), "left": decimal_of(found.left_micros), "currency": row.currency,
        "day": row.day.isoformat(), "method": row.method, "payer": row.payer, "iban_end": row.iban[-4:], "text": row.text,
        "looks_like": row.twin,
        "paid": [
            {"bill": each.bill, "kind": each.kind, "creditor": each.creditor, "amount": decimal_of(each.amount_micros)}
            for each in found.paid
        ],
        "returned": [
            {
                "kind": each.kind, "id": each.own_id, "amount": decimal_of(each.amount_micros), "fee": decimal_of(each.fee_micros),
                "reason": each.reason, "day": each.day.isoformat(),
            }
            for each in found.returned
        ],
    }  # fmt: skip
