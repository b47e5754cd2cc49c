"""A network whose store is backed up and restored: RealValkey servers in folders of their own, instants a second apart."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ocs.balance.archive import Archiver
from ocs.balance.audit import Report, audit
from ocs.balance.backup import Backup, Draft, Facts
from ocs.balance.keys import LAYOUT
from ocs.balance.restore import find_cut, lay, number_of, settle, tail_of
from ocs.balance.undone import Undone
from ocs.clock import SystemClock
from tests.charged_store import ChargedStore, StoreRoom
from tests.real_valkey import RealValkey
from tests.unit.balance.books import RULES, TARIFFS, Network

PARTITIONS = 2
FACTS = Facts(LAYOUT, PARTITIONS, "always", "valkey", 1, 0, 2, 0, 0)


def later() -> int:
    """Wait for the next second but one, and return the one between: what is written before and after lies on its two sides."""
    at_s = int(time.time()) + 1
    while time.time() < at_s + 1:
        time.sleep(0.02)
    return at_s


def backed_up(server: RealValkey, into: Path, archive: Path | None = None) -> Backup:
    """A backup of a server's folder, as the command takes it."""
    with Draft(into, time.time_ns() // 1_000_000) as draft:
        draft.take_kept(server.folder)
        draft.open_store(server.folder, lambda: time.time_ns() // 1_000_000)
        if archive is not None:
            draft.open_archive(archive)
        return draft.finish(FACTS)


class Restored(NamedTuple):
    """A restored store that lives, its archive, and what was undone."""

    charged: ChargedStore
    room: StoreRoom
    folder: Path
    undone: Undone

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def run(self, work: Any) -> Any:
        return self.room.run(work)

    def audit(self) -> Report:
        report: Report = self.run(audit(self.charged.parts, self.archive if self.archive.is_dir() else None))
        return report

    def archived(self) -> Archiver:
        """Archive all that waits."""
        archiver = Archiver(self.charged.parts, self.archive, SystemClock())
        self.run(archiver.open())
        self.run(archiver.once(everything=True))
        archiver.close()
        return archiver


def restart(server: RealValkey, room: StoreRoom) -> None:
    """Kill the store and start it again: another process, another epoch."""
    before = room.store.incarnation(0)
    server.kill()
    server.start()

    async def back() -> None:
        while room.store.incarnation(0) in {"", before}:  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(0.01)

    room.run(back())


@contextmanager
def restored(
    backup: Backup, folder: Path, to_s: int | None = None, archive: Path | None = None
) -> Iterator[Restored]:
    """Restore a backup and let its store live until the block's end."""
    cut = find_cut(backup, to_s)
    lay(backup, cut, folder)
    with RealValkey() as server:
        server.kill()
        shutil.rmtree(server.folder / "appendonlydir")
        (folder / "appendonlydir").rename(server.folder / "appendonlydir")
        server.start()
        room = StoreRoom(server)
        try:
            charged = ChargedStore(room.store, TARIFFS, RULES, PARTITIONS)
            parts = charged.parts
            undone = Undone(folder / "undone", lambda partition, path: number_of(parts, partition, path))
            with undone:
                tail = tail_of(backup, cut, parts.keys)
                room.run(settle(parts, archive or backup.path / "archive", folder / "archive", tail, undone))
                undone.finish({})
            restart(server, room)  # the server of then has stopped; it is another's turn
            yield Restored(charged, room, folder, undone)
        finally:
            room.close()


def archived(net: Network, folder: Path) -> None:
    """Archive all that waits, and trim."""
    archiver = Archiver(net.charged.parts, folder, SystemClock())
    net.run(archiver.open())
    net.run(archiver.once(everything=True))
    archiver.close()
