"""Usage over HTTP, in the shape of TMF635 v4.0.0: what was taken in, rated, and on which bill it is.

Laws
1. Paths, names, statuses and error bodies are the definition's; usage is made by intake alone, so there is nothing to create or change here.
2. The other side's number is shown as the payer chose for itemised bills: not at all, cut, or in full; help lines never (TDDDG section 11).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy import Connection, Row, Select, select

from ocs.care.customers import reading
from ocs.care.customers.http.ground import (
    ONE,
    READ,
    FieldsAsked,
    Ground,
    Name,
    answers,
    instant,
    key_of,
    listing,
    lists,
    looking,
    part,
)
from ocs.care.customers.shapes import missing
from ocs.care.customers.tables import billing_accounts
from ocs.http.access import Caller
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.documented import filters
from ocs.http.prepay.listing import fields_of, query_of
from ocs.units import Unit
from postpaid_bridge.documents.itemised import is_help_line, shown_number
from postpaid_bridge.http import shapes
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.usage import lines

BASE: Final = "/tmf-api/usageManagement/v4"
_ONE: Final = "/usage" + ONE
_UNITS: Final = {Unit.OCTETS: "octets", Unit.SECONDS: "seconds", Unit.EVENTS: "events", Unit.MONEY: "micros"}


def router(ground: Ground, help_lines: Sequence[str]) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["TMF635 usage"])
    reads = ground.access.route(READ)
    columns = {"ratedProductUsage.productRef.id": lines.c.service, "usageType": lines.c.usage_class}

    @routes.get(
        "/usage", summary="List usage", responses=lists(shapes.Usage), openapi_extra=filters(*columns)
    )  # fmt: skip
    def list_usage(request: Request, _caller: Caller = reads) -> ExactAnswer:
        """List usage, in the order in which it was taken in."""
        query = query_of(request, shapes.Usage)
        with looking(ground) as look:
            known = {"id": lines.c.id, **columns}
            return listing(look, query, _asked(), known, lambda rows: _described(look, rows, help_lines))

    @routes.get(_ONE, summary="Show a use", responses=answers(200, shapes.Usage))
    def show_usage(name: Name, fields: FieldsAsked = None, _caller: Caller = reads) -> ExactAnswer:
        """Show one use."""
        wanted = fields_of(fields, shapes.Usage)
        with looking(ground) as look:
            row = look.execute(_asked().where(lines.c.id == key_of(name, "usage"))).one_or_none()
            if row is None:
                raise missing("usage", "none has this id")
            (found,) = _described(look, [row], help_lines)
        return ExactAnswer(part(found, wanted))

    return routes


def _asked() -> Select[Any]:
    a = billing_accounts.c
    shown: list[Any] = [
        *lines.c,
        a.itemised,
        a.currency,
        bills.c.number.label("bill_number"),
        bills.c.state.label("bill_state"),
    ]
    joined = select(*shown).join(billing_accounts, a.id == lines.c.billing_account)
    return joined.outerjoin(bills, bills.c.id == lines.c.bill).order_by(lines.c.id)


def _described(look: Connection, rows: Sequence[Row[Any]], help_lines: Sequence[str]) -> list[dict[str, Any]]:
    wanted = [row.party for row in rows]
    names, kinds = reading.names_of(look, wanted), reading.kinds_of(look, wanted)
    return [_one(row, names[row.party], kinds[row.party], help_lines) for row in rows]


def _one(row: Row[Any], name: str, kind: str, help_lines: Sequence[str]) -> dict[str, Any]:
    shape = "Individual" if kind == "person" else "Organization"
    billed = row.bill_state in {"numbered", "published"}
    said = [
        ("units", str(row.units), "integer"),
        ("unit", _UNITS[Unit(row.unit)], "string"),
        ("number", row.subscriber_number, "string"),
    ]
    if row.itemised != "none" and row.counterpart and not is_help_line(row.counterpart, help_lines):
        said.append(("counterpart", shown_number(row.counterpart, row.itemised), "string"))
    said += [("bill", row.bill_number, "string")] if row.bill_state == "published" else []
    return {
        "id": str(row.id),
        "href": f"{BASE}/usage/{row.id}",
        "usageDate": instant(row.started_ms),
        "usageType": row.usage_class,
        "status": "billed" if billed else "rerated" if row.corrects is not None else "rated",
        "usageCharacteristic": [
            {"name": each, "value": value, "valueType": of} for each, value, of in said if value
        ],
        "ratedProductUsage": [
            {"isBilled": billed, "ratingDate": instant(row.at_ms), "ratingAmountType": "total", "usageRatingTag": "usage",
             "bucketValueConvertedInAmount": {"unit": row.currency, "value": Decimal(int(row.amount_micros)).scaleb(-6)},
             "productRef": {"id": str(row.service), "href": f"/customers/v1/services/{row.service}"}}
        ],
        "relatedParty": [
            {"id": str(row.party), "href": f"/tmf-api/party/v4/{shape.lower()}/{row.party}", "name": name, "role": "user",
             "@referredType": shape}
        ],
        "@type": "Usage",
    }  # fmt: skip
