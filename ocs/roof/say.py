"""What commands say: JSON for machines and tables for people on standard output, remarks on standard error."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from ocs import clock
from ocs.money import format_amount
from ocs.units import Unit

instant = clock.instant


def as_json(content: Any) -> None:
    """Print one JSON document on one line."""
    print(json.dumps(content, ensure_ascii=False))  # noqa: T201 - what the command answers


def line(text: str) -> None:
    """Print one line of the answer."""
    print(text)  # noqa: T201 - what the command answers


def remark(text: str) -> None:
    """Print one line beside the answer."""
    print(text, file=sys.stderr)  # noqa: T201 - for the person at the terminal


def facts(content: dict[str, Any]) -> None:
    """Print names and values below each other; empty values are left out."""
    shown = {name.replace("_", " "): value for name, value in content.items() if value not in ("", None, [])}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        line(f"{name:<{width}}  {value}")


def table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; a column is its title and whether it holds figures (then it stands at the right)."""
    from rich.console import Console  # noqa: PLC0415 - rich is not loaded for JSON
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False)
    for title, figures in columns:
        shown.add_column(title, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(shown)


def units(count: int, unit: Unit) -> str:
    """Write an amount of units: 1,048,576 octets; of money: 1.50 in money."""
    if unit is Unit.MONEY:
        return f"{format_amount(count)} in money"
    name = unit.name.lower()
    return f"{count:,} {name.removesuffix('s') if count == 1 else name}"


def amount(micros: int, currency: str) -> str:
    """Write money with its currency."""
    return f"{format_amount(micros)} {currency}"
