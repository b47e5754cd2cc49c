"""`python -m postpaid_bridge`: the postpaid bridge's commands."""

import sys

from sqlalchemy.exc import InterfaceError, OperationalError

from ocs.roof.ends import Ended
from postpaid_bridge.roof.commands import app, options_first
from postpaid_bridge.roof.ground import away


def main() -> None:
    """Run one command and exit with its code (INTERFACE: 0, 1 found wrong, 2 usage, 3 conflict, 4 not found, 5 store or database)."""
    try:
        app(options_first(sys.argv[1:]), prog_name="postpaid_bridge")
    except Ended as end:
        _end(end)
    except (OperationalError, InterfaceError) as fault:
        _end(away(fault))


def _end(end: Ended) -> None:
    print(f"postpaid_bridge: {end}", file=sys.stderr)  # noqa: T201 - the reason, for whoever called
    sys.exit(end.code)


if __name__ == "__main__":
    main()
