"""`ingest`: usage is taken in now, from the charging server's stream or from files."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from pathlib import Path
from typing import Annotated, Any

import typer

from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption


def ingest(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Usage files (CSV, JSON lines); the stream if none.")
    ] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Take in usage files, or what the stream has, and end; exit code 1 where something was rejected or parked."""
    told = [_file(ctx, each) for each in files] if files else [_stream(ctx)]
    if json:
        for each in told:
            say.as_json(each)
    else:
        for each in told:
            say.facts({name: str(value) for name, value in each.items()})
    if any(each.get("rejected") or each.get("parked") or each.get("state") == "refused" for each in told):
        raise typer.Exit(Exit.FOUND_WRONG)


def _stream(ctx: typer.Context) -> dict[str, Any]:
    from ocs.roof.build import Keepers, known_tariffs
    from postpaid_bridge.jobs.intake import Totals
    from postpaid_bridge.roof.charged import intake_of
    from postpaid_bridge.roof.progress import bar

    engine = ctx.obj.engine  # refused before the store is opened

    async def work(keepers: Keepers) -> Totals:
        made = intake_of(ctx.obj, keepers, await known_tariffs(keepers))
        with bar("records taken in") as tell:
            return await made.run(
                lambda at: tell(at.records, 0, f"{at.records:,} records, {at.records_per_s:,.0f}/s"),
                until_done=True,
            )

    done = ctx.obj.charged(work).done
    engine.dispose()
    return {
        "records": done.records, "lines": done.lines, "payments": done.payments, "parked": done.parked, "doubles": done.doubles,
        "alarms": done.alarms,
    }  # fmt: skip


def _file(ctx: typer.Context, path: Path) -> dict[str, Any]:
    from ocs.rating.versions import Tariffs
    from postpaid_bridge.jobs.files import take_file
    from postpaid_bridge.roof.charged import rules_of
    from postpaid_bridge.roof.progress import bar
    from postpaid_bridge.usage_files import FileFault

    ground = ctx.obj
    try:
        with bar(path.name) as tell:
            done = take_file(
                ground.engine,
                rules_of(ground, Tariffs({})),  # a file says its classes itself
                path,
                ground.clock,
                lambda at: tell(at.line, at.lines, f"{at.lines_per_s:,.0f} lines/s"),
            )
    except OSError as fault:
        raise Ended(Exit.USAGE, f"{path} cannot be read: {fault.strerror}") from fault
    except FileFault as fault:
        raise Ended(Exit.FOUND_WRONG, f"{path}: {fault}") from fault
    return {"file": str(path), **done._asdict()}
