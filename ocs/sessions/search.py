"""Open sessions, read from the store: of one subscriber, or of all."""

import asyncio
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from ocs.balance.keys import Keys
from ocs.balance.parts import Parts
from ocs.balance.stored_session import OpenSession, SessionUnreadable, read_session
from ocs.records import ACCOUNTING, RESERVATION, SessionState

_AT_ONCE = 500


async def open_sessions(parts: Parts) -> AsyncIterator[OpenSession]:
    """Yield all open sessions, one partition after the other."""
    for keys in parts.keys:
        names = await parts.store.execute(keys.slot, "ZRANGE", keys.due, 0, -1)
        for start in range(0, len(names), _AT_ONCE):
            for session in await _read(parts, keys, names[start : start + _AT_ONCE]):
                yield session


async def sessions_of(parts: Parts, partition: int, path: str) -> list[OpenSession]:
    """Return the open sessions of a subscriber (profiles.py: its path): of an account those of its members too.

    One that cannot be read hides no other; `ocs audit` names it.
    """
    keys = parts.keys[partition]
    rows = await parts.store.execute(keys.slot, "ZRANGEBYLEX", keys.open, *keys.opened_by(path))
    return await _read(parts, keys, [row.partition(b" ")[2] for row in rows], every=False)


async def _read(parts: Parts, keys: Keys, names: Sequence[bytes], *, every: bool = True) -> list[OpenSession]:
    """Read sessions by their ids; those that have ended meanwhile are left out.

    Raises SessionUnreadable for one that cannot be read, where it is about ``every`` one of them.
    """
    if not names:
        return []
    ids = [name.decode() for name in names]
    texts = await parts.store.execute(keys.slot, "MGET", *map(keys.session, ids))
    found = []
    for session_id, text in zip(ids, texts, strict=True):
        try:
            session = read_session(text, session_id, keys.partition) if text is not None else None
        except SessionUnreadable:
            if every:
                raise
            continue
        if session is not None and session.state == SessionState.OPEN:
            found.append(session)
    return found


async def find_session(parts: Parts, session_id: str) -> OpenSession | None:
    """Return a session by the id that its client knows, whichever partition it lives in, or None.

    One that is open comes before one that has ended, and one of credit-control before one of accounting.
    """
    names = [session_id, ACCOUNTING + session_id]
    if ":" in session_id:  # a reservation is known by channel and id
        names.append(RESERVATION + session_id)
    places = [(name, keys) for name in names for keys in parts.keys]
    texts = await asyncio.gather(
        *(parts.store.execute(keys.slot, "GET", keys.session(name)) for name, keys in places)
    )
    found = [
        read_session(text, name, keys.partition)
        for (name, keys), text in zip(places, texts, strict=True)
        if text is not None
    ]
    return min(found, key=lambda each: each.state != SessionState.OPEN, default=None)


class Page(NamedTuple):
    """Some open sessions, and where the next page begins: ``after`` of its call; None behind the last."""

    sessions: list[OpenSession]
    following: str | None


async def page_of(parts: Parts, after: str, most: int) -> Page:
    """Return at most ``most`` open sessions, by partition and account; sessions that end or begin meanwhile move no other.

    ``after`` is a page's ``following``, "" for the first page; ValueError for anything else. One that cannot be read is left out (`ocs
    audit` names it), so a page may be shorter than what follows promises.
    """
    partition, row = _place(after, len(parts.keys))
    found: list[OpenSession] = []
    while partition < len(parts.keys):
        keys = parts.keys[partition]
        least, room = f"({row}" if row else "-", most - len(found)
        rows = await parts.store.execute(keys.slot, "ZRANGEBYLEX", keys.open, least, "+", "LIMIT", 0, room)
        found += await _read(parts, keys, [each.partition(b" ")[2] for each in rows], every=False)
        if len(rows) == room:
            return Page(found, f"{partition}.{urlsafe_b64encode(rows[-1]).decode()}")
        partition, row = partition + 1, ""
    return Page(found, None)


def _place(after: str, partitions: int) -> tuple[int, str]:
    """Read where a page begins: the partition, and the row before it."""
    if not after:
        return 0, ""
    number, _, row = after.partition(".")
    if not (number.isascii() and number.isdigit()) or int(number) >= partitions:
        raise ValueError("it names no place among the sessions")
    return int(number), b64decode(row.encode(), b"-_", validate=True).decode()
