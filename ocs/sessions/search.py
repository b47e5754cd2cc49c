"""Open sessions, read from the store: of one account, or of all."""

from collections.abc import AsyncIterator

from ocs.balance.parts import Parts
from ocs.balance.stored_session import OpenSession, read_session
from ocs.records import SessionState


async def open_sessions(
    parts: Parts, partition: int | None = None, account: str | None = None
) -> AsyncIterator[OpenSession]:
    """Yield open sessions of one partition, or of all; of one account, or of every one."""
    for keys in parts.keys if partition is None else (parts.keys[partition],):
        names = await parts.store.execute(keys.slot, "ZRANGE", keys.due, 0, -1)
        for start in range(0, len(names), 500):
            chunk = [name.decode() for name in names[start : start + 500]]
            texts = await parts.store.execute(keys.slot, "MGET", *(keys.session(name) for name in chunk))
            for name, text in zip(chunk, texts, strict=True):
                if text is None:
                    continue
                session = read_session(text, name, keys.partition)
                if session.state == SessionState.OPEN and account in {None, session.account}:
                    yield session


async def find_session(parts: Parts, session_id: str) -> OpenSession | None:
    """Return a session by its id, whichever partition it lives in, or None."""
    for keys in parts.keys:
        text = await parts.store.execute(keys.slot, "GET", keys.session(session_id))
        if text is not None:
            return read_session(text, session_id, keys.partition)
    return None
