"""Dunning that is killed at one of its steps: `python -m tests.faults.dying_dunning DATABASE DAY STEP NTH`."""

import sys
from datetime import date
from typing import Any

from ocs.sql import engine_of
from postpaid_bridge.jobs import dunning
from postpaid_bridge.sql import dunning as kept
from tests.dunning_scene import Scene
from tests.faults.dying_intake import arm

APPLIED: Any = dunning._Applied
STEPS: dict[str, tuple[Any, str, str]] = {
    "who is due is known, nobody was looked at": (kept, "due_accounts", "after"),
    "decided, nothing held": (dunning.Dunning, "found", "after"),
    "the account is held": (dunning, "hold_accounts", "after"),
    "barred and in the outbox, no step": (APPLIED, "_bars", "after"),
    "the step is written, no fee": (APPLIED, "_claim", "before"),
    "a fee or interest is owed": (dunning, "charge", "after"),
    "all is owed, no letter": (APPLIED, "_letter", "before"),
    "the letter is queued, not committed": (APPLIED, "_letter", "after"),
    "before the account's next day is kept": (kept, "looked", "before"),
    "one account is committed": (dunning.Dunning, "step", "after"),
}
"""Where it dies: the owner and name of what is called, and whether before the call or after it."""


def main(database: str, day: str, step: str, nth: str) -> None:
    engine = engine_of(database)
    arm(STEPS[step], int(nth))
    Scene(engine).run(date.fromisoformat(day))
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
