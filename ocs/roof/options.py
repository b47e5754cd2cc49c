"""Options that several commands share, as typer reads them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

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
