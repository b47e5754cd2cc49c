"""What of the append-only file is kept after the store has rewritten it, so that the instants of the last hours can be reached.

A rewrite makes a new base and ends the files before it; the store removes them. A hard link to each in ``<data>/history`` keeps what it
says: it costs no copying, and the disk that the files take until they are old.

Laws
1. A generation is a base with the increments since; increments are numbered without a gap, whatever becomes of rewrites, so that from an
   older base one comes to the same state by more of them.
2. What is needed for an instant within the hours that are set is kept; beyond them, or beyond the octets that are set, the oldest
   generation goes first, whole, and none that the store itself still has.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ocs.balance.aof import BASE, FOLDER, INCREMENT, MANIFEST, AofFault, AofFile, born_s, read_manifest
from ocs.balance.archive_files import write_durably

HISTORY: Final = "history"
_SUFFIX: Final = ".manifest"
_PRUNE_S: Final = 60


class Generation(NamedTuple):
    """A base, when it was begun, and the number of the first increments that belong on it."""

    base: AofFile
    born_s: int
    first: int


class Generations(NamedTuple):
    """What a folder holds: generations, oldest first, and increments by number."""

    listed: list[Generation]
    increments: dict[int, AofFile]

    def run(self, generation: Generation) -> list[AofFile]:
        """Return the increments that lead on from a generation's base, up to the first that is missing."""
        found = []
        number = generation.first
        while number in self.increments:
            found.append(self.increments[number])
            number += 1
        return found

    @property
    def last(self) -> int:
        """Return the number of the newest increments; 0 where there are none."""
        return max(self.increments, default=0)

    def since_s(self) -> int | None:
        """Return when the oldest base was begun from which the newest increments can be reached; None where there is none."""
        reach = [
            each.born_s for each in self.listed if self.run(each) and self.run(each)[-1].number == self.last
        ]
        return min(reach, default=None)


def generations(folder: Path) -> Generations:
    """Read what a folder of the append-only file's parts holds, from all manifests in it; parts that are not there are left out."""
    bases: dict[int, Generation] = {}
    increments: dict[int, AofFile] = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with suppress(AofFault, FileNotFoundError):
            files = [each for each in read_manifest(path.read_text()) if (folder / each.name).exists()]
            inside = {each.number: each for each in files if each.kind == INCREMENT}
            increments |= inside
            base = next((each for each in files if each.kind == BASE), None)
            if base is not None and inside:
                bases[base.number] = Generation(base, born_s(folder / base.name), min(inside))
    return Generations([bases[number] for number in sorted(bases)], increments)


class Past:
    """Keeps the generations of one data folder; ``look`` is called again and again by the store's owner."""

    def __init__(self, data: Path, hours: int, octets_max: int) -> None:
        """``hours`` of history (0: none is kept), and no more than ``octets_max`` of what the store itself has no more."""
        self._live = data / FOLDER
        self._folder = data / HISTORY
        self._hours = hours
        self._octets_max = octets_max
        self._seen: tuple[int, int] = (0, 0)
        self._pruned_s = 0

    @property
    def wanted(self) -> bool:
        """Tell whether any history is to be kept."""
        return self._hours > 0

    def look(self, now_s: int) -> None:
        """Link what the store has begun since the last look, and let go what is too old. Raises OSError, AofFault."""
        if not self._hours:
            return
        try:
            known = (self._live / MANIFEST).stat()
        except FileNotFoundError:
            return
        if (seen := (known.st_ino, known.st_mtime_ns)) != self._seen and self._link():
            self._seen, self._pruned_s = seen, 0
        if now_s - self._pruned_s >= _PRUNE_S:
            self._pruned_s = now_s
            self._prune(now_s)

    def _link(self) -> bool:
        """Link what the manifest names; False where the store has changed it meanwhile."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        text = (self._live / MANIFEST).read_text()
        files = [each for each in read_manifest(text) if each.kind in {BASE, INCREMENT}]
        base = next((each for each in files if each.kind == BASE), None)
        if base is None:
            return True
        try:
            for each in files:
                with suppress(FileExistsError):
                    (self._folder / each.name).hardlink_to(self._live / each.name)
        except FileNotFoundError:
            return False
        note = self._folder / f"{base.name}{_SUFFIX}"
        if not note.exists() or note.read_text() != text:
            write_durably(note, text.encode())
        return True

    def _prune(self, now_s: int) -> None:
        kept = generations(self._folder)
        oldest_s = now_s - self._hours * 3_600
        while len(kept.listed) > 1:
            gone, heir = kept.listed[0], kept.listed[1]
            if heir.born_s >= oldest_s and self._octets() <= self._octets_max:
                return
            (self._folder / f"{gone.base.name}{_SUFFIX}").unlink(missing_ok=True)
            (self._folder / gone.base.name).unlink(missing_ok=True)
            for number, each in kept.increments.items():
                if number < heir.first:
                    (self._folder / each.name).unlink(missing_ok=True)
            kept = generations(self._folder)

    def _octets(self) -> int:
        """Return the octets that only the history holds."""
        known = [each.stat() for each in self._folder.iterdir()]
        return sum(each.st_size for each in known if each.st_nlink == 1)
