"""An import of a statement that is killed: `python -m tests.faults.dying_import DATABASE FILE EVENT NTH`, before its NTH statement or commit."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from ocs.sql import engine_of
from postpaid_bridge.jobs.statements import import_file
from tests.bridge_accounts import AT_MS
from tests.mock_bank import OURS

EVENTS = {"statement": "before_cursor_execute", "commit": "commit"}


def main(database: str, file: str, name: str, nth: int) -> None:
    """Import, and die."""
    engine, seen = engine_of(database), 0

    def die(*_of: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, EVENTS[name], die)
    import_file(engine, Path(file), [OURS], lambda: AT_MS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
