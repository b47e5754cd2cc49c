"""The folder of documents: a file for each, by year and number.

Laws
1. A file appears whole or not at all (written beside, synced, renamed); whoever writes the same document again writes the same bytes.
2. A path is made of what a number may have (letters, digits, "-", "." and "_"), below the folder, whatever it is called.
"""

import os
import re
from hashlib import sha256
from pathlib import Path

__all__ = ["Filing", "path_of"]

_OTHER = re.compile(r"[^A-Za-z0-9_-]")


def path_of(year: int, number: str, *, letter: bool = False) -> str:
    """Return where a document lies (law 2): "2026/R-2026-000123.pdf", letters in "2026/letters"."""
    name = _OTHER.sub("-", number)
    if name != number or not name:
        name = f"{name[:60]}-{sha256(number.encode()).hexdigest()[:12]}"
    return f"{year}/letters/{name}.pdf" if letter else f"{year}/{name}.pdf"


class Filing:
    """Files below a folder."""

    __slots__ = ("_folder", "_there")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._there: set[Path] = set()

    def put(self, files: dict[str, bytes]) -> None:
        """Keep files (law 1); their folders are synced once at the end. Raises OSError."""
        touched = set()
        for path, content in files.items():
            target = self._folder / path
            if target.parent not in self._there:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._there.add(target.parent)
            beside = target.with_suffix(f".{os.getpid()}.part")
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
            touched.add(target.parent)
        for each in touched:
            folder = os.open(each, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def get(self, path: str, wanted_sha256: str) -> bytes | None:
        """Return a file that is what was kept, None where it is gone or another."""
        try:
            content = (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
        return content if sha256(content).hexdigest() == wanted_sha256 else None
