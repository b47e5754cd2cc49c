"""Backups of a data folder: taken from a living store without stopping it, whole or not there at all.

A backup is a folder, named by the instant at which it was begun: ``store`` (the append-only file's parts, flat, with manifests), ``archive``,
``spool``, ``unbilled``, ``vouchers``, ``audit``, ``config`` and Origin-State-Id, and ``backup.json``, which names every file with its octets and SHA-256.

Laws
1. A backup has its name only when every file of it, and ``backup.json`` last, is on disk. What dies before leaves a folder whose name
   begins with a dot; it is no backup, and the next one removes it.
2. The files of the store are opened while its manifest names them, and read through what was opened, up to their length at one instant:
   a rewrite in between changes nothing that is read, and nothing of the store is held, locked or asked to wait.
3. First the spool, then the store, then the archive: a termination moves from the spool to the store, a record from the store's streams to
   the archive. So nothing is in none; what is in both counts once (the request's identity, the record's id).
4. A file that has not changed since the backup before is linked from there, where both lie in one folder: it takes no more disk.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

from ocs.balance.aof import BASE, FOLDER, INCREMENT, MANIFEST, AofFile, read_manifest
from ocs.balance.archive_files import read_places, sync_folder, write_durably
from ocs.balance.past import HISTORY, generations
from ocs.limits import BACKUP_CHUNK_OCTETS, BACKUP_TRIES

VERSION: Final = 1
NOTE: Final = "backup.json"
STORE, ARCHIVE, SPOOL, UNBILLED, CONFIG, VOUCHERS, AUDIT = (
    "store",
    "archive",
    "spool",
    "unbilled",
    "config",
    "vouchers",
    "audit",
)
ORIGIN_STATE: Final = "origin-state-id"
TRYING: Final = ".trying-"
"""Begins the name of a folder beside backups into which one is restored to see whether it can be; its maker's process id follows."""
_MAKING, _REMOVING = ".making-", ".removing-"

Progress = Callable[[int, int], None]
"""Told the octets that are done, and those of all."""


class BackupFault(RuntimeError):
    """A backup that cannot be made or used; the message says what is wrong, and what would be right."""


class Noted(NamedTuple):
    """A file of a backup: its octets and SHA-256, and which file it was read from (inode and time of change)."""

    octets: int
    sha256: str
    source: tuple[int, int]


class Facts(NamedTuple):
    """What a backup is of, as the living store said right before it."""

    layout: int
    partitions: int
    durability: str
    server: str
    accounts: int
    sessions: int
    streams: int
    records: int
    keys: int


class Backup(NamedTuple):
    """A backup that is whole by its name and its note; its files are proved by ``faults``.

    ``ends_ms`` is the instant up to which the store's files were read; ``since_s`` the first of the whole seconds that can be restored.
    """

    path: Path
    begun_ms: int
    ends_ms: int
    since_s: int
    facts: Facts
    files: dict[str, Noted]

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name

    @property
    def octets(self) -> int:
        """All octets of its files, also those that are linked."""
        return sum(each.octets for each in self.files.values())


class _Source(NamedTuple):
    """A file that is to be copied, already opened, and how much of it; of less than all the length is that of an instant."""

    file: BinaryIO
    octets: int

    @property
    def mark(self) -> tuple[int, int]:
        known = os.fstat(self.file.fileno())
        return known.st_ino, known.st_mtime_ns


class Draft:
    """A backup that is being made; a context that removes what was begun unless ``finish`` was reached."""

    def __init__(self, into: Path, now_ms: int, progress: Progress = lambda _done, _all: None) -> None:
        """Begin one in a folder of backups; raises OSError."""
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(into)
        self._into = into
        self._begun_ms = now_ms
        self._progress = progress
        self._before = next(reversed(listed(into)), None)
        self._files: dict[str, Noted] = {}
        self._sources: dict[str, _Source] = {}
        self._open = ExitStack()
        self._ends_ms = 0
        self.path = into / f"{_MAKING}{os.getpid()}-{_named(now_ms)}"

    def __enter__(self) -> Self:
        self.path.mkdir(mode=0o700)
        return self

    def __exit__(self, *_fault: object) -> None:
        self._open.close()
        shutil.rmtree(self.path, ignore_errors=True)  # after ``finish`` it is not there any more

    def take_small(self, name: str, path: Path) -> None:
        """Copy one small file now; one that has just gone is left out."""
        with suppress(FileNotFoundError), path.open("rb") as file:
            self._copy(name, _Source(file, os.fstat(file.fileno()).st_size), lambda _more: None)

    def take_folder(self, name: str, folder: Path, pattern: str = "*") -> None:
        """Copy the small files of a folder now."""
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                self.take_small(f"{name}/{path.relative_to(folder)}", path)

    def take_kept(self, data: Path) -> None:
        """Copy what is on disk alone: terminations of the spool, accounting records that nobody can be billed for, the vouchers' secret."""
        for name in (SPOOL, UNBILLED, VOUCHERS):
            self.take_folder(name, data / name)

    def open_store(self, data: Path, now_ms: Callable[[], int]) -> None:
        """Open the store's files as they are at one instant (law 2), and those of its history; raises BackupFault."""
        live = data / FOLDER
        for _ in range(BACKUP_TRIES):
            with ExitStack() as held:
                text = (live / MANIFEST).read_text()
                files = [each for each in read_manifest(text) if each.kind in {BASE, INCREMENT}]
                try:
                    opened = [(each, held.enter_context((live / each.name).open("rb"))) for each in files]
                except FileNotFoundError:
                    continue
                if (live / MANIFEST).read_text() != text:
                    continue
                self._ends_ms = now_ms()
                for each, file in opened:
                    self._sources[f"{STORE}/{each.name}"] = _Source(file, os.fstat(file.fileno()).st_size)
                self._open.enter_context(held.pop_all())
                self._note_manifest(MANIFEST, text)
                break
        else:
            raise BackupFault(f"{live}: is rewritten faster than it can be read; try again")
        self._open_history(data / HISTORY, files)

    def _open_history(self, history: Path, live: list[AofFile]) -> None:
        """Open what the history has besides; a generation that is let go meanwhile is left out."""
        kept = generations(history)
        for each in (*(one.base for one in kept.listed), *kept.increments.values()):
            name = f"{STORE}/{each.name}"
            if name in self._sources:
                continue
            with suppress(FileNotFoundError):
                file = self._open.enter_context((history / each.name).open("rb"))
                self._sources[name] = _Source(file, os.fstat(file.fileno()).st_size)
        for one in kept.listed:
            if one.base not in live:
                note = f"{one.base.name}.manifest"
                self._note_manifest(note, (history / note).read_text())

    def _note_manifest(self, name: str, text: str) -> None:
        folder = self.path / STORE
        folder.mkdir(mode=0o700, exist_ok=True)
        write_durably(folder / name, text.encode())
        self._files[f"{STORE}/{name}"] = Noted(len(text.encode()), _sha256(text.encode()), (0, 0))

    def open_archive(self, archive: Path) -> None:
        """Open the archive as far as it is noted, after the store (law 3)."""
        if not archive.is_dir():
            return
        for name in ("place.json", "store", "archiver"):
            self.take_small(f"{ARCHIVE}/{name}", archive / name)
        self.take_folder(ARCHIVE, archive, "p*.behind")
        noted = self.path / ARCHIVE
        places = read_places(noted) if noted.is_dir() else {}
        for path in sorted(archive.glob("*/*.rec.gz*")):
            name = str(path.relative_to(archive))
            if path.name.endswith(".rec.gz"):
                place = places.get(int(path.name[1 : path.name.index(".")]))
                if place is None or name > place.file:
                    continue
                file = self._open.enter_context(path.open("rb"))
                octets = place.octets if name == place.file else os.fstat(file.fileno()).st_size
            else:
                file = self._open.enter_context(path.open("rb"))
                octets = os.fstat(file.fileno()).st_size
            self._sources[f"{ARCHIVE}/{name}"] = _Source(file, octets)

    def open_audit(self, folder: Path) -> None:
        """Open the audit log's files, after the store: so a change that is in the backup has its intent there."""
        for path in sorted(folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):  # its days are over
                file = self._open.enter_context(path.open("rb"))
                self._sources[f"{AUDIT}/{path.name}"] = _Source(file, os.fstat(file.fileno()).st_size)

    def finish(self, facts: Facts) -> Backup:
        """Copy what was opened, note it all, and give the backup its name. Raises BackupFault, OSError."""
        whole = sum(each.octets for each in self._sources.values())
        free = shutil.disk_usage(self.path).free
        fresh = sum(
            source.octets for name, source in self._sources.items() if not self._linkable(name, source)
        )
        if fresh > free:
            raise BackupFault(
                f"{self._into}: {fresh:,} octets are to be written and {free:,} are free; make room"
            )
        done = 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            self._progress(done, whole)

        for name, source in self._sources.items():
            self._copy(name, source, tell)
        for folder, _, _ in os.walk(self.path):
            sync_folder(Path(folder))
        since_s = generations(self.path / STORE).since_s()
        if since_s is None:
            raise BackupFault(
                f"{STORE}: has no base that says when it was made; start the store once with this program"
            )
        content = {
            "version": VERSION, "begun_ms": self._begun_ms, "ends_ms": self._ends_ms, "since_s": since_s + 1,
            "facts": facts._asdict(), "files": self._files,
        }  # fmt: skip
        text = json.dumps(content, indent=1, sort_keys=True)
        write_durably(self.path / NOTE, json.dumps({"sha256": _sha256(text.encode()), "of": text}).encode())
        final = self._into / _named(self._begun_ms)
        self.path.rename(final)
        sync_folder(self._into)
        return read_backup(final)

    def _linkable(self, name: str, source: _Source) -> bool:
        """Tell whether the backup before has this very file, unchanged since (law 4)."""
        known = self._before.files.get(name) if self._before is not None else None
        return known is not None and (known.source, known.octets) == (source.mark, source.octets)

    def _copy(self, name: str, source: _Source, tell: Callable[[int], None]) -> None:
        target = self.path / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._before is not None and self._linkable(name, source):
            with suppress(OSError):  # a file system without links
                target.hardlink_to(self._before.path / name)
                self._files[name] = self._before.files[name]
                tell(source.octets)
                return
        mark = source.mark
        with target.open("xb") as out:
            digest = hashlib.sha256()
            for chunk in _chunks(source.file, source.octets):
                out.write(chunk)
                out.flush()
                os.fdatasync(out.fileno())  # often: one long flush would make the store's own wait
                digest.update(chunk)
                tell(len(chunk))
            if out.tell() != source.octets:
                raise BackupFault(f"{name}: was cut while it was read; try again")
        self._files[name] = Noted(source.octets, digest.hexdigest(), mark)


def _chunks(file: BinaryIO, octets: int) -> Iterator[bytes]:
    left = octets
    while left and (chunk := file.read(min(left, BACKUP_CHUNK_OCTETS))):
        left -= len(chunk)
        yield chunk


def _sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _named(at_ms: int) -> str:
    """Name a backup by its instant, so that names sort as instants do."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y%m%dT%H%M%S}.{at_ms % 1000:03d}Z"


# ---------------------------------------------------------------- what is there


def read_backup(path: Path) -> Backup:
    """Read a backup's note; raises BackupFault when there is none, or it is damaged, or of another version."""
    try:
        sealed = json.loads((path / NOTE).read_text(encoding="utf-8"))
        text = sealed["of"]
        if _sha256(text.encode()) != sealed["sha256"]:
            raise BackupFault(f"{path}: its {NOTE} is damaged; use another backup")
        content: dict[str, Any] = json.loads(text)
        if content["version"] != VERSION:
            raise BackupFault(
                f"{path}: is a backup of version {content['version']}, this program reads {VERSION}; use the one that made it"
            )
        files = {
            name: Noted(each[0], each[1], (each[2][0], each[2][1])) for name, each in content["files"].items()
        }
        facts = Facts(**content["facts"])
        return Backup(path, content["begun_ms"], content["ends_ms"], content["since_s"], facts, files)
    except FileNotFoundError as fault:
        raise BackupFault(f"{path}: is no backup: it has no {NOTE}; see ocs backup list") from fault
    except (OSError, ValueError, KeyError, TypeError, IndexError) as fault:
        raise BackupFault(f"{path}: its {NOTE} is damaged ({fault}); use another backup") from fault


def listed(into: Path) -> list[Backup]:
    """Return the backups of a folder, oldest first; what is none, or has a damaged note, is left out (``damaged`` names it)."""
    found = []
    for path in _folders(into):
        with suppress(BackupFault):
            found.append(read_backup(path))
    return found


def damaged(into: Path) -> list[str]:
    """Return why folders that have a backup's name are none."""
    found = []
    for path in _folders(into):
        try:
            read_backup(path)
        except BackupFault as fault:
            found.append(str(fault))
    return found


def _folders(into: Path) -> list[Path]:
    return sorted(each for each in into.glob("2*Z") if each.is_dir()) if into.is_dir() else []


def faults(backup: Backup, progress: Progress = lambda _done, _all: None) -> list[str]:
    """Read every file of a backup and tell which are not what was noted."""
    found, done = [], 0
    for name, noted in backup.files.items():
        digest, octets = hashlib.sha256(), 0
        try:
            with (backup.path / name).open("rb") as file:
                while chunk := file.read(BACKUP_CHUNK_OCTETS):
                    digest.update(chunk)
                    octets += len(chunk)
                    progress(done + octets, backup.octets)
        except OSError as fault:
            found.append(f"{name}: cannot be read: {fault.strerror}")
            continue
        finally:
            done += noted.octets
        if (octets, digest.hexdigest()) != (noted.octets, noted.sha256):
            found.append(f"{name}: is not what was backed up ({octets:,} octets of {noted.octets:,})")
    return found


def prune(into: Path, keep: int) -> list[str]:
    """Remove the oldest backups beyond the newest ``keep`` (0: none is removed); returns their names."""
    gone = listed(into)[:-keep] if keep else []
    for each in gone:
        leaving = into / f"{_REMOVING}{each.name}"
        each.path.rename(leaving)  # what is half removed has no backup's name
        shutil.rmtree(leaving)
    return [each.name for each in gone]


def sweep(into: Path) -> None:
    """Remove what backups that died have left, and what was half removed."""
    for path in into.glob(f"{_MAKING}*"):
        pid = path.name.removeprefix(_MAKING).partition("-")[0]
        if not (pid.isdecimal() and _lives(int(pid))):
            shutil.rmtree(path, ignore_errors=True)
    for path in into.glob(f"{_REMOVING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
