"""`deliveries …`: documents and who has them: what was sent, what waits, what has failed; made and sent by hand, sent anew."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from ocs.clock import instant
from ocs.roof import say
from ocs.roof.ends import Ended, Exit
from ocs.roof.options import JsonOption, group

app = group("Documents of bills and letters, and their deliveries.")
STATES = ("failed", "parked", "waiting", "sending", "sent", "left")
_PAGE = 1_000


@app.command("list")
def listing(
    ctx: typer.Context,
    state: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(STATES)}.")] = None,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="Rows shown.")] = 100,
    *,
    json: JsonOption = False,
) -> None:
    """Show what failed, is parked or waits (or the states named); exit code 1 where something failed or is parked. No address is shown."""
    from ocs.sql import reading
    from postpaid_bridge.sql import deliveries

    wanted = state or ["failed", "parked", "waiting", "sending"]
    if unknown := sorted(set(wanted) - set(STATES)):
        raise Ended(Exit.USAGE, f"{unknown[0]!r} is no state; there are {', '.join(STATES)}")
    with reading(ctx.obj.engine) as look:
        counts = deliveries.counts(look)
        rows = [_row(each) for each in deliveries.listed(look, wanted, 0, most)]
    told = {f"{table}s {state}": count for (table, state), count in sorted(counts.items())}
    if json:
        say.as_json({"counts": told, "rows": rows})
    else:
        say.facts({name: str(value) for name, value in told.items()})
        if rows:
            columns = [(name, name in {"document", "tries"}) for name in rows[0]]
            say.table(
                columns, [["" if value is None else str(value) for value in each.values()] for each in rows]
            )
    if counts.get(("delivery", "failed")) or counts.get(("document", "parked")):
        raise typer.Exit(Exit.FOUND_WRONG)


def _row(row: Any) -> dict[str, Any]:
    return {
        "document": row.document,
        "kind": row.kind,
        "number": row.number,
        "state": row.state if row.document_state == "made" else row.document_state,
        "channel": row.channel,
        "tries": row.tries,
        "next": instant(row.next_ms) if row.state in {"waiting", "sending"} else None,
        "sent": instant(row.sent_ms) if row.sent_ms else None,
        "why": row.reason or row.why or "",
    }


@app.command()
def make(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Make the documents of all published bills and queued letters that have none; exit code 1 where one was parked."""
    from postpaid_bridge.roof.progress import bar
    from postpaid_bridge.roof.published import printer_of

    printer = printer_of(ctx.obj)
    with bar("documents") as shown:
        made = printer.once(lambda each: shown(each.made + each.parked, each.queued, f"{each.made} made"))
    told = made._asdict()
    say.as_json(told) if json else say.facts({name: str(value) for name, value in told.items()})
    if made.parked:
        raise typer.Exit(Exit.FOUND_WRONG)


@app.command()
def send(ctx: typer.Context, *, json: JsonOption = False) -> None:
    """Mail what is due now, and end; exit code 1 where something has failed for good."""
    from postpaid_bridge.roof.published import postman_of, printer_of

    postman = postman_of(ctx.obj, printer_of(ctx.obj))
    if postman is None:
        raise Ended(Exit.USAGE, "there is no mail server; set mail.host")
    told = asyncio.run(postman.once())
    say.as_json(told) if json else say.facts({name: str(value) for name, value in told.items()})
    if told["failed"]:
        raise typer.Exit(Exit.FOUND_WRONG)


@app.command()
def resend(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(help="The bill's or letter's number.")],
    to: Annotated[str, typer.Option(help="To this address; the account's if none.")] = "",
    *,
    json: JsonOption = False,
) -> None:
    """Mail a document anew: a delivery of its own, which `send` or `serve` carries out."""
    from sqlalchemy import select

    from ocs.sql import writing
    from postpaid_bridge.documents.mail_text import MailFault, single_address
    from postpaid_bridge.jobs.publish import address_of
    from postpaid_bridge.sql import deliveries

    with writing(ctx.obj.engine) as work:
        asked = select(deliveries.documents).where(deliveries.documents.c.number == number)
        row = work.execute(asked).one_or_none()
        if row is None:
            raise Ended(Exit.NOT_FOUND, f"no document has the number {number}")
        address = to or address_of(work, row.billing_account)
        try:
            single_address(address)
        except MailFault as fault:
            raise Ended(Exit.USAGE, f"{fault}; name one by --to, or give the account one") from fault
        made = deliveries.resend(work, row.id, address, ctx.obj.clock.now_ms())
    if made is None:
        raise Ended(
            Exit.CONFLICT, f"{number} is {row.state}, or a mail still waits; look at `deliveries list`"
        )
    say.as_json({"delivery": made}) if json else say.line(f"{number} is mailed anew: delivery {made}")


@app.command()
def again(
    ctx: typer.Context,
    document: Annotated[int, typer.Argument(help="A parked document, as `deliveries list` shows it.")],
) -> None:
    """Let a parked document be made again, once what was wrong is put right."""
    from ocs.sql import writing
    from postpaid_bridge.sql import deliveries

    with writing(ctx.obj.engine) as work:
        done = deliveries.again(work, document)
    if not done:
        raise Ended(Exit.NOT_FOUND, "no document of that id is parked")
    say.line(f"document {document} is made again by `deliveries make`, or by serve")


@app.command()
def fetch(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(help="The bill's or letter's number.")],
    into: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write a document to a file, made again of its facts where its own is gone; the octets are the same."""
    from sqlalchemy import select

    from ocs.sql import reading
    from postpaid_bridge.documents.press import PressFault
    from postpaid_bridge.roof.published import printer_of
    from postpaid_bridge.sql.deliveries import documents

    with reading(ctx.obj.engine) as look:
        asked = select(documents).where(documents.c.number == number, documents.c.state == "made")
        row = look.execute(asked).one_or_none()
    if row is None:
        raise Ended(Exit.NOT_FOUND, f"no document of the number {number} is made")
    try:
        into.write_bytes(printer_of(ctx.obj).again(row))
    except (PressFault, OSError) as fault:
        raise Ended(Exit.FOUND_WRONG, str(fault)) from fault
    say.line(f"written: {into}")
