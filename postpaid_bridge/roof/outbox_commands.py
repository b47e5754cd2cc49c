"""`outbox …`: what waits for the charging server, what it has refused, and emptying by hand."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from typing import Annotated, Any

import typer

from ocs.clock import instant
from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group

app = group("What bills, payments and credits move in the charging server's accounts.")


@app.command("list")
def listing(
    ctx: typer.Context,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="Rows shown.")] = 100,
    *,
    json: JsonOption = False,
) -> None:
    """Show what waits and what was refused, with the reason; exit code 1 where something was refused."""
    from ocs.sql import reading
    from postpaid_bridge.sql import outbox

    with reading(ctx.obj.engine) as look:
        standing = outbox.standing_of(look)
        rows = list(outbox.listed(look, most))
    if json:
        say.as_json(_told(standing) | {"rows": [_row(each) for each in rows]})
    else:
        say.facts({name: str(value) for name, value in _told(standing).items() if value is not None})
        if rows:
            columns = [(name, name in {"row", "amount", "tries"}) for name in _row(rows[0])]
            say.table(columns, [[str(value) for value in _row(each).values()] for each in rows])
    if standing.refused:
        raise typer.Exit(Exit.FOUND_WRONG)


@app.command()
def retry(
    ctx: typer.Context,
    rows: Annotated[list[int] | None, typer.Argument(help="Rows, as `outbox list` shows them.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that were refused.")] = False,
    json: JsonOption = False,
) -> None:
    """Let refused rows be tried again, once what was wrong is put right."""
    from ocs.sql import writing
    from postpaid_bridge.sql import outbox

    if bool(rows) == every:
        raise Ended(Exit.USAGE, "name rows, or --all")
    with writing(ctx.obj.engine) as work:
        count = outbox.again(work, rows or (), ctx.obj.clock.now_ms())
    if rows and count < len(set(rows)):
        raise Ended(
            Exit.NOT_FOUND, f"{count} of {len(set(rows))} were refused rows; `outbox list` shows them"
        )
    say.as_json({"again": count}) if json else say.line(f"{count} rows are tried again")


@app.command()
def post(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Post what is due to the charging server now, and end; exit code 1 where something was refused."""
    from ocs.roof.build import Keepers
    from postpaid_bridge.jobs.outbox import Totals
    from postpaid_bridge.roof.charged import outbox_of

    engine = ctx.obj.engine  # refused before the store is opened

    async def work(keepers: Keepers) -> Totals:
        box = outbox_of(ctx.obj, keepers)
        while await box.once():
            pass
        return box.totals

    totals = ctx.obj.charged(work)
    engine.dispose()
    told = {"done": totals.done, "refused": totals.refused, "failed": totals.failed}
    say.as_json(told) if json else say.facts({name: str(value) for name, value in told.items()})
    if totals.failed:
        raise Ended(Exit.STORE_UNAVAILABLE, "the charging server did not answer for all; they wait")
    if totals.refused:
        raise typer.Exit(Exit.FOUND_WRONG)


def _told(standing: Any) -> dict[str, Any]:
    oldest = instant(standing.oldest_ms) if standing.oldest_ms else None
    return {
        "waiting": standing.waiting,
        "oldest": oldest,
        "failing": standing.failing,
        "refused": standing.refused,
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": row["id"],
        "kind": row["kind"],
        "account": row["book"],
        "amount": format_amount(row["amount_micros"]),
        "made": instant(row["made_ms"]),
        "state": "refused" if row["refused_ms"] else "failing" if row["fault"] else "waiting",
        "tries": row["tries"],
        "why": row["fault"],
    }
