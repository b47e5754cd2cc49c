"""Bills over HTTP: in the shape of TMF678 v4.0.0, their documents to be fetched, and their deliveries. A bill's id is its number.

Laws
1. Paths, names, statuses and error bodies below /tmf-api are the definition's. Drafts are nobody's: only what is published is there, and
   what is not is 404, whoever asks. Hub, bills on demand and applied rates are not served here.
2. A document is fetched as it was made, or made again to the same octets (jobs/publish); never another one under the same number.
3. What the definition has no room for (deliveries, sending anew) is at /bills/v1.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, Select, func, select

from ocs.care.customers import reading
from ocs.care.customers.http.ground import (
    ONE,
    READ,
    WRITE,
    FieldsAsked,
    Ground,
    Name,
    answers,
    begin,
    day_time,
    instant,
    listing,
    lists,
    looking,
    part,
    working,
)
from ocs.care.customers.shapes import conflict, missing, wrong
from ocs.care.customers.tables import billing_accounts
from ocs.http.access import Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.documented import filters
from ocs.http.prepay.listing import fields_of, query_of
from ocs.http.problems import faults_of
from postpaid_bridge.documents.mail_text import MailFault, single_address
from postpaid_bridge.documents.press import PressFault
from postpaid_bridge.http import shapes
from postpaid_bridge.jobs.publish import address_of
from postpaid_bridge.sql import deliveries
from postpaid_bridge.sql.bills import bill_taxes, bills
from postpaid_bridge.sql.deliveries import documents

BASE: Final = "/tmf-api/customerBillManagement/v4"
OWN: Final = "/bills/v1"
_ONE: Final = "/customerBill" + ONE
_RUN_TYPES: Final = {"regular": "onCycle", "on_demand": "offCycle", "final": "offCycle"}

Fetch = Callable[[Row[Any]], bytes]
"""Gives the octets of a row of ``documents`` (jobs.publish.Printer.again)."""


class Anew(BaseModel):
    """To whom a document is mailed anew; the account's address where none is named."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    address: Annotated[str | None, Field(max_length=254)] = None


def routers(ground: Ground, fetch: Fetch) -> tuple[APIRouter, APIRouter]:
    """Build the routes of the definition, and our own."""
    theirs = APIRouter(prefix=BASE, tags=["TMF678 bills"])
    own = APIRouter(prefix=OWN, tags=["bills"], responses=faults_of(401, 403, 404, 409))
    _seen(theirs, ground)
    _fetched(own, ground, fetch)
    _sent(own, ground)
    return theirs, own


def _asked() -> Select[Any]:
    """Return what selects published bills, with what is shown of account and document."""
    a, d = billing_accounts.c, documents.c
    shown: list[Any] = [each for each in bills.c if each.name != "content"]
    shown += [a.number.label("account"), a.party, a.payment, d.id.label("document"), d.octets, d.sha256]
    joined = select(*shown).join(billing_accounts, a.id == bills.c.billing_account)
    joined = joined.outerjoin(documents, (d.bill == bills.c.id) & (d.state == "made"))
    return joined.where(bills.c.state == "published").order_by(bills.c.id)


def _seen(routes: APIRouter, ground: Ground) -> None:
    reads = ground.access.route(READ)
    columns = {"billingAccount.id": billing_accounts.c.number, "billNo": bills.c.number}

    @routes.get(
        "/customerBill",
        summary="List bills",
        responses=lists(shapes.CustomerBill),
        openapi_extra=filters(*columns),
    )
    def list_bills(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List published bills, the first of all first."""
        query = query_of(request, shapes.CustomerBill)
        with looking(ground) as look:
            known = {"id": bills.c.number, **columns}
            return listing(look, query, _asked(), known, lambda rows: _described(look, rows))

    @routes.get(_ONE, summary="Show a bill", responses=answers(200, shapes.CustomerBill))
    def show_bill(name: Name, fields: FieldsAsked = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one published bill."""
        wanted = fields_of(fields, shapes.CustomerBill)
        with looking(ground) as look:
            (found,) = _described(look, [_row(look, name)])
        return ExactAnswer(part(found, wanted))


def _fetched(routes: APIRouter, ground: Ground, fetch: Fetch) -> None:
    reads = ground.access.route(READ)
    said: dict[str, Any] = {
        "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}
    }

    @routes.get(
        f"{ONE}/document", summary="Fetch a bill's document", response_class=Response, responses={200: said}
    )
    def fetch_document(name: Name, _caller: Caller = reads) -> Response:
        """Fetch the PDF; 404 while it is not made."""
        with looking(ground) as look:
            row = _document(look, _row(look, name).id)
        if row.state != "made":
            raise HTTPException(404, f"its document is {row.state}; GET {OWN}/{{id}}/deliveries says why")
        try:
            content = fetch(row)
        except PressFault as fault:
            raise HTTPException(500, str(fault)) from None
        headers = {
            "Content-Disposition": f'attachment; filename="{row.path.rpartition("/")[2]}"',
            "ETag": f'"{row.sha256}"',
        }
        return Response(content, media_type="application/pdf", headers=headers)


def _sent(routes: APIRouter, ground: Ground) -> None:
    reads, writes = ground.access.route(READ), ground.access.change(WRITE)

    @routes.get(
        f"{ONE}/deliveries", summary="List a bill's deliveries", response_model=shapes.DeliveriesShown
    )
    def list_deliveries(name: Name, _caller: Caller = reads) -> ExactAnswer:
        """List how and when the document went out, and what failed; addresses are not shown."""
        with looking(ground) as look:
            return ExactAnswer(_deliveries(look, _document(look, _row(look, name).id)))

    @routes.post(
        f"{ONE}/deliveries",
        summary="Send a bill anew",
        status_code=202,
        response_model=shapes.DeliveriesShown,
    )
    def send_anew(name: Name, asked: Anew, change: Change = writes) -> ExactAnswer:
        """Mail the document anew; 409 while one still waits to be sent, or it is not made."""
        with looking(ground) as look:
            row = _row(look, name)
        begin(change, "bill.resend", f"bill {row.number}")
        with working(ground, wrong=422) as work:
            document = _document(work, row.id)
            address = asked.address or address_of(work, row.billing_account)
            try:
                single_address(address)
            except MailFault as fault:
                raise wrong("address", str(fault), "name one, or give the account one") from None
            if deliveries.resend(work, document.id, address, ground.clock.now_ms()) is None:
                raise conflict(
                    f"bill {row.number}",
                    "its document is not made, or a mail still waits",
                    "look at its deliveries",
                )
            return ExactAnswer(_deliveries(work, document), 202)


def _row(look: Connection, number: str) -> Row[Any]:
    row = look.execute(_asked().where(bills.c.number == number)).one_or_none()
    if row is None:
        raise missing("bill", "none has this id")
    return row


def _document(look: Connection, bill: int) -> Row[Any]:
    row = look.execute(select(documents).where(documents.c.bill == bill)).one_or_none()
    if row is None:
        raise missing("document", "it is not made yet", "ask again")
    return row


def _deliveries(look: Connection, document: Row[Any]) -> dict[str, Any]:
    d = deliveries.deliveries.c
    rows = look.execute(select(deliveries.deliveries).where(d.document == document.id).order_by(d.id)).all()
    return {
        "document": document.state,
        "reason": document.reason,
        "deliveries": [
            {
                "id": row.id,
                "channel": row.channel,
                "state": row.state,
                "tries": row.tries,
                "why": row.why,
                "next": instant(row.next_ms),
                "sent": None if row.sent_ms is None else instant(row.sent_ms),
            }
            for row in rows
        ],
    }


def _described(look: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Describe bills as the definition does."""
    t = bill_taxes.c
    asked = (
        select(t.bill, t.code, t.percent_micros, func.sum(t.tax_cents).label("tax_cents"))
        .where(t.bill.in_([row.id for row in rows]))
        .group_by(t.bill, t.code, t.percent_micros)
        .order_by(t.bill, t.percent_micros.desc(), t.code)
    )
    taxes: dict[int, list[Any]] = {}
    for each in look.execute(asked):
        taxes.setdefault(each.bill, []).append(each)
    wanted = [row.party for row in rows]
    names, kinds = reading.names_of(look, wanted), reading.kinds_of(look, wanted)
    return [_one(row, taxes.get(row.id, ()), names[row.party], kinds[row.party]) for row in rows]


def _money(cents: int, currency: str) -> Mapping[str, Any]:
    return {"unit": currency, "value": Decimal(int(cents)).scaleb(-2)}


def _one(row: Row[Any], taxes: Sequence[Any], name: str, kind: str) -> dict[str, Any]:
    shape = "Individual" if kind == "person" else "Organization"
    money = partial(_money, currency=row.currency)
    found: dict[str, Any] = {
        "id": row.number,
        "href": f"{BASE}/customerBill/{row.number}",
        "billNo": row.number,
        "billDate": day_time(row.day),
        "category": "normal" if row.kind == "regular" else row.kind,
        "runType": _RUN_TYPES.get(row.kind, "offCycle"),
        "state": "sent" if row.document is not None else "validated",
        "lastUpdate": instant(row.published_ms),
        "amountDue": money(max(0, row.gross_cents)),
        "taxExcludedAmount": money(row.net_cents),
        "taxIncludedAmount": money(row.gross_cents),
        "taxItem": [
            {
                "taxCategory": each.code,
                "taxRate": Decimal(int(each.percent_micros)).scaleb(-6).normalize() + 0,
                "taxAmount": money(each.tax_cents),
            }
            for each in taxes
        ],
        "billingAccount": {
            "id": row.account,
            "href": f"/tmf-api/accountManagement/v4/billingAccount/{row.account}",
            "name": name,
        },
        "billingPeriod": {"startDateTime": day_time(row.period_first), "endDateTime": day_time(row.period_next)},
        "paymentMethod": {"id": row.payment, "name": row.payment},
        "relatedParty": [
            {"id": str(row.party), "href": f"/tmf-api/party/v4/{shape.lower()}/{row.party}", "name": name, "role": "payer",
             "@referredType": shape}
        ],
        "billDocument": [],
        "@type": "CustomerBill",
    }  # fmt: skip
    if row.due_day is not None:
        found["paymentDueDate"] = day_time(row.due_day)
    if row.document is not None:
        where = f"{OWN}/{row.number}/document"
        found["billDocument"] = [
            {"id": row.sha256, "href": where, "url": where, "name": f"{row.number}.pdf", "attachmentType": "bill",
             "mimeType": "application/pdf", "size": {"amount": row.octets, "units": "octets"}, "@type": "Attachment"}
        ]  # fmt: skip
    return found
