"""Usage files are taken in: each once, by its SHA-256, in flat memory; ended anywhere and begun again, it goes on where it was.

Laws
1. A file is looked through before any of it is taken: head, end and the number of lines. One that is cut off, or is none, is refused whole, and
   stays refused.
2. Then it is taken in by some hundred lines, each in one unit of work with the place in the file.
3. A file that changes while it is read is no file: what was taken stays, the rest is not taken (``FileFault``).
"""

import codecs
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sqlalchemy import Connection, Engine, select, update

from ocs.clock import Clock
from ocs.sql import insert_new, writing
from postpaid_bridge.sql.file_lines import Counts, File, RawLine, take_lines
from postpaid_bridge.sql.intake import Rules
from postpaid_bridge.sql.usage import files
from postpaid_bridge.usage import clean
from postpaid_bridge.usage_files import LINE_OCTETS_MAX, FileFault, Head, read_end, read_head

__all__ = ["FileDone", "FileProgress", "take_file"]

LINES_AT_ONCE = 2_000
_CHUNK = 1 << 20
_BEGUN_OTHERWISE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"PK", b"\x1f\x8b")


class FileDone(NamedTuple):
    """What became of a file; ``new`` False where it was done before."""

    id: int
    state: str
    detail: str
    lines: int
    taken: int
    repeated: int
    rejected: int
    new: bool


class FileProgress(NamedTuple):
    """How far a file is taken in: lines of lines, and lines a second since it was begun (again)."""

    line: int
    lines: int
    lines_per_s: float


class _Looked(NamedTuple):
    """A file that was looked through."""

    sha256: str
    octets: int
    changed_ns: int
    head: Head | None
    lines: int
    fault: str


def take_file(
    engine: Engine,
    rules: Rules,
    path: Path,
    clock: Clock,
    tell: Callable[[FileProgress], None] | None = None,
    *,
    lines_at_once: int = LINES_AT_ONCE,
) -> FileDone:
    """Take in a usage file. Raises OSError, FileFault where it changes meanwhile, and what the database raises: then begin again."""
    with path.open("rb") as file:
        looked = _look(file)
        with writing(engine) as work:
            row = _row(work, looked, path.name, clock.now_ms())
        if row.state != "reading" or looked.head is None:
            return _done(engine, row.id, new=row.line == 0 and row.made_now)
        of = File(row.id, looked.sha256, looked.head.form, looked.head.source)
        begun_ms, first = clock.monotonic_ms(), row.line
        line = row.line
        file.seek(row.offset)
        for listed, offset in _pieces(file, row.line, looked.head.lines, looked.lines, lines_at_once):
            _unchanged(file, looked)
            with writing(engine) as work:
                counts = take_lines(work, rules, of, listed, clock.now_ms())
                line += len(listed)
                _note(work, row.id, line, offset, counts, clock.now_ms() if line >= looked.lines else None)
            if tell:
                seconds = max(1, clock.monotonic_ms() - begun_ms) / 1000
                tell(FileProgress(line, looked.lines, (line - first) / seconds))
        if not looked.lines:
            with writing(engine) as work:
                _note(work, row.id, 0, 0, Counts(), clock.now_ms())
    return _done(engine, row.id, new=True)


# -- looked through


def _look(file: BinaryIO) -> _Looked:
    """Look a file through once: what it is called by, and whether it is whole."""
    digest, newlines, begin, end = hashlib.sha256(), 0, b"", b""
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        newlines += chunk.count(b"\n")
        begin = begin if len(begin) > 2 * LINE_OCTETS_MAX else begin + chunk[: 2 * LINE_OCTETS_MAX]
        end = (end + chunk)[-2 * LINE_OCTETS_MAX :]
    told = os.fstat(file.fileno())
    made = _Looked(digest.hexdigest(), told.st_size, told.st_mtime_ns, None, 0, "")
    try:
        head, lines = _whole(begin, newlines + (not end.endswith(b"\n")), end)
    except FileFault as fault:
        return made._replace(fault=clean(str(fault), 400))
    return made._replace(head=head, lines=lines)


def _whole(begin: bytes, lines: int, end: bytes) -> tuple[Head, int]:
    """Return head and number of usage lines of a file of so many lines that is whole; raises FileFault for another."""
    head = _head(begin)
    there = lines - head.lines - 1
    said = read_end(head.form, _text(end.removesuffix(b"\n").rpartition(b"\n")[2], "the last line"))
    if said != there:
        raise FileFault(f"the last line says that there are {said} lines, and there are {there}")
    return head, there


def _head(begin: bytes) -> Head:
    if not begin:
        raise FileFault("an empty file")
    if begin.startswith(_BEGUN_OTHERWISE):
        raise FileFault("UTF-16, or compressed: write UTF-8 text")
    first, _, rest = begin.removeprefix(codecs.BOM_UTF8).partition(b"\n")
    return read_head(_text(first, "line 1"), _text(rest.partition(b"\n")[0], "line 2"))


def _text(octets: bytes, where: str) -> str:
    try:
        return octets.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise FileFault(f"{where}: is no UTF-8") from None


def _unchanged(file: BinaryIO, looked: _Looked) -> None:
    told = os.fstat(file.fileno())
    if (told.st_size, told.st_mtime_ns) != (looked.octets, looked.changed_ns):
        raise FileFault("the file was changed while it was taken in")


# -- taken in


class _Row(NamedTuple):
    id: int
    state: str
    line: int
    offset: int
    made_now: bool


def _row(work: Connection, looked: _Looked, name: str, now_ms: int) -> _Row:
    """Return what is known of a file by its SHA-256; a new one is noted."""
    head = looked.head
    new = insert_new(
        work,
        files,
        [
            {
                "sha256": looked.sha256, "name": clean(name, 200), "source": head.source if head else "", "form": head.form if head else "",
                "octets": looked.octets, "state": "reading" if head else "refused", "detail": looked.fault, "lines": looked.lines,
                "made_ms": now_ms,
            }
        ],
        "id",
    )  # fmt: skip
    row = work.execute(select(files).where(files.c.sha256 == looked.sha256)).one()
    return _Row(row.id, row.state, row.line, row.offset, bool(new))


def _pieces(
    file: BinaryIO, line: int, head: int, lines: int, at_once: int
) -> Iterator[tuple[list[RawLine], int]]:
    """Return the usage lines behind ``line`` in pieces, each with the offset behind it; lines are numbered as editors do."""
    if not line:
        for _ in range(head):
            file.readline()
    while line < lines:
        listed = [
            RawLine(head + number + 1, _line(file)) for number in range(line, min(line + at_once, lines))
        ]
        line += len(listed)
        yield listed, file.tell()


def _line(file: BinaryIO) -> str:
    """Read one line; what is no UTF-8 is there as surrogates, what is too long is cut and marked by a character that is no text."""
    octets = file.readline(LINE_OCTETS_MAX)
    if len(octets) == LINE_OCTETS_MAX and not octets.endswith(b"\n"):
        while (more := file.readline(_CHUNK)) and not more.endswith(b"\n"):
            pass
        return octets[:1_000].decode(errors="surrogateescape") + "\x00"
    return octets.removesuffix(b"\n").removesuffix(b"\r").decode(errors="surrogateescape")


def _note(work: Connection, number: int, line: int, offset: int, counts: Counts, done_ms: int | None) -> None:
    c = files.c
    values = {
        "line": line, "offset": offset, "taken": c.taken + counts.taken, "repeated": c.repeated + counts.repeated,
        "rejected": c.rejected + counts.rejected,
    }  # fmt: skip
    if done_ms is not None:
        values |= {"state": "done", "done_ms": done_ms}
    work.execute(update(files).where(c.id == number).values(**values))


def _done(engine: Engine, number: int, *, new: bool) -> FileDone:
    with engine.connect() as look:
        row = look.execute(select(files).where(files.c.id == number)).one()
    return FileDone(row.id, row.state, row.detail, row.lines, row.taken, row.repeated, row.rejected, new)
