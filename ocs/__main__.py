"""The `ocs` command, also `python -m ocs`."""

import sys

from ocs.roof.commands import app
from ocs.roof.ends import Ended


def main() -> None:
    """Run one command and exit with its code (INTERFACE: 0, 1 found wrong, 2 usage, 3 conflict, 4 not found, 5 store)."""
    try:
        app(prog_name="ocs")
    except Ended as end:
        print(f"ocs: {end}", file=sys.stderr)  # noqa: T201 - the reason, for whoever called
        sys.exit(end.code)


if __name__ == "__main__":
    main()
