"""Tariffs and products at the command line: check files before a server reads them."""

from pathlib import Path
from typing import Any

from ocs.money import format_amount
from ocs.rating.document import DocumentFault, document
from ocs.rating.ladder import CapMode
from ocs.rating.periods import CALENDAR_DAY, Recurrence
from ocs.rating.products import Catalogue, Product
from ocs.rating.rates import OUTGOING, Rate
from ocs.rating.sources import SourceKind
from ocs.rating.tariff import Tariff
from ocs.roof import say
from ocs.roof.build import read_products, read_settings, read_tariffs
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.settings import Settings

_CAPS = {CapMode.FREE: "then free", CapMode.STOP: "then disconnected"}
_COUNTED = {SourceKind.FREE: "then free", SourceKind.STOP: "then disconnected"}
_RATE_COLUMNS = ("tariff", "rate", "service", "applies to", "windows", "cap", "free")
_PRODUCT_COLUMNS = ("product", "price", "charge", "period", "allowances")
_PERIODS = {
    Recurrence.MONTH: "calendar month",
    Recurrence.DAY: "calendar day",
    Recurrence.DAYS: "days",
    Recurrence.HOURS: "hours",
    Recurrence.UNTIL: "until a date",
}


def check(place: Place, path: Path | None, *, as_json: bool) -> None:
    """Read a file or all of a folder, tariffs or products (default: the server's of both): tell all their faults, or all of them."""
    settings = read_settings(place)
    tariffs: dict[str, Tariff] = {}
    catalogue = Catalogue()
    if path is None or not _is_offer(path):
        tariffs = read_tariffs(path or settings.tariffs_folder, settings.zones_folder)
    if path is None:
        catalogue = read_products(settings.products_folder, settings.zones_folder, tariffs)
    elif not tariffs:
        catalogue = read_products(path, settings.zones_folder)
    if as_json:
        told = [*map(_described, tariffs.values()), *map(_product, catalogue.products.values())]
        say.as_json(told)
        return
    if tariffs:
        rows = [_row(on, rate) for on in tariffs.values() for rate in on.choice.rates]
        say.table([(name, False) for name in _RATE_COLUMNS], rows)
    if catalogue.products:
        products = catalogue.products.values()
        say.table(
            [(name, name == "price") for name in _PRODUCT_COLUMNS], [_product_row(each) for each in products]
        )


def _is_offer(path: Path) -> bool:
    """Tell whether a file, or the first of a folder, is a product or bonus; what cannot be read is told as a tariff."""
    file = min(path.glob("*.yaml"), default=path) if path.is_dir() else path
    try:
        content = document(file.read_text(encoding="utf-8"), str(file)).content
    except (OSError, UnicodeDecodeError, DocumentFault):
        return False
    return isinstance(content, dict) and not content.keys().isdisjoint({"product", "bonus"})


def _product(on: Product) -> dict[str, Any]:
    return {
        "product": on.key,
        "currency": on.currency,
        "price": format_amount(on.price_micros),
        "charge": "recurring" if on.recurring else "once",
        "period": _period(on),
        "shared": on.shared,
        "lifts": sorted(on.lifts),
        "allowances": [
            {
                "allowance": each.name,
                "unit": each.unit,
                "amount": format_amount(each.amount) if each.is_money else each.amount,
                "priority": each.priority,
                "blocker": each.blocker,
                "services": sorted({use.service for use in each.uses}),
            }
            for each in on.allowances
        ],
    }


def _period(on: Product) -> str:
    counted = on.kind.recurrence in {Recurrence.DAYS, Recurrence.HOURS}
    return f"{on.kind.number} " * counted + _PERIODS[Recurrence(on.kind.recurrence)]


def _product_row(on: Product) -> tuple[str, ...]:
    told = _product(on)
    allowances = "; ".join(
        f"{each['allowance']} {each['amount']} {each['unit']}"
        if each["amount"] != "0.00"
        else each["allowance"]
        for each in told["allowances"]
    )
    return on.key, told["price"], told["charge"], told["period"], allowances


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
                "priority": rate.priority,
                "counters": [each.name for each in rate.counters],
            }
            for rate in on.choice.rates
        ],
        "spend_caps": [
            {
                "spend_cap": cap.name,
                "service": cap.service,
                "amount": format_amount(cap.counter.cap_micros),
                "per": "day" if cap.counter.per == CALENDAR_DAY else "month",
                "notices": list(cap.notices),
            }
            for cap in on.spend_caps
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
    caps = [f"{format_amount(price.cap_micros)} {_CAPS[CapMode(price.cap_mode)]}"] if price.cap_mode else []
    caps += [
        f"{format_amount(each.cap_micros)} a day, {_COUNTED[each.kind]}"
        for each in rate.counters
        if each.kind in _COUNTED
    ]
    windows = " | ".join(name for name in rate.windows if name)
    return (
        on.key,
        rate.name,
        rate.service,
        conditions or "everything",
        windows,
        "; ".join(caps),
        "free" if rate.free else "",
    )
