"""Recorded usage: the records of a partition, from the archive and then from the stream, once each and in order; reads only.

Laws
1. What an archiver moves from stream to archive while it is read is looked for there: none is lost, none comes twice.
2. Records that come after the reading began are left for the next time, so that it ends however busy the server is.
3. A record of another version is counted and passed over; so is what is missing for good.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ocs.balance.archive import START, history
from ocs.balance.entries import Entry, entries, follows, order
from ocs.balance.keys import Keys
from ocs.balance.parts import Parts
from ocs.records import Record, RecordError

_TRIES = 8
_AT_ONCE = 2_000


class Usage:
    """The records of a store from an instant on; counts what it could not give."""

    def __init__(self, parts: Parts, archive: Path | None, since_ms: int = 0) -> None:
        self._parts = parts
        self._archive = archive
        self._since_ms = since_ms
        self.unreadable = 0
        self.holes = 0

    async def of(self, keys: Keys) -> AsyncIterator[Record]:
        """Give the records of a partition, oldest first. Raises StoreFault."""
        newest = await self._parts.store.execute(keys.slot, "XREVRANGE", keys.stream, "+", "-", "COUNT", 1)
        end = newest[0][0].decode() if newest else ""
        last = START
        for attempt in range(_TRIES):
            patient = attempt < _TRIES - 1 and self._archive is not None
            for entry in self._archived(keys, end):
                if order(entry.id) > order(last):
                    last = entry.id
                    for record in self._read(entry):
                        yield record
            async for page in self._pages(keys, last, end):
                if last != START and not _follows(last, page[0]):
                    if patient:
                        break
                    self.holes += 1
                last = page[-1].id
                for entry in page:
                    for record in self._read(entry):
                        yield record
            if not end or order(last) >= order(end):
                return
        self.holes += 1

    def _archived(self, keys: Keys, end: str) -> Iterator[Entry]:
        if self._archive is None:
            return
        since = datetime.fromtimestamp(self._since_ms / 1000, UTC).strftime("%Y-%m-%d")
        for entry in history(self._archive, keys.partition, since):
            if end and order(entry.id) > order(end):
                return
            yield entry

    async def _pages(self, keys: Keys, last: str, end: str) -> AsyncIterator[list[Entry]]:
        while end:
            reply = await self._parts.store.execute(
                keys.slot, "XRANGE", keys.stream, f"({last}", end, "COUNT", _AT_ONCE
            )
            if not reply:
                return
            page = entries(reply)
            yield page
            last = page[-1].id

    def _read(self, entry: Entry) -> Iterator[Record]:
        try:
            record = entry.record()
        except RecordError:
            self.unreadable += 1
            return
        if record.now_ms >= self._since_ms:
            yield record


def _follows(before: str, entry: Entry) -> bool:
    try:
        return follows(before, entry)
    except RecordError:
        return True
