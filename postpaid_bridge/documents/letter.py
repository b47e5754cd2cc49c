"""Letters of dunning: reminder, warning, notice of a bar, answer to a promise, notice that a bar is lifted; from facts handed in (pure).

Laws
1. A letter says what is claimed, for which bills, how it is paid and who is asked; what the law wants of its kind stands in it: the warning
   names the bar, two weeks at least, and the way to the courts (TKG section 61(4)); a bar's notice says that emergency calls stay possible.
2. Which letter is due, with which amounts, is decided elsewhere.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from postpaid_bridge.documents import say
from postpaid_bridge.documents.facts import Recipient, Seller
from postpaid_bridge.documents.letter_texts import LETTERS, Text
from postpaid_bridge.documents.page import footer, sender, where
from postpaid_bridge.documents.payment_code import payment_code
from postpaid_bridge.documents.words import words

__all__ = ["KINDS", "Claim", "LetterFacts", "letter_frozen", "letter_page", "letter_thawed"]

KINDS = tuple(each for each in LETTERS["de"] if each != "words")
"""reminder, warning, bar_outgoing, bar_all, promise, unbar, termination."""


class Claim(NamedTuple):
    """What is open of a bill (or a fee, with its text as ``number``): its day, since when it is due, and the cents that are open."""

    number: str
    issued: date
    due: date
    open_cents: int


class LetterFacts(NamedTuple):
    """What a letter says. ``until`` is the last day to pay (or of a promise), ``bar_on`` the first day of the bar that is threatened or made,
    ``services`` the numbers concerned, ``reference`` what a transfer names, ``fee_cents`` and ``interest_cents`` what came on top;
    ``contested_cents`` what is not counted since it is contested.
    """

    number: str
    issued: date
    seller: Seller
    recipient: Recipient
    claims: tuple[Claim, ...] = ()
    until: date | None = None
    bar_on: date | None = None
    services: tuple[str, ...] = ()
    reference: str = ""
    fee_cents: int = 0
    interest_cents: int = 0
    contested_cents: int = 0
    currency: str = "EUR"


def letter_frozen(facts: LetterFacts) -> bytes:
    """Return a letter's facts as canonical JSON, to be queued (sql.deliveries.enqueue)."""
    return json.dumps(
        facts._asdict(), default=lambda day: day.isoformat(), sort_keys=True, separators=(",", ":")
    ).encode()


def letter_thawed(content: bytes) -> LetterFacts:
    """Return what ``letter_frozen`` kept."""
    page: dict[str, Any] = json.loads(content)
    recipient = page["recipient"]
    for name in ("issued", "until", "bar_on"):
        page[name] = date.fromisoformat(page[name]) if page[name] else None
    page |= {
        "seller": Seller(*page["seller"]),
        "recipient": Recipient(tuple(recipient[0]), *recipient[1:]),
        "claims": tuple(
            Claim(number, date.fromisoformat(issued), date.fromisoformat(due), cents)
            for number, issued, due, cents in page["claims"]
        ),
        "services": tuple(page["services"]),
    }
    return LetterFacts(**page)


def letter_page(kind: str, language: str, facts: LetterFacts) -> dict[str, Any]:
    """Return a letter's page; ``kind`` one of KINDS. Raises ValueError for another kind, and for a fact that the kind needs and has not."""
    texts = LETTERS["de" if language == "de" else "en"]
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no letter; there are {', '.join(KINDS)}")
    facts = say.cleaned(facts)
    said, w, text = words(language), texts["words"], texts[kind]
    total = sum(each.open_cents for each in facts.claims) + facts.fee_cents + facts.interest_cents
    values = _values(kind, language, facts, total, text)
    reference = facts.reference or facts.recipient.account
    pays = text.pays and total > 0 and bool(facts.seller.iban)
    return {
        "language": language,
        "title": f"{text.title} {facts.number}",
        "heading": text.title,
        "issued": facts.issued.isoformat(),
        "author": facts.seller.name,
        "sender": sender(facts.seller),
        "address": list(facts.recipient.address),
        "info": [
            [w["letter"], facts.number],
            [w["day"], say.day(facts.issued, language)],
            [said["customer"], facts.recipient.customer],
            [said["account"], facts.recipient.account],
        ],
        "words": dict(said),
        "paragraphs": [w["hello"], *(each.format(**values) for each in text.paragraphs)],
        "claims_head": [w["claim"], said["issued"], said["due"], w["open"]],
        "claims": _rows(w, language, facts) if text.pays else [],
        "claims_foot": [w["total"], "", "", say.cents(total, facts.currency, language)],
        "closing": [*(each.format(**values) for each in text.closing), w["bye"], facts.seller.name],
        "slip": _slip(said, language, facts, total, reference) if pays else None,
        "note": w["crossed"] if text.pays else "",
        "footer": footer(said, facts.seller),
    }


def _values(kind: str, language: str, facts: LetterFacts, total: int, text: Text) -> Mapping[str, str]:
    """Return what a text's places stand for. ValueError where the kind needs a day that is not there."""
    found = {
        "total": say.cents(total, facts.currency, language),
        "contested": say.cents(facts.contested_cents, facts.currency, language),
        "until": say.day(facts.until, language) if facts.until else "",
        "bar_on": say.day(facts.bar_on, language) if facts.bar_on else "",
        "services": ", ".join(f"+{each}" for each in facts.services),
        "where": where(facts.seller) or facts.seller.name,
    }
    for each in text.needs:
        if not found[each]:
            raise ValueError(f"{kind}: it needs {each}")
    return found


def _rows(w: Mapping[str, str], language: str, facts: LetterFacts) -> list[list[str]]:
    rows = [
        [each.number, say.day(each.issued, language), say.day(each.due, language), say.cents(each.open_cents, facts.currency, language)]
        for each in facts.claims
    ]  # fmt: skip
    for name, cents in (("fee", facts.fee_cents), ("interest", facts.interest_cents)):
        if cents:
            rows.append([w[name], "", "", say.cents(cents, facts.currency, language)])
    return rows


def _slip(
    said: Mapping[str, str], language: str, facts: LetterFacts, total: int, reference: str
) -> dict[str, Any]:
    seller = facts.seller
    rows = [
        [said["receiver"], seller.name],
        [said["IBAN"], say.iban(seller.iban)],
        *([[said["BIC"], seller.bic]] if seller.bic else []),
        [said["amount"], say.cents(total, facts.currency, language)],
        [said["purpose"], reference],
        *([[said["due"], say.day(facts.until, language)]] if facts.until else []),
    ]
    return {"rows": rows, "code": payment_code(seller, total, reference) if facts.currency == "EUR" else ""}
