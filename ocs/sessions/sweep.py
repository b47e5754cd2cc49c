"""Supervision: sessions whose client fell silent end here, and so do actions whose channel died half-way.

Laws
1. A dead session's hold is released once, within its supervision time plus one sweep (DESIGN law 9): the function
   ``expire`` looks again, inside the store, whether the session is still open and still due.
2. An action that nobody confirmed is finished under its own id: the money was promised (DESIGN section 3).
3. The due index says which sessions are open: a member without a session is removed by the same function.
4. What cannot be reached or read keeps nothing else from its end: it is counted, and tried again by the next sweep.
"""

import asyncio
from typing import NamedTuple

from ocs.balance.accounts import Accounts
from ocs.balance.keys import Keys
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, ScriptFault
from ocs.balance.profiles import payer
from ocs.balance.stored_session import SessionUnreadable, read_session
from ocs.clock import Clock
from ocs.outcomes import Code
from ocs.records import ACCOUNTING, SILENT

CLAIM_AGE_MS = 10_000
"""Age at which a claim counts as left behind: ten times the deadline of the call that makes it."""

_NEVER_ENDS = frozenset({Code.CONFLICT, Code.UNKNOWN_SUBSCRIBER})
"""Answers of ``expire`` for a session that does not belong to its account, or whose account has no book."""

_AT_ONCE = 200
_TOGETHER = 50
_PARTITIONS_AT_ONCE = 32


class Swept(NamedTuple):
    """What one sweep did."""

    expired: int
    held_micros: int
    claims_finished: int


class Sweeper:
    """Goes over all partitions; safe to run in several processes, and to kill anywhere."""

    __slots__ = (
        "_accounts",
        "_clock",
        "_parts",
        "_passed",
        "_passed_claims",
        "_tombstone_ms",
        "accounting_ms",
        "claims_finished",
        "expired",
        "faults",
        "unreached",
    )

    def __init__(self, parts: Parts, accounts: Accounts, clock: Clock, tombstone_ms: int) -> None:
        self._parts = parts
        self._accounts = accounts
        self._clock = clock
        self._tombstone_ms = tombstone_ms
        self.accounting_ms = tombstone_ms
        """How long an ended session of accounting is remembered."""
        self._passed = [0] * len(parts.keys)
        self._passed_claims: dict[str, int] = {}
        # Totals since the start, whatever ended a sweep half-way.
        self.expired = 0
        self.claims_finished = 0
        self.faults = 0
        """Partitions that did not answer, sessions and claims that could not be read or ended, counted at every try."""
        self.unreached = 0
        """Those of the faults that were a store which did not answer, or not to this clock: a pass with one is not finished."""

    async def once(self) -> Swept:
        """Go over all partitions once; what one of them does not answer is counted in ``faults``."""
        expired = held = 0
        for start in range(0, len(self._parts.keys), _PARTITIONS_AT_ONCE):
            chunk = range(start, min(start + _PARTITIONS_AT_ONCE, len(self._parts.keys)))
            found = await asyncio.gather(*(self._due(partition) for partition in chunk))
            names = [each for due in found for each in due]
            for first in range(0, len(names), _TOGETHER):
                batch = names[first : first + _TOGETHER]
                for micros in await asyncio.gather(*(self._expire_or_tell(*each) for each in batch)):
                    if micros is not None:
                        expired += 1
                        held += micros
        return Swept(expired, held, await self._claims())

    def _unreached(self) -> None:
        self.faults += 1
        self.unreached += 1

    async def _due(self, partition: int) -> list[tuple[int, str]]:
        keys = self._parts.keys[partition]
        try:
            part = await self._parts.epoch(partition)
            now_ms = self._clock.now_ms() + part.offset_ms
            names = await self._parts.store.execute(
                keys.slot,
                "ZRANGEBYSCORE",
                keys.due,
                "-inf",
                now_ms,
                "LIMIT",
                self._passed[partition],
                _AT_ONCE,
            )
        except StoreFault:
            self._unreached()
            return []
        if len(names) < _AT_ONCE:
            self._passed[partition] = 0
        return [(partition, name.decode()) for name in names]

    async def _expire_or_tell(self, partition: int, session_id: str) -> int | None:
        """End one session; one that cannot be read or ended must not keep the others from their end (the audit shows it)."""
        try:
            code, held_micros = await self._expire(partition, session_id, forced=SILENT)
        except (ScriptFault, SessionUnreadable):
            code, held_micros = Code.CONFLICT, 0
        except StoreFault:
            self._unreached()
            return None
        if code <= Code.SKEW:
            self._unreached()
        if code in _NEVER_ENDS:
            self.faults += 1
            self._passed[partition] += 1  # the next sweep looks behind it, should there be many of its kind
        if code != Code.SUCCESS:
            return None
        self.expired += 1
        return held_micros

    async def expire(
        self, partition: int, session_id: str, *, forced: int = SILENT, due_ms: int = 0
    ) -> int | None:
        """End one session that is due, or whatever is, for another reason (records.py: ENDED, RESTARTED); micro-units set free.

        With ``due_ms`` only if it was not heard of since that was read. None when it had ended, or is not to end.
        """
        code, held_micros = await self._expire(partition, session_id, forced=forced, due_ms=due_ms)
        return held_micros if code == Code.SUCCESS else None

    async def _expire(
        self, partition: int, session_id: str, *, forced: int, due_ms: int = 0
    ) -> tuple[Code, int]:
        keys = self._parts.keys[partition]
        text = await self._parts.store.execute(keys.slot, "GET", keys.session(session_id))
        path = read_session(text, session_id, partition).account if text is not None else ""
        names = [
            keys.part,
            keys.book(payer(path)),
            keys.session(session_id),
            keys.due,
            keys.stream,
            keys.open,
        ]
        if "/" in path:
            names.append(keys.book(path))
        reply = await self._parts.call(
            partition, "expire", names, path, session_id, self._remembered_ms(session_id), forced, due_ms
        )
        return Code(reply[0]), reply[1]

    def _remembered_ms(self, session_id: str) -> int:
        """Return how long an ended session is remembered: one of accounting as long as its records may come."""
        return self.accounting_ms if session_id.startswith(ACCOUNTING) else self._tombstone_ms

    async def _claims(self) -> int:
        """Finish the actions that were left behind; how many."""
        finished = 0
        for start in range(0, len(self._parts.keys), _PARTITIONS_AT_ONCE):
            chunk = self._parts.keys[start : start + _PARTITIONS_AT_ONCE]
            for found in await asyncio.gather(*map(self._left, chunk)):
                for left, name in found:
                    finished += await self._finish(left, name)
        return finished

    async def _left(self, keys: Keys) -> list[tuple[str, bytes]]:
        old_ms = self._clock.now_ms() - CLAIM_AGE_MS
        found: list[tuple[str, bytes]] = []
        try:
            for left in (keys.claims, keys.actions):
                passed = self._passed_claims.pop(left, 0)
                names = await self._parts.store.execute(
                    keys.slot, "ZRANGEBYSCORE", left, "-inf", old_ms, "LIMIT", passed, _AT_ONCE
                )
                if len(names) == _AT_ONCE:
                    self._passed_claims[left] = passed
                found += [(left, name) for name in names]
        except StoreFault:
            self._unreached()
            return []
        return found

    async def _finish(self, left: str, name: bytes) -> bool:
        """Finish one action; one that cannot be must not keep the others from their end: the next sweep looks behind it, where there are many."""
        try:
            channel, _, action_id = name.decode().partition(":")
            if not await self._accounts.actions.resume(channel, action_id):
                self._pass_over(left)
                return False
        except (
            ScriptFault,
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
        ):  # whatever a garbled one does
            self.faults += 1
            self._pass_over(left)
            return False
        except StoreFault:
            self._unreached()
            return False
        self.claims_finished += 1
        return True

    def _pass_over(self, left: str) -> None:
        if left in self._passed_claims:
            self._passed_claims[left] += 1
