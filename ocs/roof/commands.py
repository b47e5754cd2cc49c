"""The `ocs` command as people type it: names, options and defaults of INTERFACE; each command's room is loaded when it runs."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else: `ocs balance` loads no server

from pathlib import Path
from typing import Annotated

import typer

from ocs.roof.backup_commands import backup_app
from ocs.roof.ends import Ended, Exit
from ocs.roof.event_commands import events_app
from ocs.roof.key_commands import audit_log, keys_app
from ocs.roof.options import (
    CreditOption,
    FloorOption,
    JsonOption,
    KindOption,
    MsisdnArgument,
    Service,
    SessionArgument,
    SubscriberKind,
    TariffFileArgument,
    TariffOption,
    at_place,
    group,
)
from ocs.roof.place import Place
from ocs.roof.voucher_commands import voucher_app, vouchers_app

app = group("A prepaid real-time charging server (OCS).")
subscriber_app = group("Subscribers and their accounts.")
product_app = group("Products that subscribers buy.")
session_app = group("One session.")
tariff_app = group("Tariffs.")
functions_app = group("The Redis functions.")
app.add_typer(subscriber_app, name="subscriber")
app.add_typer(product_app, name="product")
app.add_typer(session_app, name="session")
app.add_typer(tariff_app, name="tariff")
app.add_typer(functions_app, name="functions")
app.add_typer(keys_app, name="keys")
app.add_typer(backup_app, name="backup")
app.command("audit-log")(at_place(audit_log))
app.add_typer(vouchers_app, name="vouchers")
app.add_typer(voucher_app, name="voucher")
app.add_typer(events_app, name="events")


@app.command()
@at_place
def serve(
    diameter_host: Annotated[str | None, typer.Option(metavar="H", help="Address of Diameter.")] = None,
    diameter_port: Annotated[
        int | None, typer.Option(metavar="P", help="Its port; 0 picks a free one.")
    ] = None,
    http_host: Annotated[str | None, typer.Option(metavar="H", help="Address of HTTP.")] = None,
    http_port: Annotated[int | None, typer.Option(metavar="P", help="Its port; 0 picks a free one.")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes that charge.")] = None,
    *,
    place: Place,
) -> None:
    """Run the charging server; SIGTERM drains it, `ocs restart` or SIGHUP restarts it under load."""
    from ocs.roof.serve import serve as run

    options: dict[str, dict[str, object]] = {
        "diameter": {"host": diameter_host, "port": diameter_port},
        "http": {"host": http_host, "port": http_port},
        "server": {"workers": workers},
    }
    raise typer.Exit(run(place, options))


@app.command()
@at_place
def restart(*, json: JsonOption = False, place: Place) -> None:
    """Replace every process of the running server, one after the other, by one of the settings, tariffs and code on disk."""
    from ocs.roof.restart import restart as run

    run(place, as_json=json)


@app.command()
@at_place
def demo(place: Place) -> None:
    """Watch a packet gateway charge a data session, on a server and a store of its own."""
    from ocs.roof.demo import demo as run

    run(place)


@subscriber_app.command("create")
@at_place
def subscriber_create(
    msisdn: MsisdnArgument,
    tariff: TariffOption,
    imsi: Annotated[str, typer.Option(metavar="I", help="IMSI of the card.")] = "",
    kind: KindOption = SubscriberKind.PREPAID,
    credit: CreditOption = "",
    credit_floor: FloorOption = "0.00",
    member_of: Annotated[
        str, typer.Option(metavar="MSISDN", help="Share that number's account instead of opening one.")
    ] = "",
    cap: Annotated[
        str, typer.Option(metavar="AMOUNT", help="Most that the member may spend of it in a month.")
    ] = "",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Create one subscriber, with an account or as a member of one."""
    from ocs.roof.subscriber import Wanted, create

    wanted = Wanted(tariff, kind.value, credit, credit_floor, member_of, cap)
    create(place, msisdn, imsi, wanted, as_json=json)


@subscriber_app.command("bulk")
@at_place
def subscriber_bulk(
    count: Annotated[int, typer.Option(metavar="N", help="How many.")],
    first: Annotated[str, typer.Option(metavar="MSISDN", help="The first of consecutive numbers.")],
    tariff: TariffOption,
    kind: KindOption = SubscriberKind.PREPAID,
    credit: CreditOption = "",
    credit_floor: FloorOption = "0.00",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Create consecutive numbers; may be run again, numbers that exist are skipped."""
    from ocs.roof.subscriber import Wanted, bulk

    wanted = Wanted(tariff, kind.value, credit, credit_floor)
    bulk(place, first, count, wanted, as_json=json)


@subscriber_app.command("show")
@at_place
def subscriber_show(msisdn: MsisdnArgument, *, json: JsonOption = False, place: Place) -> None:
    """Show a subscriber."""
    from ocs.roof.subscriber import show

    show(place, msisdn, as_json=json)


@subscriber_app.command("bar")
@at_place
def subscriber_bar(msisdn: MsisdnArgument, *, json: JsonOption = False, place: Place) -> None:
    """Bar a subscriber: nothing more is granted; what was used is still booked."""
    from ocs.records import Status
    from ocs.roof.subscriber import set_status

    set_status(place, msisdn, Status.BARRED, as_json=json)


@subscriber_app.command("unbar")
@at_place
def subscriber_unbar(msisdn: MsisdnArgument, *, json: JsonOption = False, place: Place) -> None:
    """Unbar a subscriber."""
    from ocs.records import Status
    from ocs.roof.subscriber import set_status

    set_status(place, msisdn, Status.ACTIVE, as_json=json)


@subscriber_app.command("terminate")
@at_place
def subscriber_terminate(
    msisdn: MsisdnArgument,
    *,
    refund: Annotated[
        bool, typer.Option("--refund", help="Refund what is left; open sessions are ended first.")
    ] = False,
    id: Annotated[  # noqa: A002 - the option's name
        str, typer.Option("--id", metavar="KEY", help="Name of the refund; it counts once.")
    ] = "",
    json: JsonOption = False,
    place: Place,
) -> None:
    """End an account and set its number free; the account stays on record."""
    from ocs.records import Status
    from ocs.roof import subscriber

    if refund:
        subscriber.refund(place, msisdn, id, as_json=json)
    elif id:
        raise Ended(Exit.USAGE, "--id is the name of a refund: write --refund too")
    else:
        subscriber.set_status(place, msisdn, Status.TERMINATED, as_json=json)


@subscriber_app.command("lend")
@at_place
def subscriber_lend(
    msisdn: MsisdnArgument,
    *,
    id: Annotated[str, typer.Option("--id", metavar="KEY", help="Name of this credit; it counts once.")],  # noqa: A002 - the option's name
    json: JsonOption = False,
    place: Place,
) -> None:
    """Lend emergency credit as the settings have it; the next top-up repays it."""
    from ocs.roof.money import lend

    lend(place, msisdn, id, as_json=json)


@subscriber_app.command("orders")
@at_place
def subscriber_orders(
    msisdn: MsisdnArgument,
    *,
    resume: Annotated[str, typer.Option(metavar="ORDER", help="Resume a suspended one: CHANNEL:ID.")] = "",
    end: Annotated[str, typer.Option(metavar="ORDER", help="End one: CHANNEL:ID.")] = "",
    json: JsonOption = False,
    place: Place,
) -> None:
    """List recurring and automatic top-ups, resume or end one."""
    from ocs.roof import subscriber_orders as orders

    if resume and end:
        raise Ended(Exit.USAGE, "--resume, --end: write one of them")
    if resume:
        orders.resume(place, msisdn, resume, as_json=json)
    elif end:
        orders.end(place, msisdn, end, as_json=json)
    else:
        orders.listing(place, msisdn, as_json=json)


@app.command()
@at_place
def topup(
    msisdn: MsisdnArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Decimal text, such as 10.00.")],
    id: Annotated[str, typer.Option("--id", metavar="KEY", help="Name of this top-up; it counts once.")],  # noqa: A002 - the option's name
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Add money, once per id."""
    from ocs.roof.money import topup as run

    run(place, msisdn, amount, id, as_json=json)


@app.command()
@at_place
def balance(msisdn: MsisdnArgument, *, json: JsonOption = False, place: Place) -> None:
    """Show what an account has, holds and may spend."""
    from ocs.roof.money import balance as run

    run(place, msisdn, as_json=json)


@app.command()
@at_place
def sessions(
    msisdn: Annotated[str | None, typer.Option(metavar="M", help="Of this number only.")] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """List open sessions."""
    from ocs.roof.sessions import listing

    listing(place, msisdn, as_json=json)


@product_app.command("list")
@at_place
def product_list(*, json: JsonOption = False, place: Place) -> None:
    """List what is sold."""
    from ocs.roof.product import listing as run

    run(place, as_json=json)


@product_app.command("buy")
@at_place
def product_buy(
    msisdn: MsisdnArgument,
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Its name; see ocs product list.")],
    id: Annotated[str, typer.Option("--id", metavar="KEY", help="Name of this purchase; it counts once.")],  # noqa: A002 - the option's name
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Buy a product from the balance, once per id."""
    from ocs.roof.product import buy as run

    run(place, msisdn, product, id, as_json=json)


@product_app.command("held")
@at_place
def product_held(msisdn: MsisdnArgument, *, json: JsonOption = False, place: Place) -> None:
    """Show what a subscriber holds."""
    from ocs.roof.product import held as run

    run(place, msisdn, as_json=json)


@product_app.command("cancel")
@at_place
def product_cancel(
    msisdn: MsisdnArgument,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Its number; see ocs product held.")],
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Let a product end with its period."""
    from ocs.roof.product import cancel as run

    run(place, msisdn, number, as_json=json)


@session_app.command("end")
@at_place
def session_end(
    session_id: SessionArgument = None,
    all_of: Annotated[
        str | None, typer.Option(metavar="MSISDN", help="End all sessions of this number instead.")
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """End a session, release what it holds, and tell its client (ASR)."""
    from ocs.roof.sessions import end

    end(place, session_id, all_of, as_json=json)


@session_app.command("reauthorise")
@at_place
def session_reauthorise(
    session_id: SessionArgument = None,
    msisdn: Annotated[str | None, typer.Option(metavar="M", help="All sessions of this number.")] = None,
    tariff: Annotated[str | None, typer.Option(metavar="NAME", help="All sessions on this tariff.")] = None,
    rating_group: Annotated[
        int | None, typer.Option(metavar="RG", min=0, max=0xFFFFFFFF, help="Only this rating group.")
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Let the clients of sessions ask anew (RAR): each gets what is right now."""
    from ocs.roof.sessions import reauthorise

    reauthorise(place, session_id, msisdn, tariff, rating_group, as_json=json)


@app.command()
@at_place
def price(
    service: Annotated[Service, typer.Option(help="data, voice or sms.")],
    tariff: Annotated[str | None, typer.Option(metavar="T", help="Name of a tariff.")] = None,
    msisdn: Annotated[
        str | None,
        typer.Option(
            metavar="MSISDN", help="A subscriber, instead of --tariff: on its account, as it stands."
        ),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="NUMBER", help="Number called.")] = None,
    used: Annotated[
        int | None, typer.Option(metavar="N", help="Octets, seconds or events; default one grant.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="ISO8601", help="When it begins; default now. Without zone: the tariff's own."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="ISO8601", help="When it ends, instead of --used.")
    ] = None,
    rating_group: Annotated[
        int | None, typer.Option(metavar="RG", min=0, max=0xFFFFFFFF, help="Rating-Group.")
    ] = None,
    service_identifier: Annotated[
        int | None, typer.Option(metavar="ID", min=0, max=0xFFFFFFFF, help="Service-Identifier.")
    ] = None,
    roaming: Annotated[str | None, typer.Option(metavar="MCCMNC", help="Network visited.")] = None,
    access: Annotated[
        str | None, typer.Option(metavar="NAME", help="Access type, such as eutran or nr.")
    ] = None,
    apn: Annotated[str | None, typer.Option(metavar="APN", help="Access point name.")] = None,
    *,
    incoming: Annotated[bool, typer.Option("--incoming", help="A call or message received.")] = False,
    connected: Annotated[
        bool, typer.Option("--connected", help="Go on with a call whose connect fee is paid.")
    ] = False,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Tell what something would cost, line by line."""
    from ocs.roof.price import Whither
    from ocs.roof.price import price as run
    from ocs.roof.price_for import price_for

    whither = Whither(to, at, until, roaming, rating_group, service_identifier, access, apn, incoming)
    if (tariff is None) == (msisdn is None) or (msisdn is not None and connected):
        raise typer.BadParameter("give one of --tariff and --msisdn; --connected goes with --tariff")
    if msisdn is not None:
        price_for(place, msisdn, service.value, used, whither, as_json=json)
    else:
        assert tariff is not None
        run(place, tariff, service.value, used, whither, as_json=json, connected=connected)


@tariff_app.command("check")
@at_place
def tariff_check(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="A file or a folder; default the server's tariffs.")
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Read tariffs as the server will: every fault with file and line, or every rate."""
    from ocs.roof.tariff import check

    check(place, path, as_json=json)


@tariff_app.command("diff")
@at_place
def tariff_diff(
    path: TariffFileArgument,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME@VERSION", help="Sessions of this tariff; default every version of PATH's name."
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Sessions of the last N days; default all on record."),
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Price recorded usage on another tariff: who would pay more, who less, how much in all."""
    from ocs.roof.tariff_diff import diff

    diff(place, path, against, days, as_json=json)


@tariff_app.command("activate")
@at_place
def tariff_activate(
    path: TariffFileArgument,
    at: Annotated[
        str | None,
        typer.Option(metavar="ISO8601", help="When new sessions get it, where the file does not say so."),
    ] = None,
    in_s: Annotated[
        int | None, typer.Option("--in", metavar="SECONDS", min=0, help="The same, from now; at least 60.")
    ] = None,
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Put a version of a tariff into the store: every worker knows it before its instant comes, and nothing stops."""
    from ocs.roof.activate import activate

    activate(place, path, at, in_s, as_json=json)


@app.command()
@at_place
def audit(*, json: JsonOption = False, place: Place) -> None:
    """Prove conservation on live data; exit 1 when anything does not hold."""
    from ocs.roof.money import prove

    prove(place, as_json=json)


@functions_app.command("load")
@at_place
def functions_load(*, json: JsonOption = False, place: Place) -> None:
    """Load the Redis functions on every master, by hand."""
    from ocs.roof.functions import load

    load(place, as_json=json)
