"""Tariffs at the command line: check files before a server reads them."""

from pathlib import Path
from typing import Any

from ocs.money import format_amount
from ocs.rating.ladder import CapMode
from ocs.rating.rates import OUTGOING, Rate
from ocs.rating.tariff import Tariff
from ocs.roof import say
from ocs.roof.build import read_settings, read_tariffs
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.settings import Settings

_CAPS = {CapMode.FREE: "then free", CapMode.STOP: "then disconnected"}


def check(place: Place, path: Path | None, *, as_json: bool) -> None:
    """Read a tariff's file, or all of a folder (default: the server's): tell all their faults, or all their rates in order."""
    settings = read_settings(place)
    tariffs = read_tariffs(path or settings.tariffs_folder, settings.zones_folder)
    found = [(on, rate) for on in tariffs.values() for rate in on.choice.rates]
    if as_json:
        say.as_json([_described(on) for on in tariffs.values()])
        return
    columns = [
        (name, False) for name in ("tariff", "rate", "service", "applies to", "windows", "cap", "free")
    ]
    say.table(columns, [_row(on, rate) for on, rate in found])


def one_tariff(settings: Settings, path: Path) -> Tariff:
    """Read the file of one tariff as the server will; Ended (usage) names what is wrong with it."""
    tariffs = read_tariffs(path, settings.zones_folder)
    if len(tariffs) != 1:
        raise Ended(Exit.USAGE, f"{path}: holds {len(tariffs)} tariffs; name the file of one")
    (tariff,) = tariffs.values()
    if tariff.currency != settings.charging.currency:
        raise Ended(
            Exit.USAGE,
            f"{tariff.key} is in {tariff.currency}, accounts are kept in {settings.charging.currency}",
        )
    return tariff


def _described(on: Tariff) -> dict[str, Any]:
    return {
        "tariff": on.key,
        "effective": say.instant(on.effective_ms) if on.effective_ms else None,
        "currency": on.currency,
        "prices": "gross" if on.gross else "net",
        "numbering": on.numbering.name if on.numbering is not None else None,
        "rates": [
            {
                "rate": rate.name,
                "service": rate.service,
                "unit": rate.unit.name.lower(),
                "conditions": {name: sorted(values) for name, values in _conditions(rate).items()},
                "windows": [name for name in rate.windows if name],
                "tax_class": rate.tax_class,
                "free": rate.free,
            }
            for rate in on.choice.rates
        ],
    }


def _conditions(rate: Rate) -> dict[str, frozenset[Any]]:
    return {name: values for name, values in rate.conditions._asdict().items() if values is not None}


def _row(on: Tariff, rate: Rate) -> tuple[str, ...]:
    named = {name: values for name, values in _conditions(rate).items() if values != {OUTGOING}}
    conditions = "; ".join(
        f"{name.replace('_', ' ')} {', '.join(map(str, sorted(values)))}" for name, values in named.items()
    )
    price = rate.ladders[0]
    cap = f"{format_amount(price.cap_micros)} {_CAPS[CapMode(price.cap_mode)]}" if price.cap_mode else ""
    windows = " | ".join(name for name in rate.windows if name)
    return (
        on.key,
        rate.name,
        rate.service,
        conditions or "everything",
        windows,
        cap,
        "free" if rate.free else "",
    )
