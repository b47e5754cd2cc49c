"""What happens once: what a channel asks for under its own id, a number taken from a sequence, a number or a book that changes hands.

Laws
1. The same id with the same content gives what it gave before; with other content it is a conflict and changes nothing (DESIGN law 5).
2. A number of a sequence is given once, whoever races: its row is held until the unit of work ends. One that is undone gives it back.
3. Claims are taken in one order, so that units of work wait for each other and never in a circle.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from ocs.care.customers.shapes import conflict
from ocs.care.customers.tables import claims, counters, requests
from ocs.sql import insert_new, locked

__all__ = ["Asked", "claim", "next_of", "once"]

FIRST = 1_000_001
"""Where a sequence begins: its numbers have one length for a long time."""


class Asked(NamedTuple):
    """What a channel asks for: under which of its ids ("": it gave none), what kind of thing, and its content."""

    channel: str
    own_id: str
    kind: str
    content: Any
    at_ms: int

    @property
    def digest(self) -> str:
        """SHA-256 of the content, whatever the order of its names."""
        text = json.dumps(self.content, sort_keys=True, default=_plain, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no plain form")


def once(work: Connection, asked: Asked, make: Callable[[], int]) -> tuple[int, bool]:
    """Make something unless it was made under the same id; returns its key, and whether it is new. Raises CustomerFault (law 1)."""
    if not asked.own_id:
        return make(), True
    row = {
        "channel": asked.channel,
        "own_id": asked.own_id,
        "kind": asked.kind,
        "content": asked.digest,
        "at_ms": asked.at_ms,
    }
    its = (requests.c.channel == asked.channel) & (requests.c.own_id == asked.own_id)
    if not insert_new(work, requests, [row], "own_id"):
        before = work.execute(select(requests).where(its)).one()
        if (before.kind, before.content) != (asked.kind, row["content"]):
            raise conflict(
                "id",
                "it was used for something else",
                "give each request an id of its own, and repeat it unchanged",
            )
        return int(before.result), False
    made = make()
    work.execute(requests.update().where(its).values(result=made))
    return made, True


def next_of(work: Connection, name: str) -> int:
    """Take the next number of a sequence (law 2)."""
    insert_new(work, counters, [{"name": name, "next": FIRST}], "name")
    taken = (
        counters.update()
        .where(counters.c.name == name)
        .values(next=counters.c.next + 1)
        .returning(counters.c.next)
    )
    return int(work.execute(taken).scalar_one()) - 1


def claim(work: Connection, names: Iterable[str]) -> None:
    """Hold names ("number:…", "book:…") until the unit of work ends."""
    wanted = sorted(set(names))
    for name in wanted:
        insert_new(work, claims, [{"name": name}], "name")
        work.execute(locked(select(claims.c.name).where(claims.c.name == name)))
