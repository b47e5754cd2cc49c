"""`ocs backup`: create, list, verify and restore backups of the embedded store (ocs/BACKUP.md is the runbook).

Laws
1. What a command says was done is on disk; what it refuses, it refuses before it writes.
2. A restore is loaded and audited before its folder has its name; what was undone is told, and kept beside it.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocs.balance.addresses import Scheme
from ocs.balance.aof import FOLDER, AofFault
from ocs.balance.archive_files import sync_folder
from ocs.balance.backup import (
    CONFIG,
    ORIGIN_STATE,
    TRYING,
    Backup,
    BackupFault,
    Draft,
    Facts,
    damaged,
    faults,
    listed,
    prune,
    read_backup,
)
from ocs.balance.embedded import Embedded
from ocs.balance.keys import LAYOUT
from ocs.balance.restore import names_of
from ocs.clock import SystemClock
from ocs.roof import say
from ocs.roof.build import Keepers, address_of, keep_private, read_settings, run_with
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.settings import Settings, config_folder

NEWEST = "newest"
_LOWEST = 19


def create(place: Place, folder: Path | None, keep: int | None, *, as_json: bool) -> None:
    """Make a backup of the store, living or not, and remove those beyond the newest ``keep``."""
    settings = embedded_settings(place)
    data = settings.server.data_dir
    if not (data / FOLDER).is_dir():
        raise Ended(Exit.NOT_FOUND, f"{data}: holds no store; name its folder with --data-dir")
    folder = folder or settings.backups_folder
    began = time.monotonic()
    with told():
        end_dead(folder, TRYING)
        backup = _made(settings, place, folder)
        gone = prune(folder, settings.backup.keep if keep is None else keep)
    content = described(backup) | {"seconds": round(time.monotonic() - began, 1), "removed": gone}
    say.as_json(content) if as_json else say.facts(content)
    if folder.stat().st_dev == data.stat().st_dev:
        say.remark(
            "the backup is on the disk of the data folder: copy it to another, or name one there (backup.dir)"
        )


def _made(settings: Settings, place: Place, folder: Path) -> Backup:
    keep_private()
    data, clock = settings.server.data_dir, SystemClock()
    with Draft(folder, clock.now_ms(), shown("copying")) as draft:
        draft.take_kept(data)

        async def opened(keepers: Keepers) -> Facts:
            # who charges comes first; not before: a store that was started for us may be a server's from now on
            os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)
            facts = await facts_of(keepers)
            draft.open_store(data, clock.now_ms)
            return facts

        facts = run_with(settings, opened)
        # from here on nothing waits for us that would not see the end of a task
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        draft.open_archive(settings.archive_folder)
        draft.open_audit(settings.audit_folder)
        draft.take_small(ORIGIN_STATE, data / ORIGIN_STATE)
        draft.take_small(f"{CONFIG}/ocs.toml", place.config or config_folder() / "ocs.toml")
        for name, path in read_folders(settings).items():
            draft.take_folder(f"{CONFIG}/{name}", path)
        return draft.finish(facts)


def read_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders whose files are kept with a backup, by the name they have there."""
    return {
        "tariffs": settings.tariffs_folder,
        "products": settings.products_folder,
        "zones": settings.zones_folder,
    }


async def facts_of(keepers: Keepers) -> Facts:
    """Ask an open store what a backup of it is of. Accounts are never removed: a later state has at least as many."""
    parts, call = keepers.parts, keepers.store.execute
    kinds = [name.partition("}:")[2] async for name in names_of(parts)]
    accounts = sum(
        kind.startswith("book:") and "/" not in kind for kind in kinds
    )  # of a member's book, its account's counts
    sessions = streams = records = keys = 0
    for each in parts.keys:
        sessions += await call(each.slot, "ZCARD", each.due)
        waiting = await call(each.slot, "XLEN", each.stream)
        streams += await call(each.slot, "EXISTS", each.stream)
        records += waiting
    for master in keepers.store.masters():
        keys += await keepers.store.execute_at(master, "DBSIZE")
    info = (await call(0, "INFO", "server")).decode()
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    server = f"{fields.get('server_name', 'redis')} {fields.get('valkey_version', fields.get('redis_version', ''))}"
    durability = keepers.settings.store.durability
    return Facts(LAYOUT, len(parts.keys), durability, server, accounts, sessions, streams, records, keys)


def listing(place: Place, folder: Path | None, *, as_json: bool) -> None:
    """List backups, oldest first; those whose note is damaged are named, and end the command with 1."""
    folder = folder or read_settings(place).backups_folder
    found, wrong = listed(folder), damaged(folder)
    if as_json:
        say.as_json({"folder": str(folder), "backups": [described(each) for each in found], "damaged": wrong})
    elif found:
        columns = (
            ("name", False),
            ("restores from", False),
            ("to", False),
            ("accounts", True),
            ("octets", True),
        )
        rows = [
            (each.name, say.instant(each.since_s * 1000), say.instant(each.ends_ms), f"{each.facts.accounts:,}", f"{each.octets:,}")
            for each in found
        ]  # fmt: skip
        say.table(columns, rows)
    else:
        say.line(f"no backup in {folder}")
    if wrong:
        raise Ended(Exit.FOUND_WRONG, "\n".join(wrong))


def described(backup: Backup) -> dict[str, Any]:
    """Describe a backup; ``accounts`` are those that were there at least, sessions and records about those at its end."""
    facts = backup.facts
    return {
        "name": backup.name,
        "path": str(backup.path),
        "restores_from": say.instant(backup.since_s * 1000),
        "restores_to": say.instant(backup.ends_ms),
        "accounts": facts.accounts,
        "sessions": facts.sessions,
        "streams": facts.streams,
        "records_on_streams": facts.records,
        "keys": facts.keys,
        "files": len(backup.files),
        "octets": backup.octets,
        "store": facts.server,
        "durability": facts.durability,
    }


def found_backup(settings: Settings, name: str, folder: Path | None) -> Backup:
    """Find a backup by its path, its name in the folder of backups, or as the newest there."""
    folder = folder or settings.backups_folder
    if name == NEWEST:
        there = listed(folder)
        if not there:
            raise Ended(Exit.NOT_FOUND, f"no backup in {folder}; name one by its path")
        return there[-1]
    path = Path(name) if "/" in name or Path(name).is_dir() else folder / name
    try:
        return read_backup(path)
    except BackupFault as fault:
        raise Ended(Exit.NOT_FOUND if not path.is_dir() else Exit.FOUND_WRONG, str(fault)) from fault


def proved(backup: Backup) -> None:
    """Read every file of a backup; Ended (found wrong) names those that are damaged."""
    if wrong := faults(backup, shown("reading")):
        raise Ended(Exit.FOUND_WRONG, f"{backup.path}: is damaged; use another backup\n" + "\n".join(wrong))


def embedded_settings(place: Place) -> Settings:
    """Read the settings; Ended (usage) where they mean another store than the embedded one."""
    settings = read_settings(place)
    if address_of(settings).scheme is not Scheme.EMBEDDED:
        raise Ended(
            Exit.USAGE,
            "ocs backup copies the embedded store; this one is a server of its own: back it up with its own means, "
            "and the archive with it (ocs/BACKUP.md says in which order)",
        )
    return settings


def empty_target(settings: Settings) -> Path:
    """Return the folder that is restored into, where it really lies; Ended (usage) where it, or the archive's, holds anything."""
    target = settings.server.data_dir
    if (target / "store.alive").exists() and Embedded(target, settings.store.durability, None).alive():
        raise Ended(
            Exit.USAGE, f"{target}: a living store is here; stop its server, or restore into another folder"
        )
    for each in (target, settings.archive.dir):
        if each is not None and each.exists() and (not each.is_dir() or any(each.iterdir())):
            raise Ended(
                Exit.USAGE,
                f"{each}: is not empty; move it aside first: nothing is restored over what is there",
            )
        if each is not None and each.is_mount():
            raise Ended(
                Exit.USAGE,
                f"{each}: a disk is mounted here, and what is restored gets its name when it is whole; restore into a folder "
                "on that disk, and name that in the settings",
            )
    return target.resolve()


def end_dead(folder: Path, start: str) -> None:
    """Remove folders that restores which were killed have left in a folder, and end the stores that live on in them."""
    for left in folder.glob(f"{start}*"):
        pid = left.name.removeprefix(start).partition("-")[0]
        if not pid.isdecimal() or Path(f"/proc/{pid}").exists():
            continue
        for place in (left, *left.iterdir()):
            if (place / "store.alive").exists():
                Embedded(place, "always", None).stop()
        shutil.rmtree(left, ignore_errors=True)


def read_instant(text: str) -> int:
    """Read --to as whole seconds since 1970; without zone it is this machine's own time."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError as fault:
        raise Ended(
            Exit.USAGE, f"--to: {text!r} is no instant; write such as 2026-12-01T14:02:00+01:00"
        ) from fault
    if read.microsecond:
        raise Ended(
            Exit.USAGE, f"--to: {text}: instants are whole seconds; what was written before one is restored"
        )
    return int(read.astimezone(UTC).timestamp())


def shown(what: str) -> Callable[[int, int], None]:
    """Show on a terminal how far something has come."""
    last = [-1]

    def show(done: int, whole: int) -> None:
        share = 100 if done >= whole else done * 100 // whole
        if share != last[0] and sys.stderr.isatty():
            last[0] = share
            end = "\r\x1b[K" if share == 100 else "\r"
            print(f"{what}: {share}% of {whole:,} octets", end=end, file=sys.stderr, flush=True)  # noqa: T201 - for eyes

    return show


@contextmanager
def told() -> Iterator[None]:
    """Turn faults of backups and files into the command's end."""
    try:
        yield
    except (BackupFault, AofFault) as fault:
        raise Ended(Exit.FOUND_WRONG, str(fault)) from fault
    except OSError as fault:
        raise Ended(Exit.USAGE, f"{fault.filename or 'the backup'}: {fault.strerror}") from fault


def sync_tree(folder: Path) -> None:
    """Have every file of a folder on disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        sync_folder(Path(place))


def room_for(folder: Path, octets: int) -> None:
    """End with usage where a disk has not so many octets free."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if (free := shutil.disk_usage(there).free) < octets:
        raise Ended(
            Exit.USAGE, f"{there}: about {octets:,} octets are needed and {free:,} are free; make room"
        )
