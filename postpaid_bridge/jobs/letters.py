"""Letters of dunning become documents: frozen with seller and recipient, and made and delivered as bills are (publish.py).

Laws
1. A letter is taken over once, in the unit of work that queues its document. Where the seller has no name yet, letters wait, as bills do.
2. A letter goes the way that its policy says: what has to be in writing (TKG section 61(4)) is left to be printed, whatever the account chose.
"""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Engine

from ocs.sql import writing
from postpaid_bridge.documents.facts import Recipient, Seller
from postpaid_bridge.documents.letter import Claim, LetterFacts, letter_frozen
from postpaid_bridge.sql import deliveries, dunning
from postpaid_bridge.sql.document_facts import recipients

__all__ = ["take_over"]

CHUNK = 200
"""Letters of one unit of work."""


def take_over(engine: Engine, seller: Seller, now_ms: Callable[[], int]) -> int:
    """Queue the documents of all letters that wait; how many were taken over. Safe to kill anywhere, and to run twice at once."""
    found = 0
    while seller.name:
        with writing(engine) as work:
            rows = dunning.letters_waiting(work, CHUNK)
            to = recipients(work, [row.billing_account for row in rows], seller.country)
            at_ms = now_ms()
            mine = [row for row in rows if dunning.taken(work, row.id, at_ms)]
            deliveries.enqueue(work, [_document(row, seller, to[row.billing_account]) for row in mine], at_ms)
        found += len(mine)
        if len(rows) < CHUNK:
            break
    return found


def _document(row: Any, seller: Seller, recipient: Recipient) -> deliveries.New:
    said = json.loads(row.content)
    number = f"D-{row.id:08d}"
    facts = LetterFacts(
        number=number,
        issued=date.fromisoformat(said["issued"]),
        seller=seller,
        recipient=recipient,
        claims=tuple(
            Claim(each["number"], _day(each["issued"]), _day(each["due"]), each["open_cents"])
            for each in said["claims"]
        ),
        until=_day(said["until"]) if said["until"] else None,
        bar_on=_day(said["bar_on"]) if said["bar_on"] else None,
        services=tuple(said["services"]),
        fee_cents=said["fee_cents"],
        interest_cents=said["interest_cents"],
        contested_cents=said["contested_cents"],
    )
    channel = row.channel if row.channel in {"email", "post"} else ""
    key = f"dunning:{row.id}"
    return deliveries.New(
        key, row.kind, row.language, number, None, row.billing_account, letter_frozen(facts), channel=channel
    )


def _day(text: str) -> date:
    return date.fromisoformat(text)
