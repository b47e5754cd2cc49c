"""The index of identities: which subscriber a number or an IMSI names; what is claimed, confirmed and set free.

Laws
1. An identity stands under a key of its own as "<partition> <path>", where its subscriber lives. A claim says more behind it: what it
   is meant for, and since when. Readers take both alike: a claim names a subscriber as soon as that is there.
2. A text is only ever replaced as it was read (``swap``): who comes second finds something else.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ocs.balance.functions import function
from ocs.balance.keys import slot_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.profiles import read_place, write_place
from ocs.clock import Clock
from ocs.names import SubscriberId

CLAIM_MS = 60_000
"""Age at which an identity that was claimed, by a create that never opened its account or a change that never came about, is free again."""

IsThere = Callable[[int, str], Awaitable[Any]]
"""Reads a subscriber by its place, None where there is none."""


def intent_of(text: bytes) -> tuple[str, int]:
    """Return what a claim is meant for and since when (ms of the wall clock); ("", 0) of an identity that is no claim."""
    words = text.decode().split(" ")
    return (words[2], int(words[3])) if len(words) > 2 else ("", 0)


class Identities:
    """The index of one store."""

    __slots__ = ("_clock", "_is_there", "_parts")

    def __init__(self, parts: Parts, clock: Clock, is_there: IsThere) -> None:
        self._parts = parts
        self._clock = clock
        self._is_there = is_there

    def claim_text(self, partition: int, path: str, intent: str, *, once: bool = False) -> str:
        """Write a claim: the place that the identity will name, what it is meant for (no blanks), since when; with ``once`` no two are alike."""
        text = f"{write_place(partition, path)} {intent} {self._clock.now_ms()}"
        return f"{text} {secrets.token_hex(6)}" if once else text

    def age_ms(self, text: bytes) -> int:
        """Return how old a claim is."""
        return self._clock.now_ms() - intent_of(text)[1]

    async def standing(self, identity: SubscriberId) -> bytes | None:
        """Return what stands under an identity, None where it is free."""
        found: bytes | None = await self._parts.store.execute(slot_of(identity.key), "GET", identity.key)
        return found

    async def claim(self, identity: SubscriberId, text: str, intent: str) -> bytes | None:
        """Claim an identity: None when it is ours now, else what stands there (a subscriber's place, or a claim of the same intent).

        Raises StoreFault where somebody else's claim is younger than CLAIM_MS.
        """
        key = identity.key
        standing: bytes | None = await self._parts.store.execute(slot_of(key), "SET", key, text, "NX", "GET")
        if standing is None:
            return None
        meant, _ = intent_of(standing)
        if meant in {"", intent} or await self._is_there(*read_place(standing)) is not None:
            return standing
        if self.age_ms(standing) < CLAIM_MS:
            raise StoreFault(
                f"{key.split(':')[1]} identity: another create has claimed it; try again in a minute"
            )
        if not await self.swap(identity, standing, text):
            raise StoreFault("another create has just claimed the identity; try again")
        return None

    async def swap(self, identity: SubscriberId, known: bytes | str, text: str) -> bool:
        """Put a text in the place of the one that was read ("" frees it); False when something else stands there by now."""
        key = identity.key
        reply = await self._parts.store.execute(slot_of(key), "FCALL", function("swap"), 1, key, known, text)
        return bool(reply)

    async def confirm(self, identity: SubscriberId, partition: int, path: str) -> bool:
        """Let an identity name the subscriber for whom it was claimed; False when something else stands there."""
        held = await self.standing(identity)
        if held is None or read_place(held) != (partition, path):
            return False
        place = write_place(partition, path)
        return held.decode() == place or await self.swap(identity, held, place)

    async def release(self, ids: Iterable[SubscriberId], path: str) -> None:
        """Set identities free that name this subscriber; those of somebody else stay."""
        for identity in ids:
            held = await self.standing(identity)
            if held is not None and read_place(held)[1] == path:
                await self.swap(identity, held, "")
