"""What a human sees of a run before approving it, and while it goes on: counts, totals, comparison, outliers, what is parked."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from postpaid_bridge.run import AccountState
from postpaid_bridge.sql.bills import bills
from postpaid_bridge.sql.runs import Run, account_rows, counts, run_accounts, run_events, run_of

__all__ = ["Report", "report"]

SHOWN = 20


class Report(NamedTuple):
    """``previewed_cents`` is what the preview came to, ``last_cents`` what the same accounts' last bills came to (those that had one, with
    ``compared_cents`` what these are previewed at), ``gross_cents`` what the drafts and bills come to; ``numbers`` the first and the last one.
    """

    run: Run
    accounts: dict[AccountState, int]
    previewed: int
    previewed_cents: int
    compared: int
    compared_cents: int
    last_cents: int
    drafted: int
    net_cents: int
    tax_cents: int
    gross_cents: int
    credits: int
    numbered: int
    numbers: tuple[str, str] | None
    more_due: int
    foreseen: int
    outliers: int
    largest: list[dict[str, Any]]
    parked: list[dict[str, Any]]
    steps: list[tuple[str, str, str, int]]


def report(look: Connection, run: int) -> Report:
    """Return the report of a run. Raises RunFault."""
    found = run_of(look, run)
    c = run_accounts.c
    of = c.run == run

    def total(column: Any, *also: Any) -> tuple[int, int]:
        row = look.execute(
            select(func.count(column), func.coalesce(func.sum(column), 0)).where(of, *also)
        ).one()
        return int(row[0]), int(row[1])

    previewed, previewed_cents = total(c.previewed_cents)
    compared = (c.previewed_cents.is_not(None), c.last_cents.is_not(None))
    numbers = look.execute(
        select(func.count(), func.min(bills.c.sequence), func.max(bills.c.sequence)).where(
            bills.c.run == run, bills.c.number.is_not(None)
        )
    ).one()
    ends = look.execute(
        select(bills.c.number)
        .where(bills.c.run == run, bills.c.sequence.in_([numbers[1], numbers[2]]))
        .order_by(bills.c.sequence)
    ).scalars().all()  # fmt: skip
    e = run_events.c
    return Report(
        run=found,
        accounts=counts(look, run),
        previewed=previewed,
        previewed_cents=previewed_cents,
        compared=total(c.last_cents, *compared)[0],
        compared_cents=total(c.previewed_cents, *compared)[1],
        last_cents=total(c.last_cents, *compared)[1],
        drafted=total(c.gross_cents)[0],
        net_cents=total(c.net_cents)[1],
        tax_cents=total(c.tax_cents)[1],
        gross_cents=total(c.gross_cents)[1],
        credits=total(c.gross_cents, c.gross_cents < 0)[0],
        numbered=int(numbers[0]),
        numbers=(ends[0], ends[-1]) if ends else None,
        more_due=total(c.more_due, c.more_due > 0, c.holds.is_not(None))[0],
        foreseen=total(c.id, c.foreseen != "")[0],
        outliers=total(c.id, c.outlier != "")[0],
        largest=_outliers(look, run),
        parked=account_rows(look, run, state=AccountState.PARKED, count=SHOWN),
        steps=[
            tuple(row)
            for row in look.execute(
                select(e.event, e.state, e.by, e.at_ms).where(e.run == run).order_by(e.id)
            )
        ],
    )


def _outliers(look: Connection, run: int) -> list[dict[str, Any]]:
    """Return the outliers, those first that a human shall look at first: foreseen faults, then by size."""
    c = run_accounts.c
    rows = look.execute(
        select(c.number, c.previewed_cents, c.last_cents, c.outlier, c.foreseen)
        .where(c.run == run, (c.outlier != "") | (c.foreseen != ""))
        .order_by(c.foreseen == "", func.abs(c.previewed_cents).desc(), c.number)
        .limit(SHOWN)
    )
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 - a row's own names
