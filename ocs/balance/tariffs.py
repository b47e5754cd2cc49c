"""Tariffs in the store: written once, known to every worker before they count; no money moves here.

Laws
1. A version is in force when the index names it, which is one atomic write (HSETNX). What is written before it, texts under names of
   their content, is harmless when the writer dies: nobody looks at what the index does not name.
2. Nothing is changed or removed: the index only grows, so that its length is the revision that workers poll.
3. What a folder and the store both name is the folder's. With the same content and no instant of its own it counts from the
   store's: it was put into the folder since, for nothing that a folder has from always can be activated.
4. Until the store was read once, no version is the newest: a session waits for it rather than begin on an older one.
5. Reading never holds up charging: texts are parsed in a thread, and become known in one step.
6. What a server was started with from its folder is noted, and stays what it was: sessions and records name it by its key alone.

Keys, in a slot of their own: {tariffs}:index holds "<effective ms> <digest>" by name@version; {tariffs}:tariff:<name>@<version>:<digest>
and {tariffs}:plan:<digest> the texts, MessagePack in zlib; {tariffs}:served holds what was said by a folder's versions (written.py, law 3).
"""

import asyncio
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from ocs.balance.keys import slot_of
from ocs.balance.link import StoreFault, StoreUnreadable
from ocs.balance.store import Store
from ocs.clock import Clock
from ocs.limits import TARIFFS_LOOK_S, TARIFFS_SEEK_MS
from ocs.rating.numbering import Numbering
from ocs.rating.tariff import Tariff
from ocs.rating.versions import Tariffs
from ocs.rating.windows import AT_MS_MAX
from ocs.rating.written import Written, WrittenPlan

INDEX: Final = "{tariffs}:index"
SERVED: Final = "{tariffs}:served"
_SLOT: Final = slot_of(INDEX)
_SWITCH_S: Final = 0.0005
"""How long a thread that parses keeps the interpreter while the event loop waits for it."""


class Listed(NamedTuple):
    """A version as the index names it."""

    effective_ms: int
    digest: str


def _row(text: bytes) -> Listed:
    """Read a row of the index; an instant that no calendar has is as bad as none."""
    effective, _, digest = text.decode(errors="replace").partition(" ")
    try:
        effective_ms = int(effective)
    except ValueError:
        return Listed(0, "")
    return Listed(effective_ms, digest) if 0 <= effective_ms <= AT_MS_MAX else Listed(0, "")


class Shelf:
    """The versions that a store keeps. Raises StoreFault."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def revision(self) -> int:
        """Return how many versions there are: one cheap call."""
        return int(await self._store.execute(_SLOT, "HLEN", INDEX))

    async def listed(self) -> dict[str, Listed]:
        """Return every version by key; one whose row cannot be read has no digest, and is nobody's."""
        told = await self._store.execute(_SLOT, "HGETALL", INDEX)
        return {
            key.decode(errors="replace"): _row(text) for key, text in zip(told[::2], told[1::2], strict=True)
        }

    async def changed(self, said: Mapping[str, str]) -> list[str]:
        """Return which of a folder's versions, by key, were served with other content."""
        keys, told = list(said), await self._store.execute(_SLOT, "HMGET", SERVED, *said)
        return [
            key
            for key, digest in zip(keys, told, strict=True)
            if digest is not None and digest.decode(errors="replace") != said[key]
        ]

    async def note(self, said: Mapping[str, str]) -> list[str]:
        """Note what a folder's versions say before anybody is charged on them, all or, where one is ``changed``, none; returns those."""
        if changed := await self.changed(said):
            return changed
        for key, digest in said.items():
            await self._store.execute(_SLOT, "HSETNX", SERVED, key, digest)
        return await self.changed(said)  # another server may have been faster

    async def now_ms(self) -> int:
        """Return the store's time, without a calendar offset."""
        seconds, micros = await self._store.execute(_SLOT, "TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def put(self, key: str, written: Written) -> None:
        """Write the texts of a version; it is nobody's before ``name`` says so."""
        plan = written.plan
        if plan is not None:
            await self._set(f"{{tariffs}}:plan:{plan.digest}", [plan.text, plan.tables])
        content = [written.text, plan.digest if plan is not None else ""]
        await self._set(f"{{tariffs}}:tariff:{key}:{written.digest}", content)

    async def name(self, key: str, listed: Listed) -> Listed:
        """Put a version whose texts are written into force; returns what the index says of it then (another's, if it was faster)."""
        text = f"{listed.effective_ms} {listed.digest}"
        await self._store.execute(_SLOT, "HSETNX", INDEX, key, text)
        return (await self.listed())[key]

    async def read(self, key: str, digest: str) -> Written:
        """Read the texts of a version."""
        text, plan = await self._get(f"{{tariffs}}:tariff:{key}:{digest}")
        if not plan:
            return Written(text, None)
        plan_text, tables = await self._get(f"{{tariffs}}:plan:{plan}")
        return Written(text, WrittenPlan(plan_text, tuple((name, table) for name, table in tables)))

    async def _set(self, key: str, content: Any) -> None:
        octets = await asyncio.to_thread(lambda: zlib.compress(msgpack.packb(content)))
        await self._store.execute(_SLOT, "SET", key, octets, "NX")

    async def _get(self, key: str) -> Any:
        octets = await self._store.execute(_SLOT, "GET", key)
        if octets is None:
            raise StoreUnreadable(f"{key} is not there; the index of tariffs names it")
        return await asyncio.to_thread(lambda: msgpack.unpackb(zlib.decompress(octets)))


class Told(NamedTuple):
    """What a look at the store says of one version: its key, and why it cannot be used (empty: it can)."""

    key: str
    effective_ms: int
    why: str


class StoredTariffs(Tariffs):
    """The tariffs of a folder and of a store; one per worker."""

    __slots__ = (
        "_clock",
        "_digests",
        "_looked_ms",
        "_looking",
        "_plans",
        "_seen",
        "_shelf",
        "_tell",
        "complete",
        "in_store",
    )

    def __init__(
        self,
        folder: Mapping[str, Tariff],
        digests: Mapping[str, str],
        shelf: Shelf,
        clock: Clock,
        tell: Callable[[Told], None] = lambda _told: None,
    ) -> None:
        super().__init__(folder)
        self._digests = digests
        self._shelf = shelf
        self._clock = clock
        self._tell = tell
        self._plans: dict[str, Numbering] = {}
        self._seen: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looked_ms = 0
        self.complete = False
        """Whether the store was read (law 4)."""
        self.in_store = 0
        """Versions of the store that are known here: its revision, when none was unreadable."""

    def newest(self, name: str, at_ms: int) -> Tariff | None:
        """Return the version that new sessions get; none before the store was read (law 4)."""
        return super().newest(name, at_ms) if self.complete else None

    def next_of(self, tariff: Tariff, at_ms: int) -> Tariff | None:
        """Return the version with which sessions go on; none before the store was read: there may be a higher one (law 4)."""
        return super().next_of(tariff, at_ms) if self.complete else None

    def seek(self, token: Any, done: Callable[[Any], None]) -> bool:
        """Look into the store for what was not found, unless that was done a moment ago; ``done`` gets the token or the fault."""
        if self._looking is None and self.complete:
            since_ms = self._clock.monotonic_ms() - self._looked_ms
            if since_ms < TARIFFS_SEEK_MS:
                return False
        self._look().add_done_callback(lambda look: done(_fault_of(look) or token))
        return True

    async def look(self) -> None:
        """Read the versions that are not known yet; raises StoreFault."""
        await asyncio.shield(self._look())

    async def keep_up(self, after: Callable[[], None], every_s: float = TARIFFS_LOOK_S) -> None:
        """Look again and again until cancelled; ``after`` is called when it was done, or could not be done."""
        while True:
            try:
                await self.look()
            except StoreFault:
                pass  # the store's own health tells; asked again in a moment
            except Exception as fault:  # noqa: BLE001 - whatever it is, later versions have to be learnt
                self._tell(Told("", 0, f"the store's tariffs cannot be read: {fault!r}"))
            after()
            await asyncio.sleep(every_s)

    def _look(self) -> "asyncio.Task[None]":
        """Return the look that is under way, or a new one."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_once())
            self._looking.add_done_callback(self._looked)
        return self._looking

    def _looked(self, look: "asyncio.Task[None]") -> None:
        self._looking = None
        if not look.cancelled():
            look.exception()  # whoever waits for it is told; a poller may wait no more

    async def _look_once(self) -> None:
        revision = await self._shelf.revision()
        if not self.complete or revision != len(self._seen):
            found = []
            for key, listed in (await self._shelf.listed()).items():
                if key not in self._seen:
                    found.append((key, await self._one(key, listed)))
            self.add(tariff for _, tariff in found if tariff is not None)
            self._seen |= {key for key, _ in found}
            self.in_store += sum(tariff is not None for _, tariff in found)
            self.complete = True
        self._looked_ms = self._clock.monotonic_ms()

    async def _one(self, key: str, listed: Listed) -> Tariff | None:
        """Read one version; None, and told, when it cannot be used."""
        if not listed.digest:
            self._tell(Told(key, 0, "cannot be read: its row in the index is none"))
            return None
        if key in self._digests:  # law 3
            known = self._digests[key] == listed.digest
            why = (
                ""
                if known
                else "stands in the tariffs' folder with other content, which is used; raise its version"
            )
            self._tell(Told(key, listed.effective_ms, why))
            mine = self.of_session(key)
            if mine is not None and known and not mine.effective_ms:
                # the same content, put into the folder since: it counts from when everybody was told
                self.put_off(key, listed.effective_ms)
            return mine if known else None
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        try:
            written = await self._shelf.read(key, listed.digest)
            found = await asyncio.to_thread(
                written.tariff, f"{key} of the store", self._plans, listed.effective_ms
            )
        except StoreFault as fault:
            if not isinstance(fault, StoreUnreadable):
                raise
            self._tell(Told(key, listed.effective_ms, f"cannot be read: {fault}"))
            return None
        except Exception as fault:  # noqa: BLE001 - whatever stands there
            # one that is broken, or of a server newer than this one, keeps nobody from the others
            self._tell(Told(key, listed.effective_ms, f"cannot be read: {fault}"))
            return None
        finally:
            sys.setswitchinterval(before)
        self._tell(Told(key, listed.effective_ms, ""))
        return found


def _fault_of(look: "asyncio.Task[None]") -> StoreFault | None:
    """Return why a look failed, as the book takes it."""
    if look.cancelled():
        return StoreFault("the worker ends")
    fault = look.exception()
    return fault if fault is None or isinstance(fault, StoreFault) else StoreFault(f"tariffs: {fault}")
