"""Options that several commands share, as typer reads them."""

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated

import typer

from ocs.roof.place import Place

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="embedded:, redis://HOST:PORT, rediss://…, sentinel://H:P,H:P/NAME, cluster://H:P,H:P or unix:///PATH.",
    ),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="D", help="Folder of the embedded store.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="F", help="Settings (TOML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
MsisdnArgument = Annotated[
    str, typer.Argument(metavar="MSISDN", help="Number in international form, with or without +.")
]
TariffFileArgument = Annotated[Path, typer.Argument(metavar="PATH", help="The file of one tariff.")]
TariffOption = Annotated[str, typer.Option("--tariff", metavar="T", help="Name of a tariff.")]
CreditOption = Annotated[str, typer.Option("--credit", metavar="AMOUNT", help="Opening credit.")]
FloorOption = Annotated[
    str,
    typer.Option(
        "--credit-floor", metavar="AMOUNT", help="Zero or negative; a credit limit of 50.00 is -50.00."
    ),
]


class SubscriberKind(StrEnum):
    """Kinds of account."""

    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class Service(StrEnum):
    """Services that a tariff may price."""

    DATA = "data"
    VOICE = "voice"
    SMS = "sms"


KindOption = Annotated[SubscriberKind, typer.Option("--kind", help="prepaid or postpaid.")]
SessionArgument = Annotated[
    str | None, typer.Argument(metavar="SESSION_ID", help="Its Diameter Session-Id.", show_default=False)
]


_OF_PLACE = {"store": StoreOption, "data_dir": DataDirOption, "config": ConfigOption}


def group(about: str) -> typer.Typer:
    """Make a group of commands: it speaks plain text, and helps where nothing is named."""
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )


def at_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where its store is; it gets what they say as its ``place``."""

    @wraps(command)
    def run(*, store: str | None, data_dir: Path | None, config: Path | None, **told: object) -> None:
        command(place=Place(store, data_dir, config), **told)

    own = [each for each in signature(command).parameters.values() if each.name != "place"]
    of_place = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OF_PLACE.items()
    ]
    # what typer reads a command's options from
    run.__signature__ = Signature([*own, *of_place])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *of_place)}
    return run
