"""`reconcile`: every account's balance against the journal, now."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from typing import Any

import typer

from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.ends import Exit
from ocs.roof.options import JsonOption


def reconcile(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Compare every account's balance with unbilled plus receivable; names what differs; exit code 1 where something does."""
    from ocs.roof.build import Keepers
    from postpaid_bridge.jobs.reconcile import Report
    from postpaid_bridge.roof.charged import reconciliation_of
    from postpaid_bridge.roof.progress import bar

    engine = ctx.obj.engine  # refused before the store is opened

    async def work(keepers: Keepers) -> Report:
        with bar("accounts compared") as tell:
            return await reconciliation_of(ctx.obj, keepers).run(
                lambda at: tell(at.partitions, at.of, f"{at.books:,} accounts")
            )

    report = ctx.obj.charged(work)
    engine.dispose()
    rows = [_row(each) for each in report.differences]
    if json:
        say.as_json(
            {
                "accounts": report.books, "balance": format_amount(report.balance_micros), "differing": report.differing,
                "differences": rows,
            }
        )  # fmt: skip
    else:
        say.facts(
            {
                "accounts": f"{report.books:,}", "balance": format_amount(report.balance_micros),
                "differing": str(report.differing),
            }
        )  # fmt: skip
        if rows:
            columns = [(name, name in {"balance", "expected", "difference"}) for name in rows[0]]
            say.table(columns, [list(each.values()) for each in rows])
    if not report.sound:
        raise typer.Exit(Exit.FOUND_WRONG)


def _row(each: Any) -> dict[str, str]:
    return {
        "account": each.book,
        "balance": format_amount(each.balance_micros),
        "expected": format_amount(each.expected_micros),
        "difference": format_amount(each.difference_micros),
        "reason": each.reason.value,
        "detail": each.detail,
    }
