"""`trial-balance` and `journal export`."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

import csv
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group

journal_app = group("The journal: everything that was posted.")


def trial_balance(
    ctx: typer.Context,
    until: Annotated[
        str, typer.Option("--to", metavar="DAY", help="The last day that counts; all if none.")
    ] = "",
    *,
    json: JsonOption = False,
) -> None:
    """Show every account of the ledger by class and tax code; exit code 1 where debits and credits differ."""
    from ocs.sql import reading
    from postpaid_bridge.sql import trial_balance as sql

    day = _day(until, "--to") if until else None
    with reading(ctx.obj.engine) as look:
        rows = sql.trial_balance(look, day)
    debits, credits_ = sum(each.debit_micros for each in rows), sum(each.credit_micros for each in rows)
    shown = [_row(each) for each in rows]
    if json:
        say.as_json(
            {
                "to": until or None, "accounts": shown, "debit": format_amount(debits), "credit": format_amount(credits_),
                "even": debits == credits_,
            }
        )  # fmt: skip
    else:
        columns = [(name, name in {"debit", "credit", "balance"}) for name in _row(None)]
        total = [
            "sum",
            "",
            "",
            format_amount(debits),
            format_amount(credits_),
            format_amount(debits - credits_),
        ]
        say.table(columns, [*(list(each.values()) for each in shown), total])
    if debits != credits_:
        raise Ended(Exit.FOUND_WRONG, "debits and credits differ: the journal was changed by other hands")


def _row(each: Any) -> dict[str, str]:
    if each is None:
        return dict.fromkeys(("ledger", "class", "tax", "debit", "credit", "balance"), "")
    return {
        "ledger": each.ledger.value,
        "class": each.of_class,
        "tax": each.tax_code,
        "debit": format_amount(each.debit_micros),
        "credit": format_amount(each.credit_micros),
        "balance": format_amount(each.balance_micros),
    }


@journal_app.command("export")
def export(
    ctx: typer.Context,
    since: Annotated[str, typer.Option("--from", metavar="DAY", help="The first day.")],
    until: Annotated[str, typer.Option("--to", metavar="DAY", help="The last day.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="F", help="A file; standard output if none.")
    ] = None,
) -> None:
    """Write every posting of a period as CSV, one line each: amounts in micro-units, and no formula in a cell."""
    first, last = _day(since, "--from"), _day(until, "--to")
    if last < first:
        raise Ended(Exit.USAGE, f"--to {until} is before --from {since}")
    if output is None:
        _write(ctx, first, last, sys.stdout)
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            count = _write(ctx, first, last, file)
        part.replace(output)
    except OSError as fault:
        raise Ended(Exit.USAGE, f"{output} cannot be written: {fault.strerror}") from fault
    say.remark(f"{count} postings are in {output}")


def _write(ctx: typer.Context, first: date, last: date, file: TextIO) -> int:
    from ocs.sql import reading
    from postpaid_bridge.sql import trial_balance as sql

    count = 0
    with reading(ctx.obj.engine) as look:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(sql.COLUMNS)
        for row in sql.exported(look, first, last):
            writer.writerow([_cell(value) for value in row])
            count += 1
    return count


def _cell(value: object) -> object:
    """Write a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Ended(Exit.USAGE, f"{option}: {text[:40]!r} is no day; write 2026-11-30") from None
