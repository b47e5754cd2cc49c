"""The bridge's commands as people type them. A room of commands is a typer.Typer, mounted here; it gets its objects by ``ctx.obj`` (ground.py).

Laws
1. A room of commands imports what it works with when a command runs.
2. ``--config``, ``--database``, ``--store`` and ``--data-dir`` are every command's, and may stand before or behind its name.
"""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from ocs.care.customers.commands import CommandGround, customers_app
from ocs.roof.options import group
from postpaid_bridge.roof.database_commands import app as database_app
from postpaid_bridge.roof.delivery_commands import app as delivery_app
from postpaid_bridge.roof.dunning_commands import dun, explain, hold_app
from postpaid_bridge.roof.ground import Ground, Options
from postpaid_bridge.roof.ingest_commands import ingest
from postpaid_bridge.roof.journal_commands import journal_app, trial_balance
from postpaid_bridge.roof.outbox_commands import app as outbox_app
from postpaid_bridge.roof.payment_commands import clearing_app, import_statement, pay, payments_app
from postpaid_bridge.roof.reconcile_commands import reconcile
from postpaid_bridge.roof.run_commands import app as run_app

__all__ = ["app", "options_first"]

_EVERYWHERE = ("--config", "--database", "--store", "--data-dir")

_ground: ContextVar[Ground] = ContextVar("ground")
"""For commands that know nothing of the bridge, and take no ``ctx``."""

app = group("The postpaid bridge: from usage to bill, payment and dunning, and back to the charging server.")


def _opened(_database: str) -> CommandGround:
    """Give the commands of customers what they work on; --database was read before them."""
    from ocs.care.customers.shapes import Words
    from postpaid_bridge.roof.offers import read_catalogue

    ground = _ground.get()
    sold = read_catalogue(ground.settings)
    return CommandGround(
        ground.engine,
        ground.clock,
        ground.today,
        Words(sold.cycle_words, sold.plans.plans, None, sold.plans.discount_plans),
    )


app.add_typer(customers_app(_opened), name="customers")
app.add_typer(database_app, name="database")
app.add_typer(run_app, name="run")
app.add_typer(delivery_app, name="deliveries")
app.add_typer(outbox_app, name="outbox")
app.add_typer(journal_app, name="journal")
app.add_typer(payments_app, name="payments")
app.add_typer(clearing_app, name="clearing")
app.command("pay")(pay)
app.command("import-statement")(import_statement)
app.command("ingest")(ingest)
app.command("trial-balance")(trial_balance)
app.command("reconcile")(reconcile)
app.add_typer(hold_app, name="hold")
app.command("dun")(dun)
app.command("explain")(explain)


@app.callback()
def place(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option(metavar="F", help="Settings (TOML).")] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="sqlite:///PATH or postgresql+psycopg://….")
    ] = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="The charging server's store.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="D", help="The charging server's data folder.")
    ] = None,
) -> None:
    """Say what the command works on; these options may stand behind its name too."""
    if ctx.obj is None:
        ctx.obj = Ground(Options(config, database, store, data_dir))
    _ground.set(ctx.obj)


@app.command()
def serve(
    ctx: typer.Context,
    http_host: Annotated[str | None, typer.Option(metavar="H", help="Address of HTTP.")] = None,
    http_port: Annotated[int | None, typer.Option(metavar="P", help="Its port; 0 picks a free one.")] = None,
) -> None:
    """Run the bridge: its API and its jobs (intake, outbox, daily reconciliation); SIGTERM ends it in order."""
    from postpaid_bridge.roof.serve import serve as run

    raise typer.Exit(run(ctx.obj.given("http", host=http_host, port=http_port)))


def options_first(arguments: Sequence[str]) -> list[str]:
    """Put the options of every command before the command's name, wherever they stand (law 2); behind a bare -- nothing is moved."""
    first: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        each = left.pop(0)
        if each == "--":
            rest += [each, *left]
            break
        if each in _EVERYWHERE and left:
            first += [each, left.pop(0)]
        elif each.startswith(tuple(f"{name}=" for name in _EVERYWHERE)):
            first.append(each)
        else:
            rest.append(each)
    return first + rest
