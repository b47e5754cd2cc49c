"""The rating examples as the tests read them: rows.yaml, with its tariffs read by the reader of tariffs."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ocs.money import parse_amount
from ocs.rating.numbering import read_numbering
from ocs.rating.tariff import ServiceTariff, Tariff, read_tariff

HERE = Path(__file__).resolve().parent
CONTEXTS = {"data": "32251@3gpp.org", "voice": "32260@3gpp.org", "sms": "32274@3gpp.org"}


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


@cache
def rated_tariffs() -> dict[str, Tariff]:
    """The tariffs of the examples that need a calendar, a plan or a cap, by name."""
    plan = yaml.safe_dump({"numbering": "vectors", **table()["numbering"]["plan"]})
    plans = {
        "vectors": read_numbering(
            plan, "rows.yaml:numbering", {"prefixes.csv": table()["numbering"]["prefixes"]}
        )
    }
    written = {
        name: yaml.safe_dump({"tariff": name, "version": 1, "currency": "EUR", **content})
        for name, content in table()["rated_tariffs"].items()
    }
    return {name: read_tariff(text, f"rows.yaml:{name}", plans) for name, text in written.items()}


def instant_ms(on: Tariff, text: str) -> int:
    """An instant written as wall-clock time of a tariff's calendar."""
    zone = on.calendar.zone if on.calendar is not None else UTC
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1000


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
