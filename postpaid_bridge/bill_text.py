"""A bill read again from its bytes, and the bytes of the document that has its number (pure).

Laws
1. ``bill_of(content(bill), bill.charges) == bill``: what is kept of a draft is the whole of it.
2. The document is the draft's bytes, unchanged, with number, day and terms around them: its SHA-256 says that neither has changed since.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from typing import Any

from postpaid_bridge.bill import LAYOUT, Bill, BillFault, BillLine, BillPart, BillTax, Payer
from postpaid_bridge.charges import Charge
from postpaid_bridge.periods import KINDS, CycleKind, Period, cycle_of
from postpaid_bridge.tax import Basis

__all__ = ["bill_of", "document", "document_hash"]


def bill_of(content: bytes, charges: Iterable[Charge], kinds: Mapping[str, CycleKind] = KINDS) -> Bill:
    """Return the bill of ``content`` (bill.content) with its charges. Raises BillFault for another layout."""
    page = json.loads(content)
    if page["layout"] != LAYOUT:
        raise BillFault(f"{page['layout']}: this release reads {LAYOUT}")
    return Bill(
        _payer(page["payer"], kinds),
        page["kind"],
        Period(_day(page["period"]["first"]), _day(page["period"]["next"])),
        tuple(_part(each) for each in page["parts"]),
        tuple(_line(each) for each in page["lines"]),
        tuple(BillTax(**each) for each in page["taxes"]),
        tuple(sorted(charges, key=lambda each: each.key)),
        page["net_cents"],
        page["tax_cents"],
        page["gross_cents"],
    )


def _payer(found: dict[str, Any], kinds: Mapping[str, CycleKind]) -> Payer:
    until = found["until"]
    found |= {
        "cycle": cycle_of(found["cycle"], kinds),
        "since": _day(found["since"]),
        "until": until and _day(until),
    }
    return Payer(**found)


def _line(found: dict[str, Any]) -> BillLine:
    found["since"], found["until"] = _day(found["since"]), _day(found["until"])
    found["basis"] = Basis(found["basis"])
    return BillLine(**found)


def _part(found: dict[str, Any]) -> BillPart:
    found["taxes"] = tuple(BillTax(**each) for each in found["taxes"])
    return BillPart(**found)


def _day(text: str) -> date:
    return date.fromisoformat(text)


def document(content: bytes, number: str, day: date, due_days: int) -> bytes:
    """Return the canonical JSON of a numbered bill (law 2): keys in their order, the draft's bytes inside."""
    head = json.dumps(
        {"day": day.isoformat(), "due_days": due_days, "number": number},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return b'{"bill":' + content + b"," + head[1:].encode()


def document_hash(content: bytes, number: str, day: date, due_days: int) -> str:
    """Return the SHA-256 of ``document``, in hex."""
    return sha256(document(content, number, day, due_days)).hexdigest()
