"""Taking in a bank's file: read whole first, then entry by entry, each one unit of work; killed anywhere, the same file goes on.

Nothing of a file is booked before all of it was read and every statement in it found to be ours (statement.py, law 1).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from ocs.limits import STATEMENT_OCTETS_MAX
from ocs.sql import reading, writing
from postpaid_bridge.sql import statements
from postpaid_bridge.statement import StatementFault, read_statements

__all__ = ["Done", "import_file"]


class Done(NamedTuple):
    """What came of a statement; ``states`` counts its transactions by state. ``is_repeated``: it was done before."""

    id: int
    name: str
    entries: int
    is_repeated: bool
    states: dict[str, int]


def import_file(
    engine: Engine,
    file: Path,
    accounts: Iterable[str],
    now_ms: Callable[[], int],
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Done]:
    """Take in a file of statements of our accounts. ``tell`` hears how many entries of how many are done.

    Raises StatementFault for a file that is refused as a whole, CustomerFault (conflict) for a statement that was there with other content.
    """
    if file.stat().st_size > STATEMENT_OCTETS_MAX:
        raise StatementFault(f"it has more than {STATEMENT_OCTETS_MAX} octets")
    read = read_statements(file.read_bytes(), accounts)
    with writing(engine) as work:
        begun = [statements.begin(work, each, file.name, now_ms()) for each in read]
    count, total = 0, sum(len(each.entries) for each in read)
    found = []
    for of, (number, is_done) in zip(read, begun, strict=True):
        with reading(engine) as look:
            taken = statements.taken_numbers(look, number)
        for entry in of.entries:
            count += 1
            if not is_done and entry.number not in taken:
                with writing(engine) as work:
                    statements.take_entry(work, number, of, entry, now_ms())
            tell(count, total)
        with writing(engine) as work:
            statements.finish(work, number, now_ms())
            found.append(Done(number, of.id, len(of.entries), is_done, statements.counted(work, number)))
    return found
