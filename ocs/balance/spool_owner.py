"""Whose files are whose in a folder of spools: a process owns a name while it lives, and what it leaves behind is taken over once.

Laws
1. A name is never given twice: a process that starts beside its predecessor, in its place, has files of its own.
2. A name is held by a lock on <name>.lock, which the kernel lets go when its process dies; who takes it over holds it in turn.
3. A lock counts only on the file that its path names: one that was tidied away between its opening and its locking is no lock.
"""

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

LOCK: Final = ".lock"


class SpoolOwner:
    """The names that this process holds; ``name`` is its own, of a place such as "worker-0"."""

    def __init__(self, folder: Path, place: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._held: dict[str, int] = {}
        while not self.takes(name := f"{place}.{secrets.token_hex(4)}"):
            pass
        self.name = name

    def takes(self, name: str) -> bool:
        """Take a name over whose process has gone; True where it is ours by now."""
        if name in self._held:
            return True
        path = self._path(name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            standing = os.fstat(descriptor).st_ino == path.stat().st_ino
        except OSError:  # another's, or tidied away (law 3)
            standing = False
        if not standing:
            os.close(descriptor)
            return False
        self._held[name] = descriptor
        return True

    def tidy(self) -> None:
        """Let go of names that have no file any more, but our own, and remove the traces of those whose process has gone."""
        used = {path.stem.rpartition("-")[0] for path in self._folder.glob("*.spool")}
        for path in self._folder.glob(f"*{LOCK}"):
            name = path.name.removesuffix(LOCK)
            if name not in used and name != self.name and self.takes(name):
                self._let_go(name)

    def close(self) -> None:
        """Let go of everything; what we leave behind is another's from now on."""
        used = {path.stem.rpartition("-")[0] for path in self._folder.glob("*.spool")}
        for name in tuple(self._held):
            if name in used:
                os.close(self._held.pop(name))
            else:
                self._let_go(name)

    def _let_go(self, name: str) -> None:
        with suppress(OSError):
            self._path(name).unlink()
        os.close(self._held.pop(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{LOCK}"
