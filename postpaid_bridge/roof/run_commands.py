"""`run …`: bill runs, step by step. Each step can be ended (Ctrl-C ends it behind its chunk) and is gone on with by `run resume`."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group

if TYPE_CHECKING:
    from postpaid_bridge.jobs.run import Conductor, Progress
    from postpaid_bridge.sql.drafting import Terms
    from postpaid_bridge.sql.run_report import Report
    from postpaid_bridge.sql.runs import Run

app = group("Bill runs: plan, preview, approve, execute, approve, number, publish.")

RunArgument = Annotated[
    int, typer.Argument(metavar="RUN", help="The run's number, as `run status` shows it.")
]
ByOption = Annotated[str, typer.Option("--by", help="Who asks for it; it is kept with the run.")]
WorkersOption = Annotated[
    bool, typer.Option("--workers", help="Let the workers of run.broker do the chunks, not this process.")
]
OPERATOR = "operator"
LINE_S = 5.0


@app.command()
def plan(
    ctx: typer.Context,
    accounts: Annotated[
        list[str] | None, typer.Argument(help="Billing accounts; none: all that are due.")
    ] = None,
    kind: Annotated[str, typer.Option(help="regular, on_demand or final.")] = "regular",
    cycle: Annotated[str, typer.Option(help="One cycle, such as monthly-15; none: all cycles.")] = "",
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Due on this day; default today.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="The run's name; planned again under it, it is the same run.")
    ] = "",
    by: ByOption = OPERATOR,
    *,
    json: JsonOption = False,
) -> None:
    """Plan a run: the accounts whose period is over on a day (behind its cut-off), or named accounts."""
    from ocs.sql import writing
    from postpaid_bridge.sql import planning
    from postpaid_bridge.sql.planning import Asked

    ground = ctx.obj
    asked = Asked(kind, day.date() if day else ground.today, cycle, accounts or (), name)
    with _refusals(), writing(ground.engine) as work:
        found = planning.plan(
            work, asked, ground.settings.run.of_runs, _terms(ground).kinds, by, ground.clock.now_ms()
        )
    _tell(ground, found.id, json=json)


@app.command()
def preview(
    ctx: typer.Context, run: RunArgument, by: ByOption = OPERATOR, *, json: JsonOption = False
) -> None:
    """Draft every bill and keep none: totals, outliers, comparison with the last bills, and who would be parked."""
    _step(ctx.obj, run, lambda at: at.preview(run, by), json=json)


@app.command()
def approve(
    ctx: typer.Context,
    run: RunArgument,
    to: Annotated[str, typer.Option(help="execute or number; default: what comes next.")] = "",
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the bills; default today.")
    ] = None,
    by: ByOption = OPERATOR,
    *,
    json: JsonOption = False,
) -> None:
    """Approve that a previewed run is executed, or that an executed one is numbered."""
    from postpaid_bridge.jobs.run import approve as approved
    from postpaid_bridge.run import RunEvent, RunState

    ground = ctx.obj
    if to not in {"", "execute", "number"}:
        raise Ended(Exit.USAGE, "--to is execute or number")
    with _refusals():
        if not to:
            to = "number" if _run(ground, run).state is RunState.EXECUTED else "execute"
        event = RunEvent.APPROVE_NUMBER if to == "number" else RunEvent.APPROVE_EXECUTE
        approved(ground.engine, run, event, day.date() if day else ground.today, by, ground.clock.now_ms())
    _tell(ground, run, json=json)


@app.command()
def execute(
    ctx: typer.Context,
    run: RunArgument,
    by: ByOption = OPERATOR,
    *,
    workers: WorkersOption = False,
    json: JsonOption = False,
) -> None:
    """Draft the bills: usage is claimed, charges are made. Exit code 1 where accounts are parked, or it was ended before its end."""
    _step(ctx.obj, run, lambda at: at.execute(run, by), workers=workers, json=json)


@app.command()
def number(
    ctx: typer.Context, run: RunArgument, by: ByOption = OPERATOR, *, json: JsonOption = False
) -> None:
    """Give the drafts their numbers and post them."""
    _step(ctx.obj, run, lambda at: at.number(run, by), json=json)


@app.command()
def publish(
    ctx: typer.Context,
    run: RunArgument,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Due days count from here; default today.")
    ] = None,
    by: ByOption = OPERATOR,
    *,
    json: JsonOption = False,
) -> None:
    """Let customers see the bills; from this day on they are to be paid within their days."""
    ground = ctx.obj
    _step(ground, run, lambda at: at.publish(run, day.date() if day else ground.today, by), json=json)


@app.command()
def resume(
    ctx: typer.Context,
    run: RunArgument,
    by: ByOption = OPERATOR,
    *,
    workers: WorkersOption = False,
    json: JsonOption = False,
) -> None:
    """Go on where a run was ended; parked accounts are tried again (behind numbers: approve and number them then)."""
    _step(ctx.obj, run, lambda at: at.resume(run, by), workers=workers, json=json)


@app.command()
def abandon(
    ctx: typer.Context,
    run: RunArgument,
    account: Annotated[str, typer.Option(help="Leave this one account out, not the whole run.")] = "",
    by: ByOption = OPERATOR,
    *,
    json: JsonOption = False,
) -> None:
    """Undo a run that has given no number, or leave one account out: usage and charges are free again."""
    from ocs.sql import writing
    from postpaid_bridge.sql import runs

    ground = ctx.obj
    with _refusals(), writing(ground.engine) as work:
        if account:
            runs.leave_out(work, run, account, by, ground.clock.now_ms())
        else:
            runs.abandon(work, run, by, ground.clock.now_ms())
    _tell(ground, run, json=json)


@app.command()
def status(
    ctx: typer.Context,
    run: Annotated[int | None, typer.Argument(metavar="RUN", help="None: the newest runs.")] = None,
    *,
    json: JsonOption = False,
) -> None:
    """Show a run: accounts by state, totals, outliers, what is parked and why; or the newest runs."""
    from ocs.sql import reading
    from postpaid_bridge.sql import runs

    if run is not None:
        _tell(ctx.obj, run, json=json)
        return
    with reading(ctx.obj.engine) as look:
        found = [_named(each) for each in runs.every_run(look)]
    if json:
        say.as_json(found)
    elif found:
        say.table(
            [(name, name == "run") for name in found[0]], [[str(v) for v in each.values()] for each in found]
        )


@app.command()
def worker(
    ctx: typer.Context, name: Annotated[str, typer.Option(help="Its name among the workers.")] = "bills"
) -> None:
    """Do chunks of runs that are executed with --workers; one process, SIGTERM ends it behind its chunk."""
    from postpaid_bridge.jobs import batch
    from postpaid_bridge.jobs.run import Pace

    ground = ctx.obj
    chunk = batch.chunk_of(ground.engine, _terms(ground), ground.clock, Pace().pauses)
    batch.work(batch.app_of(_broker(ground)), chunk, name)


# ---------------------------------------------------------------- inside


def _terms(ground: Any) -> "Terms":
    from postpaid_bridge.roof.offers import read_catalogue
    from postpaid_bridge.sql.drafting import Terms

    sold = read_catalogue(ground.settings)
    return Terms(sold.plans, sold.taxes, sold.cycles, ground.settings.zone)


def _broker(ground: Any) -> str:
    url: str = ground.settings.run.broker
    if not url:
        raise Ended(Exit.USAGE, "no broker: set run.broker to a Redis of its own")
    return url


def _step(
    ground: Any, run: int, act: "Callable[[Conductor], Run]", *, workers: bool = False, json: bool
) -> None:
    """Do a step with a bar; exit code 1 where it was ended before its end, or accounts are parked."""
    from postpaid_bridge.jobs.run import Conductor, Pace

    pace = Pace(chunk=ground.settings.run.chunk, outliers=ground.settings.run.of_outliers)
    sender = None
    if workers:
        from postpaid_bridge.jobs.batch import Dispatch, app_of

        sender = Dispatch(app_of(_broker(ground)))
    with _refusals(), _bar() as tell:
        at = Conductor(ground.engine, _terms(ground), ground.clock, pace, workers=sender, tell=tell)
        with _signals(at.stop):
            act(at)
    parked = _tell(ground, run, json=json)
    if at.stopped:
        say.remark(f"ended before its end; go on with: run resume {run} (a preview: run preview {run})")
    if at.stopped or parked:
        raise typer.Exit(Exit.FOUND_WRONG)


@contextmanager
def _signals(stop: "Callable[[], None]") -> Iterator[None]:
    """Let SIGINT and SIGTERM end the step behind its chunk."""
    before = {each: signal.signal(each, lambda *_: stop()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what a run refuses into an end of the command."""
    from postpaid_bridge.periods import PeriodFault
    from postpaid_bridge.run import NoRun, RunFault

    try:
        yield
    except NoRun as fault:
        raise Ended(Exit.NOT_FOUND, str(fault)) from fault
    except RunFault as fault:
        raise Ended(Exit.CONFLICT, str(fault)) from fault
    except PeriodFault as fault:
        raise Ended(Exit.USAGE, str(fault)) from fault


def _run(ground: Any, run: int) -> "Run":
    from ocs.sql import reading
    from postpaid_bridge.sql import runs

    with reading(ground.engine) as look:
        return runs.run_of(look, run)


@contextmanager
def _bar() -> "Iterator[Callable[[Progress], None]]":
    """A progress bar with rate and time left on a terminal; elsewhere a line every few seconds, on standard error."""
    if not sys.stderr.isatty():
        yield _Lines().tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1, rate="")

        def tell(at: "Progress") -> None:
            bar.update(task, description=at.step, completed=at.done, total=at.total, rate=_rate(at))

        yield tell


class _Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self) -> None:
        self._gone_s = 0.0

    def tell(self, at: "Progress") -> None:
        """Say where it is, at its end and every few seconds."""
        gone_s = at.done / at.per_s if at.per_s else 0.0
        if at.done == at.total or gone_s - self._gone_s >= LINE_S:
            self._gone_s = gone_s
            say.remark(f"{at.step} {at.done}/{at.total} {_rate(at)}")


def _rate(at: "Progress") -> str:
    left = "" if at.left_s is None else f", {at.left_s:.0f} s left"
    parked = f", {at.parked} parked" if at.parked else ""
    return f"{at.per_s:.0f}/s{left}{parked}"


# ---------------------------------------------------------------- what is told


def _named(run: "Run") -> dict[str, Any]:
    return {"run": run.id, "name": run.name, "kind": run.kind, "day": str(run.day), "state": run.state.value}


def _cents(cents: int | None) -> str:
    return "" if cents is None else format_amount(cents * 10_000)


def _tell(ground: Any, run: int, *, json: bool) -> int:
    """Tell where a run is; how many accounts are parked."""
    from ocs.sql import reading
    from postpaid_bridge.run import AccountState
    from postpaid_bridge.sql.run_report import report

    with _refusals(), reading(ground.engine) as look:
        found = report(look, run)
    page = _page(found)
    if json:
        say.as_json(page)
    else:
        _show(page)
    return found.accounts.get(AccountState.PARKED, 0)


def _page(found: "Report") -> dict[str, Any]:
    run = found.run
    return _named(run) | {
        "bill_day": str(run.bill_day or ""),
        "accounts": {state.value: count for state, count in sorted(found.accounts.items())},
        "preview": {
            "accounts": found.previewed, "gross": _cents(found.previewed_cents), "compared": found.compared,
            "compared_gross": _cents(found.compared_cents), "last_gross": _cents(found.last_cents), "will_be_parked": found.foreseen,
            "outliers": found.outliers,
        },
        "bills": {
            "drafted": found.drafted, "net": _cents(found.net_cents), "tax": _cents(found.tax_cents), "gross": _cents(found.gross_cents),
            "credits": found.credits, "numbered": found.numbered, "first": found.numbers[0] if found.numbers else "",
            "last": found.numbers[1] if found.numbers else "",
        },
        "accounts_with_more_due": found.more_due,
        "outliers": [
            {"account": row["number"], "gross": _cents(row["previewed_cents"]), "last": _cents(row["last_cents"]), "why": row["outlier"] or row["foreseen"]}
            for row in found.largest
        ],
        "parked": [{"account": row["number"], "attempts": row["attempts"], "reason": row["reason"]} for row in found.parked],
    }  # fmt: skip


def _show(page: dict[str, Any]) -> None:
    say.facts(
        {
            name: ", ".join(f"{key} {each}" for key, each in value.items() if each not in ("", 0))
            if isinstance(value, dict)
            else value
            for name, value in page.items()
            if name not in {"outliers", "parked"} and value not in (0, "")
        }
    )
    for title in ("outliers", "parked"):
        if rows := page[title]:
            say.line(f"\n{title}")
            say.table(
                [(name, name in {"gross", "last"}) for name in rows[0]],
                [[str(v) for v in row.values()] for row in rows],
            )
