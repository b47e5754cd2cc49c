"""`ocs vouchers …` and `ocs voucher redeem` as people type them."""
# ruff: noqa: PLC0415 - a command imports what it needs and nothing else

from pathlib import Path
from typing import Annotated

import typer

from ocs.roof.options import JsonOption, MsisdnArgument, at_place, group
from ocs.roof.place import Place

vouchers_app = group("Batches of vouchers, and single vouchers by their serial.")
voucher_app = group("A voucher that is redeemed.")

BatchArgument = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's number.")]
SerialArgument = Annotated[str, typer.Argument(metavar="SERIAL", help="The voucher's serial number.")]


@vouchers_app.command("make")
@at_place
def vouchers_make(
    value: Annotated[str, typer.Option(metavar="AMOUNT", help="What each is worth.")],
    size: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="How many.")],
    until: Annotated[str, typer.Option(metavar="ISO8601", help="Valid until; a day: its end.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file for the codes (CSV), for you alone.")],
    begins: Annotated[
        str, typer.Option("--from", metavar="ISO8601", help="Valid from; default at once.")
    ] = "",
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Make a batch; its codes are written this once. It counts once it is activated."""
    from ocs.roof.vouchers import make

    make(place, value, size, until, begins, description, out, as_json=json)


@vouchers_app.command("list")
@at_place
def vouchers_list(*, json: JsonOption = False, place: Place) -> None:
    """List all batches."""
    from ocs.roof.vouchers import listing

    listing(place, as_json=json)


@vouchers_app.command("show")
@at_place
def vouchers_show(
    name: Annotated[str, typer.Argument(metavar="BATCH|SERIAL", help="A batch, or one voucher.")],
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Show a batch with how many are in which state, or a voucher with who has used it."""
    from ocs.roof.vouchers import show

    show(place, name, as_json=json)


@vouchers_app.command("activate")
@at_place
def vouchers_activate(batch: BatchArgument, *, json: JsonOption = False, place: Place) -> None:
    """Let a batch be redeemed, again too after a suspension."""
    from ocs.balance.voucher_batches import BatchState
    from ocs.roof.vouchers import change

    change(place, batch, BatchState.ACTIVE, as_json=json)


@vouchers_app.command("suspend")
@at_place
def vouchers_suspend(batch: BatchArgument, *, json: JsonOption = False, place: Place) -> None:
    """Let nothing of a batch be redeemed until it is activated again."""
    from ocs.balance.voucher_batches import BatchState
    from ocs.roof.vouchers import change

    change(place, batch, BatchState.SUSPENDED, as_json=json)


@vouchers_app.command("cancel")
@at_place
def vouchers_cancel(batch: BatchArgument, *, json: JsonOption = False, place: Place) -> None:
    """Let nothing of a batch ever be redeemed again."""
    from ocs.balance.voucher_batches import BatchState
    from ocs.roof.vouchers import change

    change(place, batch, BatchState.CANCELLED, as_json=json)


@vouchers_app.command("extend")
@at_place
def vouchers_extend(
    batch: BatchArgument,
    until: Annotated[
        str, typer.Option(metavar="ISO8601", help="Valid until; later than now; a day: its end.")
    ],
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Let a batch be valid for longer."""
    from ocs.roof.vouchers import extend

    extend(place, batch, until, as_json=json)


@vouchers_app.command("block")
@at_place
def vouchers_block(serial: SerialArgument, *, json: JsonOption = False, place: Place) -> None:
    """Let one voucher not be redeemed."""
    from ocs.roof.vouchers import turn

    turn(place, serial, blocked=True, as_json=json)


@vouchers_app.command("unblock")
@at_place
def vouchers_unblock(serial: SerialArgument, *, json: JsonOption = False, place: Place) -> None:
    """Let a blocked voucher be redeemed again."""
    from ocs.roof.vouchers import turn

    turn(place, serial, blocked=False, as_json=json)


@voucher_app.command("redeem")
@at_place
def voucher_redeem(
    msisdn: MsisdnArgument,
    topup_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="Name of this redemption; default the voucher's own.")
    ] = "",
    *,
    json: JsonOption = False,
    place: Place,
) -> None:
    """Redeem the voucher whose code is read from standard input."""
    from ocs.roof.vouchers import redeem

    redeem(place, msisdn, topup_id, as_json=json)
