"""Finds the partition of books in the charging server: remembered in SQL, else looked for in all partitions at once."""

import asyncio
from collections.abc import Collection

from sqlalchemy import Engine

from ocs.balance.keys import Keys
from ocs.balance.parts import Parts
from ocs.sql import reading, writing
from postpaid_bridge.sql import places

__all__ = ["BookPlaces"]

_AT_ONCE = 500


class BookPlaces:
    """Where books are; one for each process."""

    def __init__(self, engine: Engine, parts: Parts) -> None:
        self._engine = engine
        self._parts = parts

    async def find(self, books: Collection[str], *, anew: bool = False) -> dict[str, int]:
        """Return the partition of each book that the charging server has (``anew``: whatever is remembered). Raises StoreFault."""
        wanted = sorted(books)
        found: dict[str, int] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            known = {} if anew else await asyncio.to_thread(self._known, some)
            found |= known
            if new := await self._looked_for([each for each in some if each not in known]):
                await asyncio.to_thread(self._remember, new)
                found |= new
        return found

    def _known(self, books: list[str]) -> dict[str, int]:
        with reading(self._engine) as look:
            return places.known(look, books)

    def _remember(self, found: dict[str, int]) -> None:
        with writing(self._engine) as work:
            places.remember(work, found)

    async def _looked_for(self, books: list[str]) -> dict[str, int]:
        if not books:
            return {}

        async def one(keys: Keys) -> dict[str, int]:
            texts = await self._parts.store.execute(keys.slot, "MGET", *map(keys.profile, books))
            return {book: keys.partition for book, text in zip(books, texts, strict=True) if text is not None}

        found: dict[str, int] = {}
        for each in await asyncio.gather(*map(one, self._parts.keys)):
            found |= each
        return found
