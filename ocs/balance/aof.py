"""The store's append-only file as files: its manifest, the instants noted in it, and where it can be cut.

A store keeps a base (a snapshot) and what was written since in one or more files of increments; its manifest names them in order. Commands
stand in them as RESP arrays, what one function call wrote between MULTI and EXEC. With ``aof-timestamp-enabled`` a line ``#TS:<seconds
since 1970>`` stands before the first command of each second in which something was written.

Laws
1. A file is cut before an instant's line, or behind its last whole command or transaction, never inside one.
2. Lines of instants are found by walking from command to command: a value may hold anything, also what looks like such a line.
"""

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = "appendonlydir"
MANIFEST: Final = "appendonly.aof.manifest"
BASE, INCREMENT = "b", "i"
_EOL: Final = b"\r\n"
_NOTED: Final = b"#TS:"
_HEADER: Final = re.compile(rb"(REDIS|VALKEY)\d+")
_AUX: Final = 0xFA
_HEADER_OCTETS: Final = 4_096


class AofFault(RuntimeError):
    """An append-only file that cannot be read; the message says which, and where."""


class AofFile(NamedTuple):
    """A file that a manifest names; ``kind`` is BASE, INCREMENT, or what the store is about to remove."""

    name: str
    number: int
    kind: str


class Unit(NamedTuple):
    """What is written whole or not at all: an instant's line (``at_s`` is not 0), a command, or a transaction, without MULTI and EXEC."""

    start: int
    end: int
    at_s: int
    commands: list[list[bytes]]


def read_manifest(text: str) -> list[AofFile]:
    """Read a manifest, in its order; raises AofFault."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        told = dict(zip(words[::2], words[1::2], strict=False))
        try:
            each = AofFile(told["file"], int(told["seq"]), told["type"])
        except (KeyError, ValueError) as fault:
            raise AofFault(f"a manifest with the line {line!r}") from fault
        if "/" in each.name:  # as the store has it: a file beside its manifest, and nowhere else
            raise AofFault(f"a manifest that names a file elsewhere: {line!r}")
        found.append(each)
    return found


def write_manifest(files: list[AofFile]) -> str:
    """Write a manifest."""
    return "".join(f"file {each.name} seq {each.number} type {each.kind}\n" for each in files)


def born_s(base: Path) -> int:
    """Return when a base was begun, as its header says: whole seconds since 1970, not before the snapshot itself. Raises AofFault."""
    with base.open("rb") as file:
        head = file.read(_HEADER_OCTETS)
    begun = _HEADER.match(head)
    at = begun.end() if begun else len(head)
    try:
        while head[at] == _AUX:
            name, at = _text(head, at + 1)
            value, at = _text(head, at)
            if name == b"ctime":
                return int(value)
    except (IndexError, ValueError):
        pass
    raise AofFault(f"{base.name}: is no snapshot that says when it was made")


def _text(head: bytes, at: int) -> tuple[bytes, int]:
    """Read a string of a snapshot's header, and where the next begins (short ones, and integers written as such)."""
    first = head[at]
    if first < 0x40:
        return head[at + 1 : at + 1 + first], at + 1 + first
    if first < 0x80:
        length = (first & 0x3F) << 8 | head[at + 1]
        return head[at + 2 : at + 2 + length], at + 2 + length
    width = {0xC0: 1, 0xC1: 2, 0xC2: 4}[first] if first in {0xC0, 0xC1, 0xC2} else 0
    if not width:
        raise ValueError(first)
    number = int.from_bytes(head[at + 1 : at + 1 + width], "little", signed=True)
    return b"%d" % number, at + 1 + width


@contextmanager
def mapped(path: Path) -> Iterator[bytes | mmap.mmap]:
    """Give a file's octets without reading all of them."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
            yield octets


def units(octets: bytes | mmap.mmap, at: int = 0) -> Iterator[Unit]:
    """Walk over increments from a unit's start to the last whole unit; what is torn behind it ends the walk. Raises AofFault."""
    size = len(octets)
    while at < size:
        start, commands, open_since = at, [], False
        while True:
            if at >= size:
                return
            if octets[at : at + 4] == _NOTED:
                end = octets.find(_EOL, at)
                if end < 0:
                    return
                noted_s, at = int(octets[at + 4 : end]), end + 2
                if not open_since:
                    yield Unit(start, at, noted_s, [])
                    break
                continue  # the instant of a transaction that is under way: it belongs to the one before
            found = _command(octets, at, size)
            if found is None:
                return
            words, at = found
            word = words[0].upper() if len(words) == 1 else b""
            if word == b"MULTI":
                open_since = True
            elif word == b"EXEC":
                open_since = False
            else:
                commands.append(words)
            if not open_since:
                yield Unit(start, at, 0, commands)
                break


def _command(octets: bytes | mmap.mmap, at: int, size: int) -> tuple[list[bytes], int] | None:
    """Read one command and where it ends; None when it is torn. Raises AofFault where no command stands."""
    if octets[at : at + 1] != b"*":
        if octets[at : at + 1] == b"#":
            end = octets.find(_EOL, at)
            return ([b""], end + 2) if end >= 0 else None
        raise AofFault(f"no command stands at {at}")
    end = octets.find(_EOL, at)
    if end < 0:
        return None
    words, count, at = [], int(octets[at + 1 : end]), end + 2
    for _ in range(count):
        end = octets.find(_EOL, at)
        if end < 0:
            return None
        if octets[at : at + 1] != b"$":
            raise AofFault(f"no word stands at {at}")
        length = int(octets[at + 1 : end])
        at = end + 2 + length + 2
        if at > size:
            return None
        words.append(octets[end + 2 : at - 2])
    return words, at


def cut_before(path: Path, at_s: int) -> int | None:
    """Return where the first line of an instant at or after ``at_s`` begins; None when none does. Raises AofFault."""
    with mapped(path) as octets, _named(path):
        return next((each.start for each in units(octets) if each.at_s >= at_s), None)


def whole(path: Path) -> int:
    """Return the end of the last whole unit of a file of increments. Raises AofFault."""
    end = 0
    with mapped(path) as octets, _named(path):
        for each in units(octets):
            end = each.end
    return end


def commands_from(path: Path, start: int) -> Iterator[list[bytes]]:
    """Read the commands behind a unit's start, in their order. Raises AofFault."""
    with mapped(path) as octets, _named(path):
        for each in units(octets, start):
            yield from each.commands


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (AofFault, ValueError) as fault:
        raise AofFault(f"{path.name}: cannot be read: {fault}") from fault
