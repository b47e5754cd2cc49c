"""A link whose replies leave only when so many replicas have what was written (DESIGN law 6).

Laws
1. A batch (the calls of one turn) ends with a mark and one WAIT, and a WAITAOF where the store fsyncs before it replies. Its replies
   are held until the count of replicas is there; then they are handed on, in the order of the calls.
2. Every batch has the mark, a small write of the link's own. WAIT looks at the last write of its own connection: a call that only reads
   what was done before (a repetition, on whatever link) writes nothing, and would be confirmed before any replica has it.
   The mark is behind everything that the batch has read or written in the one stream that replicas follow.
3. One batch at a time: WAIT blocks its connection anyway. What is called meanwhile leaves together, as the next batch.
4. A batch that is not confirmed has an unknown outcome (Unconfirmed, a LinkLost): its caller replays the same key. Error replies say
   that nothing was done, and are handed on as they are.
5. A server that would write without its replicas (min-replicas-to-write) is refused at connect.

Reads are held too: what they find may be what a repetition is answered with, or go into the archive. Heartbeats are not, nor is the cluster's
own map.

WAITAOF alone takes a second: a replica that gets a write and the question for its count in one piece answers with what it had fsynced
before (Valkey 9.1), and is not asked again. Behind a WAIT the question is a second one, which it answers after its fsync.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ocs.balance.addresses import Address, Endpoint
from ocs.balance.keys import tag_in
from ocs.balance.link import Demands, Done, Link, LinkLost, StoreError, StoreRefused, pack

_OPEN = (pack("PING"), b"*2\r\n$7\r\nCLUSTER\r\n")
"""Commands that say nothing of what was written: heartbeats, and who serves what, which has to be found where replicas are away."""
_LEFT = frozenset({"MOVED", "ASK", "READONLY"})
"""Errors of a mark that say: this server is not, or no longer, the one."""


class Unconfirmed(LinkLost):
    """Executed, perhaps, but too few replicas have it: whether a failover keeps it is unknown. Replay the same key."""


class Mark(NamedTuple):
    """The slot that a link marks; ``arrives`` where it is still another master's, and has to be asked for (ASKING)."""

    slot: int = 0
    arrives: bool = False


def mark_in(slots: Sequence[int], links: int, arriving: int) -> Mark:
    """Return what a link marks of the slots that its master serves, or of one that has none yet; ``links`` counts its links, from 1.

    Each link takes another, the last first: a slot that is on its way to another master takes no new key (ASK), and the others go on.
    """
    return Mark(slots[-links % len(slots)]) if slots else Mark(arriving, arrives=True)


def link_to(
    endpoint: Endpoint,
    address: Address,
    demands: Demands | None,
    mark: Mark,
    deadline_ms: int,
    title: str,
    on_lost: Callable[[Link], None],
) -> Link:
    """Build the link that the demands ask for, to a master (of a cluster) that takes the mark; it is not connected yet."""
    if demands is None or not demands.replicas:
        return Link(endpoint, address, demands=demands, deadline_ms=deadline_ms, title=title, on_lost=on_lost)
    return KeptLink(endpoint, address, demands, mark, deadline_ms, title, on_lost)


class KeptLink(Link):
    """One connection whose replies are kept by replicas; used as a Link is."""

    __slots__ = (
        "_batch",
        "_ending",
        "_free",
        "_marked",
        "_needed",
        "_own",
        "_probe",
        "_replies",
        "_synced",
        "_wait_ms",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        address: Address,
        demands: Demands,
        mark: Mark = Mark(),  # noqa: B008 - a constant
        deadline_ms: int = 1_000,
        title: str = "ocs",
        on_lost: Callable[[Link], None] | None = None,
    ) -> None:
        super().__init__(
            endpoint, address, demands=demands, deadline_ms=deadline_ms, title=title, on_lost=on_lost
        )
        self._needed = demands.replicas
        self._synced = demands.fsync == "always"
        self._wait_ms = deadline_ms // 2  # in all: silence for a whole deadline ends the link
        each_ms = max(1, self._wait_ms // 2 if self._synced else self._wait_ms)
        write = ("SET", f"ocs:replicas:{{{tag_in(mark.slot)}}}", "")
        self._ending = pack(*write) + pack("WAIT", self._needed, each_ms)
        self._probe: tuple[tuple[str | int, ...], ...] = (write, ("WAIT", 0, 1))
        self._own: tuple[Done, ...] = (self._take_mark, self._take_count)
        if self._synced:
            self._ending += pack("WAITAOF", 1, self._needed, each_ms)
            self._probe += (("WAITAOF", 0, 0, 1),)
            self._own = (self._take_mark, _ignore, self._take_count)
        if mark.arrives:
            self._ending = pack("ASKING") + self._ending
            self._probe, self._own = (("ASKING",), *self._probe), (_ignore, *self._own)
        self._batch: list[Done] = []
        self._free: set[int] = set()
        self._replies: list[Any] = []
        self._marked: Any = None

    @property
    def pending(self) -> int:
        """Calls that wait for their reply, or for replicas."""
        return len(self._batch) + len(self._out) if self._batch else super().pending

    async def _introduce(self) -> None:
        """Introduce ourselves; then: does the server know its duty, and may we mark and wait?"""
        await super()._introduce()
        try:
            found = await self._ask("CONFIG", "GET", "min-replicas-*")
            told = dict(zip(found[::2], map(int, found[1::2]), strict=True))
            least, lag_s = told.get(b"min-replicas-to-write", 0), told.get(b"min-replicas-max-lag", 0)
            if least < self._needed or lag_s <= 0:
                raise StoreRefused(
                    f"{self.name}: min-replicas-to-write is {least}, min-replicas-max-lag {lag_s}; store.replicas asks for "
                    f"min-replicas-to-write {self._needed} at least and a lag above 0, on the master and on whatever may become one"
                )
            for command in self._probe:
                await self._ask(*command)
        except StoreError as fault:
            if fault.code == "NOREPLICAS":  # they may come back; until then every call is told so
                return
            if fault.code in {"NOPERM", "ERR"}:
                raise StoreRefused(
                    f"{self.name}: store.replicas needs CONFIG GET, a key ocs:replicas:* and WAIT, or WAITAOF "
                    f"where durability is always: {fault.text}"
                ) from None
            raise

    # -- a batch

    def _flush(self) -> None:
        """Write a batch with its mark and its WAIT, unless one is under way (law 3)."""
        out, waiting = self._out, self._waiting
        if self._batch:
            self._flushing = False
            return
        self._free = {place for place, each in enumerate(out) if each.startswith(_OPEN)}
        if self.is_open and len(self._free) < len(out):
            batch = [waiting.pop() for _ in out]
            batch.reverse()
            self._batch = batch
            waiting.extend([self._hold] * len(batch))
            waiting.extend(self._own)
            out.append(self._ending)
        super()._flush()

    def _hold(self, reply: Any) -> None:
        self._replies.append(reply)

    def _take_mark(self, reply: Any) -> None:
        self._marked = reply

    def _take_count(self, count: Any) -> None:
        """Hand the batch's replies on when the count is there; else tell their callers that nobody knows (law 4)."""
        marked = self._marked
        if isinstance(count, StoreError) or (isinstance(marked, StoreError) and marked.code in _LEFT):
            self._end(
                f"what was written is not confirmed: {count if isinstance(count, StoreError) else marked}"
            )
            return
        batch, replies, free = self._batch, self._replies, self._free
        self._batch, self._replies = [], []
        fault = self._missing(marked, count)
        for place, (done, reply) in enumerate(zip(batch, replies, strict=True)):
            if fault is None or isinstance(reply, StoreError) or place in free:
                self._hand(done, reply)
            else:
                self._hand(done, fault)
        if self._out and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _missing(self, marked: Any, count: Any) -> Unconfirmed | None:
        """Return what is missing for the replies to leave, or None."""
        if marked != b"OK":
            return Unconfirmed(f"{self.name}: what was written is not confirmed: {marked}")
        here, there = count if self._synced else (1, count)
        if here >= 1 and there >= self._needed:
            return None
        return Unconfirmed(f"{self.name}: {there} of {self._needed} replicas had it after {self._wait_ms} ms")

    # -- ending

    def _end(self, why: str) -> None:
        """End the link once; whoever waits for replicas is as unknown as who waits for a reply, and comes first."""
        if self._fault is None and self._batch:
            waiting = self._waiting
            unsent = [waiting.pop() for _ in self._out]
            others = [done for done in waiting if done != self._hold and done not in self._own]
            waiting.clear()
            waiting.extend(others + self._batch + unsent[::-1])
            self._batch, self._replies = [], []
        super()._end(why)


def _ignore(_count: Any) -> None:
    """Receive ASKING's reply, and WAIT's count where WAITAOF's is what decides."""
