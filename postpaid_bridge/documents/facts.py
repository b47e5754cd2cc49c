"""What a document is made of beside the bill's content, frozen when it is first made.

Laws
1. Same facts and content, same document: nothing is looked up while it is made, so it can be made again after an address has changed.
2. ``frozen`` and ``thawed`` are each other's inverse; the bytes are canonical JSON.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

__all__ = ["Facts", "Held", "Past", "Recipient", "Seller", "ThirdParty", "Used", "frozen", "thawed"]


class Seller(NamedTuple):
    """Who supplies (UStG section 14(4) no. 1 and 2, TKG section 62(1)): address, a free phone or mail or site, and where money goes."""

    name: str
    street: str
    postcode: str
    city: str
    country: str = "DE"
    phone: str = ""
    email: str = ""
    site: str = ""
    tax_number: str = ""
    vat_id: str = ""
    registered: str = ""
    managers: str = ""
    iban: str = ""
    bic: str = ""
    bank: str = ""
    complaints: str = ""


class ThirdParty(NamedTuple):
    """Whose claim is on the bill too: name, address and a free phone, mail or site (TKG section 62(2))."""

    name: str
    address: str
    contact: str


class Recipient(NamedTuple):
    """To whom it goes: the lines of the envelope's window, the customer's and the account's number, its VAT id ("": none)."""

    address: tuple[str, ...]
    customer: str
    account: str
    vat_id: str = ""


class Held(NamedTuple):
    """A service on the bill: its number ("": none) and kind (mobile, fixed)."""

    number: str
    kind: str


class Used(NamedTuple):
    """One use, for itemised bills. ``at`` is local time, ISO without a zone; ``unit`` of ocs.units; the amount in micro-units."""

    at: str
    service: int
    usage_class: str
    counterpart: str
    unit: int
    units: int
    amount_micros: int


class Past(NamedTuple):
    """A bill of before, for the chart: its first day and its total in cents."""

    first: str
    gross_cents: int


class Facts(NamedTuple):
    """All that is not in the content. ``corrects`` is the number of the bill that a credit note corrects ("": this is a bill); ``itemised``
    none, short or full; ``third`` the third parties by class of revenue; ``payment`` transfer or direct_debit.
    """

    number: str
    issued: date
    due: date
    seller: Seller
    recipient: Recipient
    parties: Mapping[int, str] = {}
    services: Mapping[int, Held] = {}
    itemised: str = "none"
    used: tuple[Used, ...] = ()
    help_lines: tuple[str, ...] = ()
    past: tuple[Past, ...] = ()
    third: Mapping[str, ThirdParty] = {}
    corrects: str = ""
    corrects_day: date | None = None
    payment: str = "transfer"
    iban_end: str = ""
    mandate: str = ""


def frozen(facts: Facts) -> bytes:
    """Return facts as canonical JSON (law 2)."""
    page = {**facts._asdict(), "third": {key: list(each) for key, each in facts.third.items()}}
    page["services"] = {str(key): list(each) for key, each in facts.services.items()}
    page["parties"] = {str(key): each for key, each in facts.parties.items()}
    return json.dumps(page, default=_word, sort_keys=True, separators=(",", ":")).encode()


def _word(found: Any) -> str:
    if isinstance(found, date):
        return found.isoformat()
    raise TypeError(f"{type(found).__name__} is no fact")


def thawed(content: bytes) -> Facts:
    """Return what ``frozen`` kept."""
    page: dict[str, Any] = json.loads(content)
    recipient = page["recipient"]
    corrects_day = page["corrects_day"]
    page |= {
        "issued": date.fromisoformat(page["issued"]),
        "due": date.fromisoformat(page["due"]),
        "corrects_day": date.fromisoformat(corrects_day) if corrects_day else None,
        "seller": Seller(*page["seller"]),
        "recipient": Recipient(tuple(recipient[0]), *recipient[1:]),
        "parties": {int(key): each for key, each in page["parties"].items()},
        "services": {int(key): Held(*each) for key, each in page["services"].items()},
        "used": tuple(Used(*each) for each in page["used"]),
        "help_lines": tuple(page["help_lines"]),
        "past": tuple(Past(*each) for each in page["past"]),
        "third": {key: ThirdParty(*each) for key, each in page["third"].items()},
    }
    return Facts(**page)
