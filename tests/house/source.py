"""The checkout's own files, read once: what every test of the house looks at."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
HOUSES = ("ocs", "postpaid_bridge", "loadtests", "tests")
NOT_OURS = frozenset({".git", "__pycache__", "build", "dist", "node_modules", "ocs-data"})


class Source(NamedTuple):
    """One Python file: its path relative to the checkout, its text, its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The room of `ocs` that the file belongs to: `ocs/rating/ladder.py` -> `rating`; "" outside `ocs`."""
        parts = Path(self.path).with_suffix("").parts
        return parts[1] if parts[0] == "ocs" and len(parts) > 1 else ""

    @property
    def bridge_room(self) -> str:
        """The room of `postpaid_bridge` that the file belongs to; "" outside it."""
        parts = Path(self.path).with_suffix("").parts
        return parts[1] if parts[0] == "postpaid_bridge" and len(parts) > 1 else ""

    @property
    def package(self) -> list[str]:
        """The dotted package that relative imports start from."""
        return list(Path(self.path).parts[:-1])


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of ours, in order of path."""
    files = [
        ROOT / "conftest.py",
        *(file for house in HOUSES for file in sorted((ROOT / house).rglob("*.py"))),
    ]
    return tuple(
        Source(file.relative_to(ROOT).as_posix(), text := file.read_text(), ast.parse(text, str(file)))
        for file in files
        if not NOT_OURS & set(file.relative_to(ROOT).parts)
    )


def rooms() -> tuple[Source, ...]:
    """The files of `ocs`."""
    return tuple(source for source in sources() if source.room)


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a file imports, at any depth; relative imports made absolute.

    `from ocs import money` gives `ocs.money`, so that a room is seen however it is named.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = source.package[: len(source.package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def bridge_rooms() -> tuple[Source, ...]:
    """The files of `postpaid_bridge`."""
    return tuple(source for source in sources() if source.bridge_room)


def tracked() -> tuple[Path, ...]:
    """The files that a clone gets: tracked ones and new ones that are not ignored; without git, all but caches."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [name for name in listing.stdout.decode().split("\0") if name]
        return tuple(ROOT / name for name in names if (ROOT / name).is_file())
    return tuple(
        file
        for file in sorted(ROOT.rglob("*"))
        if file.is_file() and not any(part in NOT_OURS or part.startswith(".venv") for part in file.parts)
    )


def parsed(text: str, path: str = "ocs/rating/made_up.py") -> Source:
    """A made-up file, so that each law can be seen to catch its breach."""
    return Source(path, text, ast.parse(text))
