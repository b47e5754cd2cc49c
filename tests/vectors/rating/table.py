"""The rating examples as the tests read them: rows.yaml, with its tariffs read by the reader of tariffs."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ocs.money import parse_amount
from ocs.rating.tariff import ServiceTariff, Tariff, read_tariff

HERE = Path(__file__).resolve().parent
CONTEXTS = {"data": "32251@3gpp.org", "voice": "32260@3gpp.org"}


@cache
def table() -> dict[str, Any]:
    """All examples."""
    read: dict[str, Any] = yaml.safe_load((HERE / "rows.yaml").read_text(encoding="utf-8"))
    return read


@cache
def tariffs() -> dict[str, Tariff]:
    """The tariffs of the examples, by name."""
    written = {
        name: yaml.safe_dump({"tariff": name, "version": 1, "currency": "EUR", "services": services})
        for name, services in table()["tariffs"].items()
    }
    return {name: read_tariff(text, f"rows.yaml:{name}") for name, text in written.items()}


def only_service(name: str) -> tuple[str, ServiceTariff]:
    """The one family that a tariff of the examples prices, and how."""
    ((family, service),) = tariffs()[name].services.items()
    return family, service


def cases() -> list[tuple[str, str, int, int]]:
    """(name, tariff, units in all, cost in micro-units) of every usage."""
    return [
        (f"row {row['row']}: {units} units cost {cost}", row["tariff"], units, parse_amount(cost))
        for row in table()["rows"]
        for units, cost in row["usage"]
    ]
