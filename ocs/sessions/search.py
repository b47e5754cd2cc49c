"""Open sessions, read from the store: of one subscriber, or of all."""

from collections.abc import AsyncIterator, Sequence

from ocs.balance.keys import Keys
from ocs.balance.parts import Parts
from ocs.balance.stored_session import OpenSession, SessionUnreadable, read_session
from ocs.records import SessionState

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
    """Return a session by its id, whichever partition it lives in, or None."""
    for keys in parts.keys:
        text = await parts.store.execute(keys.slot, "GET", keys.session(session_id))
        if text is not None:
            return read_session(text, session_id, keys.partition)
    return None
