"""`database …`: brings the database to this release's tables, says where it is, and writes the next revision for who changes tables."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from typing import Annotated

import typer

from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group
from ocs.sql import migrations

app = group("The database of customers, usage, journal and bills.")


@app.command()
def upgrade(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Bring an empty database, or one of an earlier release, to this release's tables; all of it, or nothing."""
    try:
        before, after = migrations.upgrade(ctx.obj.bare_engine)
    except ValueError as fault:
        raise Ended(Exit.FOUND_WRONG, str(fault)) from fault
    if json:
        say.as_json({"before": before or None, "after": after})
    elif before == after:
        say.line(f"the database is at {after}")
    else:
        say.line(f"the database is at {after}; before: {before or 'empty'}")


@app.command()
def show(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Show at which revision the database is, and which one this release needs; exit code 1 where they differ."""
    found, wanted = migrations.revision_of(ctx.obj.bare_engine), migrations.head()
    if json:
        say.as_json({"revision": found or None, "needed": wanted})
    else:
        say.facts({"revision": found or "none", "needed": wanted})
    if found != wanted:
        raise typer.Exit(Exit.FOUND_WRONG)


@app.command(hidden=True)
def revision(
    number: Annotated[str, typer.Argument(help="Four digits, one above the newest.")],
    about: Annotated[str, typer.Argument(help="What it is for, in a few words.")],
    table: Annotated[list[str] | None, typer.Option(help="Of these tables only.")] = None,
) -> None:
    """Write the next revision from what the code's tables have and the newest revision has not: for who changes tables."""
    import tempfile
    from pathlib import Path

    import postpaid_bridge.sql.tables  # noqa: F401 - tables register themselves
    from ocs.sql import engine_of
    from ocs.sql.revising import write_revision

    with tempfile.TemporaryDirectory() as folder:
        engine = engine_of(f"sqlite:///{Path(folder) / 'empty.sqlite'}")
        newest = next(iter(migrations.numbers()), "")
        if newest:
            migrations.upgrade(engine)
        file = write_revision(engine, number, about, newest, set(table or ()))
        engine.dispose()
    if file is None:
        raise Ended(Exit.FOUND_WRONG, "the tables are as the newest revision leaves them")
    say.line(f"written: {file.name}; read it, put it right, format it, and run the tests of migrations")
