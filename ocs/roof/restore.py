"""`ocs backup restore` and `ocs backup verify`: a backup becomes a data folder, or proves that it could.

Laws
1. Everything that can be refused is refused before anything is written.
2. The restored store is started, settled with its archive and audited beside its place; then its folder gets its name.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from ocs.balance.archive_files import write_durably
from ocs.balance.audit import Report, audit
from ocs.balance.backup import ARCHIVE, TRYING, Backup, BackupFault
from ocs.balance.keys import LAYOUT
from ocs.balance.restore import (
    CONFIG_KEPT,
    Cut,
    find_cut,
    lay,
    may_reach,
    needed_octets,
    number_of,
    settle,
    tail_of,
)
from ocs.balance.undone import Sum, Undone
from ocs.clock import SystemClock
from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.backup import (
    described,
    embedded_settings,
    empty_target,
    end_dead,
    facts_of,
    found_backup,
    proved,
    read_folders,
    read_instant,
    room_for,
    sync_tree,
    told,
)
from ocs.roof.build import Keepers, keep_private, run_with
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.settings import Settings

UNDONE = "undone"
RESTORING = ".restoring-"
_SHOWN = 50


class _Restored(NamedTuple):
    """What came of a restore."""

    report: Report
    sums: list[Sum]
    topups: list[Any]
    accounts: int
    sessions: int


def restore(
    place: Place, name: tuple[str, Path | None], to: str | None, archive: Path | None, *, as_json: bool
) -> None:
    """Restore a backup, named as ``found_backup`` takes it, into an empty data folder, to its end or to an instant, and tell what was undone."""
    keep_private()
    settings = embedded_settings(place)
    target = empty_target(settings)
    began = time.monotonic()
    with told():
        backup = found_backup(settings, *name)
        cut, source = _judged(settings, backup, None if to is None else read_instant(to), archive)
        room_for(target, needed_octets(backup, cut))
        staging, archived = _beside(target), _apart(settings.archive.dir, target)
        beside = (
            _beside(archived) if archived is not None else staging / _inside(settings.archive.dir, target)
        )
        try:
            done = _restored(settings, backup, cut, source, staging, beside, to)
            if archived is not None and beside.is_dir():
                sync_tree(beside)
                beside.rename(archived)
            sync_tree(staging)
            staging.rename(target)
        finally:
            for each in (staging, beside):
                shutil.rmtree(each, ignore_errors=True)
    _tell(settings, backup, to, done, time.monotonic() - began, as_json=as_json)
    if to is None and done.report.accounts < backup.facts.accounts:
        raise Ended(
            Exit.FOUND_WRONG,
            f"restored, but {done.report.accounts} accounts are there of {backup.facts.accounts} that the backup was made of",
        )
    if not done.report.clean:
        found = "\n".join(
            f"partition {each.partition}, {each.subject}: {each.what}" for each in done.report.faults[:_SHOWN]
        )
        raise Ended(
            Exit.FOUND_WRONG, f"restored, but the audit found {len(done.report.faults)} faults:\n{found}"
        )


def _apart(archive: Path | None, target: Path) -> Path | None:
    """Return the archive's folder where it lies outside the data folder, where it really lies."""
    found = archive.resolve() if archive is not None else target
    return None if found.is_relative_to(target) else found


def _inside(archive: Path | None, target: Path) -> Path:
    """Return the archive's place in the data folder."""
    return archive.resolve().relative_to(target) if archive is not None else Path(ARCHIVE)


def _beside(target: Path) -> Path:
    """Name the folder in which what is to be there is made; what killed restores have left beside it is removed."""
    start = f".{target.name}{RESTORING}"
    if target.absolute().parent.is_dir():
        end_dead(target.absolute().parent, start)
    return target.absolute().with_name(f"{start}{os.getpid()}")


def verify(place: Place, name: str, folder: Path | None, *, load: bool, as_json: bool) -> None:
    """Prove every file of a backup; with ``load`` also restore it into a folder that is removed again, and audit it."""
    keep_private()
    settings = embedded_settings(place)
    began = time.monotonic()
    content: dict[str, Any] = {}
    with told():
        backup = found_backup(settings, name, folder)
        if not load:
            proved(backup)
        else:
            end_dead(backup.path.parent, TRYING)
            with tempfile.TemporaryDirectory(
                prefix=f"{TRYING}{os.getpid()}-", dir=backup.path.parent
            ) as trying:
                cut, source = _judged(settings, backup, None, None)
                room_for(Path(trying), needed_octets(backup, cut))
                staging = Path(trying) / "data"
                done = _restored(settings, backup, cut, source, staging, staging / ARCHIVE, None)
            content = {"loaded": True, "audit": "clean" if done.report.clean else "not clean"}
            content |= {"accounts": done.report.accounts, "sessions": done.report.sessions}
            if not done.report.clean or done.report.accounts < backup.facts.accounts:
                raise Ended(
                    Exit.FOUND_WRONG,
                    f"{backup.path}: loads with {done.report.accounts} accounts of {backup.facts.accounts} and "
                    f"{len(done.report.faults)} faults of the audit: {done.report.faults[:3]}",
                )
    content = described(backup) | {"whole": True} | content | {"seconds": round(time.monotonic() - began, 1)}
    say.as_json(content) if as_json else say.facts(content)


def _judged(settings: Settings, backup: Backup, to_s: int | None, archive: Path | None) -> tuple[Cut, Path]:
    """Refuse what cannot be restored, and read every file of what can; the cut, and the archive that is to be used."""
    facts = backup.facts
    if facts.layout != LAYOUT:
        raise Ended(
            Exit.USAGE,
            f"{backup.path}: holds key layout {facts.layout}, this program has {LAYOUT}; restore it with the one that made it",
        )
    if facts.partitions != settings.store.partitions:
        raise Ended(
            Exit.USAGE,
            f"{backup.path}: is laid out in {facts.partitions} partitions and the settings say {settings.store.partitions}; "
            f"set store.partitions = {facts.partitions}",
        )
    source = archive or backup.path / ARCHIVE
    if archive is not None:
        own = backup.path / ARCHIVE / "store"
        if not (archive / "place.json").exists() or (
            own.exists() and own.read_bytes() != (archive / "store").read_bytes()
        ):
            raise Ended(Exit.USAGE, f"{archive}: is not the archive of this backup's store")
    covers = f"{say.instant(backup.since_s * 1000)} to {say.instant(backup.ends_ms)}"
    uncovered = Ended(
        Exit.USAGE,
        f"--to: {say.instant((to_s or 0) * 1000)} is not covered: {backup.name} restores from {covers}; see ocs backup list",
    )
    if not may_reach(backup, to_s):  # before all is read, which takes a while
        raise uncovered
    proved(backup)
    try:
        return find_cut(backup, to_s), source
    except BackupFault as fault:
        raise uncovered from fault


def _restored(
    settings: Settings, backup: Backup, cut: Cut, source: Path, staging: Path, archive: Path, to: str | None
) -> _Restored:
    """Lay the files, start the store on them, settle and audit it, and stop it."""
    say_step("copying the store's files")
    lay(backup, cut, staging)
    inside = settings.model_copy(
        update={
            "server": settings.server.model_copy(update={"data_dir": staging}),
            "archive": settings.archive.model_copy(update={"dir": archive}),
        }
    )

    async def work(keepers: Keepers) -> _Restored:
        say_step("settling the archive")
        parts = keepers.parts
        with Undone(staging / UNDONE, lambda partition, path: number_of(parts, partition, path)) as undone:
            await settle(parts, source, archive, tail_of(backup, cut, parts.keys), undone)
            note = {
                "backup": backup.name,
                "to": to or say.instant(backup.ends_ms),
                "restored_at_ms": SystemClock().now_ms(),
            }
            undone.finish(note)
        write_durably(staging / "restored.json", json.dumps(note).encode())
        say_step("auditing")
        report = await audit(parts, archive)
        facts = await facts_of(keepers)
        return _Restored(report, undone.sums, undone.topups, undone.accounts, facts.sessions)

    done = run_with(inside, work)
    if not done.sums:
        shutil.rmtree(staging / UNDONE)
    return done


def say_step(what: str) -> None:
    """Tell a person at a terminal what is being done."""
    if sys.stderr.isatty():
        say.remark(f"{what} …")


def _tell(
    settings: Settings, backup: Backup, to: str | None, done: _Restored, seconds: float, *, as_json: bool
) -> None:
    folder, currency = settings.server.data_dir, settings.charging.currency
    report = done.report
    content: dict[str, Any] = {
        "data_dir": str(folder),
        "backup": backup.name,
        "to": say.instant((read_instant(to) * 1000) if to else backup.ends_ms),
        "accounts": report.accounts,
        "sessions": report.sessions,
        "balance": format_amount(report.balance_micros),
        "reserved": format_amount(report.pending_micros),
        "audit": "clean" if report.clean else f"{len(report.faults)} faults",
        "undone": str(folder / UNDONE) if done.sums else "",
        "undone_accounts": done.accounts,
        "other_config": _differing(settings),
        "seconds": round(seconds, 1),
    }
    if as_json:
        kinds = [each._asdict() for each in done.sums]
        say.as_json(content | {"kinds": kinds, "topups": [each._asdict() for each in done.topups]})
        return
    say.facts(content)
    if not done.sums:
        return
    say.line("\nundone, for a human to book again where it is right:")
    kind_rows = [
        (each.kind, f"{each.records:,}", f"{each.accounts:,}", say.amount(each.amount_micros, currency)) for each in done.sums
    ]  # fmt: skip
    say.table((("kind", False), ("records", True), ("accounts", True), ("amount", True)), kind_rows)
    if done.topups:
        columns = (
            ("at", False),
            ("channel", False),
            ("id", False),
            ("msisdn", False),
            ("account", False),
            ("amount", True),
        )
        rows = [
            (say.instant(each.at_ms), each.channel, each.id, each.msisdn, each.account, format_amount(each.amount_micros))
            for each in done.topups[:_SHOWN]
        ]  # fmt: skip
        say.table(columns, rows)
    if len(done.topups) > _SHOWN:
        say.line(
            f"… and {len(done.topups) - _SHOWN} more top-ups: undone.csv and undone.json in {folder / UNDONE} name all"
        )


def _differing(settings: Settings) -> list[str]:
    """Name files of tariffs, products and zones that are not what they were when the backup was made."""
    kept = settings.server.data_dir / CONFIG_KEPT
    found = []
    for name, folder in read_folders(settings).items():
        then = {each.name: each.read_bytes() for each in (kept / name).glob("*") if each.is_file()}
        now = {each.name: each.read_bytes() for each in folder.glob("*") if each.is_file()}
        found += [
            f"{name}/{each}" for each in sorted(then.keys() | now.keys()) if then.get(each) != now.get(each)
        ]
    return found
