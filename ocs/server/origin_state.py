"""Origin-State-Id: the server's, one for all workers, kept in the data folder (RFC 6733 section 8.16)."""

import os
from pathlib import Path
from typing import Final

FILE: Final = "origin-state-id"
_GREATEST: Final = 0xFFFF_FFFF


def origin_state_id(folder: Path, now_s: int) -> int:
    """Return the id of this data folder; a new folder gets the time in seconds.

    It grows only when state was lost: peers that see a greater one give up their sessions. Ours live in the store and
    survive a restart, so the id does too.
    """
    path = folder / FILE
    try:
        kept = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        kept = 0
    if 0 < kept <= _GREATEST:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    made = now_s & _GREATEST
    fresh = folder / f".{FILE}.{os.getpid()}"
    fresh.write_text(f"{made}\n", encoding="ascii")
    fresh.replace(path)
    return made
