"""Which store a command means, as its options say it."""

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """The options that every command takes; None where nothing was given."""

    store: str | None = None
    data_dir: Path | None = None
    config: Path | None = None
