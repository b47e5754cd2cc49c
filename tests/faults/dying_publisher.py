"""Publishing that is killed at one of its steps: `python -m tests.faults.dying_publisher DATABASE FOLDER PORT NOW_MS STEP NTH`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from ocs.notices.senders import Mail
from ocs.sql import engine_of
from postpaid_bridge.jobs import publish
from postpaid_bridge.jobs.filing import Filing
from postpaid_bridge.jobs.publish import Postman
from postpaid_bridge.sql import deliveries
from tests.document_scene import SENDER, postman, printer
from tests.faults.dying_intake import arm
from tests.run_scene import Ticking

STEPS: dict[str, tuple[Any, str, str]] = {
    "facts gathered, not queued": (publish, "gathered", "after"),
    "queued, not committed": (deliveries, "enqueue", "after"),
    "queued, nothing made": (deliveries, "waiting", "before"),
    "made, not filed": (Filing, "put", "before"),
    "filed, not noted": (Filing, "put", "after"),
    "noted, not committed": (deliveries, "made", "after"),
    "made, nothing sent": (Postman, "once", "before"),
    "claimed, not committed": (deliveries, "due", "after"),
    "claimed, not handed over": (publish, "hand_over", "before"),
    "handed over, not noted": (publish, "hand_over", "after"),
    "sent, not committed": (deliveries, "noted", "after"),
}
"""Where it dies, as dying_intake.py has it."""


def run(database: str, folder: Path, port: int, now_ms: int) -> None:
    """Make and send all there is, one mail at a time."""
    engine, clock = engine_of(database), Ticking(now_ms)
    publish.CHUNK = 3
    printer(engine, folder, clock).once()
    mail = Mail("127.0.0.1", port, "none", SENDER, timeout_s=20)
    asyncio.run(postman(engine, folder, mail, clock, at_once=1).once())
    engine.dispose()


if __name__ == "__main__":
    arm(STEPS[sys.argv[5]], int(sys.argv[6]))
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
