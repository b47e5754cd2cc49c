"""A usage file's intake that is killed at one of its steps: `python -m tests.faults.dying_files DATABASE FILE STEP NTH`."""

import sys
from pathlib import Path
from typing import Any

from ocs.clock import SystemClock
from ocs.sql import engine_of
from postpaid_bridge.jobs import files
from postpaid_bridge.jobs.files import take_file
from postpaid_bridge.sql import journal
from tests.bridge_scene import RULES
from tests.faults.dying_intake import arm

STEPS: dict[str, tuple[Any, str, str]] = {
    "looked through, not noted": (files, "_look", "after"),
    "the file noted, not committed": (files, "_row", "after"),
    "lines read, nothing written": (files, "take_lines", "before"),
    "lines written, not posted": (journal, "post", "before"),
    "posted, no place noted": (files, "_note", "before"),
    "the place noted, not committed": (files, "_note", "after"),
    "committed": (files, "_unchanged", "before"),
}
"""Where it dies, as dying_intake.py has it."""
AT_ONCE = 20


if __name__ == "__main__":
    arm(STEPS[sys.argv[3]], int(sys.argv[4]))
    take_file(engine_of(sys.argv[1]), RULES, Path(sys.argv[2]), SystemClock(), lines_at_once=AT_ONCE)
