"""The store: routes each call to the master of its slot; one server, Sentinel and Cluster by the same code.

Laws
1. A call that the store refused unexecuted (MOVED, ASK, TRYAGAIN, CLUSTERDOWN, LOADING, READONLY, no function library,
   no link) is made again, the same bytes, until its deadline; then its caller gets the last fault.
2. A call whose outcome is unknown (LinkLost) goes up at once: only the caller knows its key (DESIGN law 7).
3. After any connection fault and every MOVED the topology is read again; lost links come back by themselves, with pauses
   of 50 ms up to 1 s.
4. The incarnation of a slot is the run id of the process that serves it now: money law 6 hangs on it.
5. A call made for one incarnation is never executed by another: it ends in Displaced, and its caller learns the epoch
   first. Only ASK leads elsewhere, for a slot on the move, whose keys the two masters hand over one by one.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ocs.balance.addresses import Address, Endpoint, Scheme
from ocs.balance.link import (
    Demands,
    Displaced,
    Done,
    Link,
    LinkDown,
    LinkFull,
    LinkLost,
    NotMaster,
    StoreError,
    StoreFault,
    StoreRefused,
    pack,
)
from ocs.balance.replicas import link_to, mark_in
from ocs.balance.topology import SLOTS, Share, survey
from ocs.clock import Clock, SystemClock
from ocs.limits import (
    LINK_DEADLINE_MS,
    STORE_BACKOFF_MS_MAX,
    STORE_BACKOFF_MS_MIN,
    STORE_CALLS_PARKED_MAX,
    STORE_DEADLINE_MS,
    STORE_OPEN_MS_MAX,
)

RETRY_PAUSE_MS: dict[str, int] = {
    "TRYAGAIN": 10,  # the keys of one call are on both sides of a moving slot
    "CLUSTERDOWN": 50,
    "LOADING": 50,
    "MASTERDOWN": 50,
    "READONLY": 50,  # demoted under us: the new master has to be found
    "BUSY": 20,  # another function runs for too long; ours was not begun
    "NOREPLICAS": 50,  # min-replicas-to-write is not met: nothing was written
}
"""Error replies that say `not executed, ask again`, and how long to wait before."""

SURVEYED_AFTER = frozenset({"CLUSTERDOWN", "MASTERDOWN", "READONLY"})
SWEEP_MS = 10
_ASKING = pack("ASKING")


class Node:
    """One master: its place, and the link while there is one."""

    __slots__ = ("arriving", "endpoint", "link", "links", "loads", "named_ms")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.link: Link | None = None
        self.links = 0  # so many were tried so far
        self.arriving = 0  # the slot of the redirection that named it last
        self.named_ms = 0  # when a redirection named it last: a node without slots yet is kept for a while
        self.loads: list[_Call] | None = None  # calls that wait for the function library


class _Call:
    """One call on its way; it is its own `done` for the link."""

    __slots__ = (
        "command",
        "deadline_ms",
        "done",
        "fault",
        "loaded_at",
        "node",
        "not_before_ms",
        "redirected",
        "run_id",
        "slot",
        "store",
    )

    def __init__(
        self, store: "Store", slot: int, command: bytes, done: Done, deadline_ms: int, run_id: str
    ) -> None:
        self.run_id = run_id
        self.store = store
        self.slot = slot
        self.command = command
        self.done = done
        self.deadline_ms = deadline_ms
        self.node: Node = _NOWHERE
        self.loaded_at: Node | None = None
        self.redirected = 0
        self.not_before_ms = 0
        self.fault: StoreFault | None = None

    def __call__(self, reply: Any) -> None:
        if isinstance(reply, StoreFault):
            self.store._refused(self, reply)  # noqa: SLF001 - one mechanism in two classes
        else:
            self.done(reply)

    def end(self, fault: StoreFault) -> None:
        """Hand the last fault on; a defect of one receiver must not strand the calls behind it."""
        try:
            self.done(fault)
        except Exception as defect:  # noqa: BLE001 - as in Link._hand
            told = {"message": "a fault's receiver failed", "exception": defect, "receiver": self.done}
            asyncio.get_running_loop().call_exception_handler(told)


_NOWHERE = Node(Endpoint("nowhere", 0))


class Store:
    """All masters behind one address."""

    def __init__(
        self,
        address: Address,
        *,
        on_master_up: Callable[[Link], None] | None = None,
        library: bytes = b"",
        demands: Demands | None = None,
        deadline_ms: int = STORE_DEADLINE_MS,
        link_deadline_ms: int = LINK_DEADLINE_MS,
        clock: Clock | None = None,
        title: str = "ocs",
    ) -> None:
        self._address = address
        self._on_master_up = on_master_up
        self._library = library
        self._demands = demands
        self._deadline_ms = deadline_ms
        self._link_deadline_ms = link_deadline_ms
        self._now_ms = (clock or SystemClock()).monotonic_ms
        self._title = title
        self._nodes: dict[Endpoint, Node] = {}
        self._owners: list[Node] = [_NOWHERE] * SLOTS
        self._parked: list[_Call] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._closed = False
        self._serving: set[Node] = {_NOWHERE}
        self.fault: StoreFault | None = None
        """The last fault of connecting or of reading the topology, for /health; None when all is well."""
        self.retried = 0
        """Calls made again so far, for metrics."""

    # -- opening and closing

    async def open(self, wait_ms: int = STORE_OPEN_MS_MAX) -> None:
        """Connect to every master; raises a StoreFault when that fails for wait_ms, StoreRefused at once."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="store keeper")
        give_up_ms = self._now_ms() + wait_ms
        while not self.ready:
            if isinstance(self.fault, StoreRefused) and self._is_final(self.fault):
                break
            left_ms = give_up_ms - self._now_ms()
            if left_ms <= 0:
                break
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left_ms / 1000)
            except TimeoutError:
                break
        if not self.ready:
            fault = self.fault or LinkDown(f"{self._address.name}: not every slot is served")
            await self.close()
            raise fault

    async def close(self) -> None:
        """End all links; calls that wait end in a StoreFault."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for node in self._nodes.values():
            if node.link is not None:
                node.link.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        parked, self._parked = self._parked, []
        for call in parked:
            call.end(LinkDown("the store was closed"))

    # -- calling

    def call(self, slot: int, command: bytes, done: Done, incarnation: str = "") -> None:
        """Send one packed command to the master of its slot; `done` gets the reply or a StoreFault (laws 1, 2 and 5)."""
        call = _Call(self, slot, command, done, self._now_ms() + self._deadline_ms, incarnation)
        node = call.node = self._owners[slot]
        link = node.link
        if link is None:
            self._park(call, _no_link(node), 0)
        elif incarnation and link.run_id != incarnation:
            asyncio.get_running_loop().call_soon(done, _displaced(node))
        else:
            link.call(command, call)

    async def execute(self, slot: int, *arguments: str | int | bytes, incarnation: str = "") -> Any:
        """Call the master of a slot and wait; raises the StoreFault. Not for the hot path."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(reply: Any) -> None:
            if not future.done():
                future.set_result(reply)

        self.call(slot, pack(*arguments), settle, incarnation)
        if isinstance(reply := await future, StoreFault):
            raise reply
        return reply

    async def execute_at(self, master: str, *arguments: str | int | bytes) -> Any:
        """Call one master by its name and wait; for what belongs to a node and to no slot (SCAN, INFO)."""
        for node in self._nodes.values():
            if node.endpoint.name == master and node.link is not None:
                return await node.link.execute(*arguments)
        raise LinkDown(f"{master}: no link")

    # -- what is known

    @property
    def ready(self) -> bool:
        """Every slot has a master, and every master a living link."""
        return all(node.link is not None for node in self._serving)

    @property
    def pending(self) -> int:
        """Calls that wait, on links or parked."""
        return len(self._parked) + sum(node.link.pending for node in self._nodes.values() if node.link)

    def incarnation(self, slot: int) -> str:
        """Return the run id of the process that serves the slot now, or "" while there is no link to it."""
        link = self._owners[slot].link
        return "" if link is None else link.run_id

    def masters(self) -> list[str]:
        """Return the names of the masters that serve slots now."""
        return sorted(node.endpoint.name for node in self._serving if node is not _NOWHERE)

    def endpoint(self, slot: int) -> Endpoint | None:
        """Return where the slot is served now, None when no master is known."""
        node = self._owners[slot]
        return None if node is _NOWHERE else node.endpoint

    # -- refusals

    def _refused(self, call: _Call, fault: StoreFault) -> None:
        """A call came back with a fault: make it again, or hand the fault on."""
        if isinstance(fault, LinkDown):
            self._park(call, fault, 0)
        elif isinstance(fault, StoreError):
            self._answered_error(call, fault)
        else:  # LinkLost: unknown; LinkFull: the caller sheds load
            call.done(fault)

    def _answered_error(self, call: _Call, fault: StoreError) -> None:
        code = fault.code
        if code in {"MOVED", "ASK"}:
            self._redirect(call, fault)
        elif code in RETRY_PAUSE_MS:
            if code in SURVEYED_AFTER:
                self._wake.set()
            if code == "READONLY" and call.node.link is not None:
                call.node.link.close()  # a replica now: the link comes back to whoever is the master
            self._park(call, fault, RETRY_PAUSE_MS[code])
        elif "Function not found" in fault.text and self._library and call.loaded_at is not call.node:
            call.loaded_at = call.node
            self._load_for(call, fault)
        else:
            call.done(fault)

    def _redirect(self, call: _Call, fault: StoreError) -> None:
        """MOVED: the slot is there from now on. ASK: this call only goes there, with ASKING before it."""
        target = self._named(fault, call.node)
        if target is None:
            call.done(fault)
            return
        call.redirected += 1
        if fault.code == "MOVED":
            self._owners[call.slot] = target
            self._serving.add(target)
            self._wake.set()
        link = target.link
        if fault.code == "MOVED" and call.run_id and link is not None and link.run_id != call.run_id:
            call.done(_displaced(target))
            return
        if link is None or call.redirected > 2 or self._now_ms() >= call.deadline_ms:
            self._park(call, fault, RETRY_PAUSE_MS["TRYAGAIN"])
            return
        self.retried += 1
        call.node = target
        if fault.code == "ASK":
            link.call(_ASKING, _ignore)  # same turn, same link: nothing comes between the two
        link.call(call.command, call)

    def _named(self, fault: StoreError, by: Node) -> Node | None:
        """Return the node that a redirection names (`MOVED slot host:port`); an empty host is the answerer's."""
        words = fault.text.split(" ")
        host, _, port = words[2].rpartition(":") if len(words) > 2 else ("", "", "")
        if not port.isdigit():
            return None
        endpoint = Endpoint(host.strip("[]") or by.endpoint.host, int(port))
        node = self._nodes.setdefault(endpoint, Node(endpoint))
        if node.link is None:  # new, or its last link could not be made: what it answered may be past
            self._wake.set()
        node.named_ms, node.arriving = self._now_ms(), int(words[1])
        return node

    def _load_for(self, call: _Call, fault: StoreError) -> None:
        """Nobody loaded the library on this master: load it once, then make all waiting calls again."""
        node = call.node
        if node.loads is not None:
            node.loads.append(call)
            return
        if node.link is None:
            self._park(call, fault, 0)
            return
        node.loads = [call]

        def loaded(reply: Any) -> None:
            waiting, node.loads = node.loads or [], None
            known = (
                isinstance(reply, StoreError) and "already exists" in reply.text
            )  # another worker was faster
            for each in waiting:
                if known or not isinstance(reply, StoreFault):
                    self._park(each, fault, 0)
                elif isinstance(reply, LinkLost):  # the load's outcome is unknown, the call's is not: refused
                    each.loaded_at = None
                    self._park(each, reply, 0)
                elif isinstance(reply, StoreError) and reply.code not in RETRY_PAUSE_MS:
                    each.end(reply)
                else:
                    each.loaded_at = None
                    self._park(each, reply, RETRY_PAUSE_MS["LOADING"])

        node.link.call(pack("FUNCTION", "LOAD", self._library), loaded)

    # -- calls that wait for their next attempt

    def _park(self, call: _Call, fault: StoreFault, pause_ms: int) -> None:
        call.fault = fault
        if self._closed or len(self._parked) >= STORE_CALLS_PARKED_MAX:
            refusal = (
                fault if self._closed else LinkFull(f"{STORE_CALLS_PARKED_MAX} calls are parked: {fault}")
            )
            asyncio.get_running_loop().call_soon(call.done, refusal)
            return
        call.not_before_ms = self._now_ms() + pause_ms
        self._parked.append(call)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(
                0 if pause_ms == 0 else SWEEP_MS / 1000, self._sweep
            )

    def _sweep(self) -> None:
        """Make parked calls again whose time has come and whose master has a link; give up those past their deadline."""
        self._sweeper = None
        now_ms = self._now_ms()
        parked, self._parked = self._parked, []
        for call in parked:
            node = self._owners[call.slot]
            if now_ms >= call.deadline_ms:
                call.end(call.fault or _no_link(node))
            elif now_ms < call.not_before_ms or node.link is None:
                self._parked.append(call)
            elif call.run_id and node.link.run_id != call.run_id:
                call.end(_displaced(node))
            else:
                self.retried += 1
                call.node = node
                call.redirected = 0
                node.link.call(call.command, call)
        if self._parked and self._sweeper is None and not self._closed:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_MS / 1000, self._sweep)

    # -- keeping the links

    async def _keep(self) -> None:
        """Read the topology and connect whenever something woke us, with pauses that double while it fails."""
        backoff_ms = STORE_BACKOFF_MS_MIN
        while not self._closed:
            self._wake.clear()
            begun_ms = self._now_ms()
            try:
                await self._mend()
            except StoreFault as fault:
                self.fault = fault
            except Exception as defect:  # noqa: BLE001 - a defect here must not leave the store down for ever
                self.fault = LinkDown(f"{self._address.name}: {defect!r}")
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "store keeper", "exception": defect}
                )
            self._changed.set()
            if self.ready:
                backoff_ms = STORE_BACKOFF_MS_MIN
                await (
                    self._wake.wait()
                )  # a link that lived for long is mended at once, one that just came back is not
                await asyncio.sleep(max(0, begun_ms + STORE_BACKOFF_MS_MIN - self._now_ms()) / 1000)
            else:
                await asyncio.sleep(backoff_ms / 1000)
                backoff_ms = min(2 * backoff_ms, STORE_BACKOFF_MS_MAX)

    async def _mend(self) -> None:
        """One survey: who serves what, links to all of them, then the map; raises the first fault at its end."""
        links = [node.link for node in self._nodes.values() if node.link is not None]
        shares = await survey(self._address, links)
        for share in shares:
            self._nodes.setdefault(share.endpoint, Node(share.endpoint))
        self._drop_unnamed({share.endpoint for share in shares})
        down = [node for node in self._nodes.values() if node.link is None]
        self._adopt(shares)
        results = await asyncio.gather(*(self._connect(node) for node in down), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self.fault = None

    def _adopt(self, shares: tuple[Share, ...]) -> None:
        owners = [_NOWHERE] * SLOTS
        for share in shares:
            node = self._nodes[share.endpoint]
            for first, last in share.ranges:
                owners[first : last + 1] = [node] * (last + 1 - first)
        self._owners = owners
        self._serving = set(owners)
        self._sweep_now()

    def _drop_unnamed(self, serving: set[Endpoint]) -> None:
        """Forget nodes that serve nothing and that no redirection named lately, once nothing waits on them."""
        now_ms = self._now_ms()
        for endpoint, node in list(self._nodes.items()):
            if endpoint in serving or (now_ms - node.named_ms < 10 * STORE_BACKOFF_MS_MAX and node.named_ms):
                continue
            if node.link is not None:
                if node.link.pending:
                    continue
                node.link.close()
            del self._nodes[endpoint]

    async def _connect(self, node: Node) -> None:
        node.links += 1
        mine = [slot for slot, owner in enumerate(self._owners) if owner is node]
        mark = mark_in(mine, node.links, node.arriving)
        link = link_to(
            node.endpoint, self._address, self._demands, mark, self._link_deadline_ms, self._title, self._lost
        )
        await link.connect()
        if self._closed:
            link.close()
            return
        node.link = link
        if self._on_master_up is not None:
            self._on_master_up(link)
        self._sweep_now()

    def _lost(self, link: Link) -> None:
        """Called before the link's calls end, so that a replay made by one of them finds the node without a link."""
        node = self._nodes.get(link.endpoint)
        if node is not None and node.link is link:
            node.link = None
            self.fault = link.fault
            self._wake.set()

    def _sweep_now(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep()

    def _is_final(self, fault: StoreRefused) -> bool:
        """A replica may become the master where there is a failover; every other refusal needs a human."""
        return not isinstance(fault, NotMaster) or self._address.scheme is Scheme.SERVER


def _displaced(node: Node) -> Displaced:
    return Displaced(f"{node.endpoint.name} serves the slot now")


def _no_link(node: Node) -> LinkDown:
    return LinkDown("no master serves the slot" if node is _NOWHERE else f"{node.endpoint.name}: no link")


def _ignore(_reply: Any) -> None:
    """Receive the reply of ASKING: the call behind it tells."""
