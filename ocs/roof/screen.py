"""How the demo looks: a table that grows on a terminal, plain lines elsewhere."""

import time
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_PACE_S = 0.8


class Row(NamedTuple):
    """One step as it is shown."""

    step: str
    asked: str
    answered: str
    granted: str
    debited: str
    balance: str
    reserved: str
    right: bool


class Screen:
    """Shows rows as they happen; on a terminal with a little time to read each."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live: Live | None = None
        self._rows: list[Row] = []

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_fault: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Say something, outside the table."""
        print(text, flush=True)  # noqa: T201 - what the demo shows

    def show(self, row: Row) -> None:
        """Show the next step."""
        self._rows.append(row)
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            time.sleep(_PACE_S)
            return
        figures = [
            f"asked {row.asked}" if row.asked else "",
            f"answered {row.answered}" if row.answered else "",
            f"granted {row.granted}" if row.granted else "",
            f"debited {row.debited}" if row.debited else "",
            f"balance {row.balance}",
            f"reserved {row.reserved}",
        ]
        mark = "" if row.right else "  WRONG"
        print(f"{len(self._rows)}. {row.step}: {', '.join(filter(None, figures))}{mark}", flush=True)  # noqa: T201

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=False)
        for title, justify in (
            ("step", "left"), ("asked", "right"), ("answered", "left"), ("granted", "right"), ("debited", "right"),
            ("balance", "right"), ("reserved", "right"), ("", "left"),
        ):  # fmt: skip
            table.add_column(title, justify=justify)  # type: ignore[arg-type]  # literals above
        for row in self._rows:
            mark = Text("✓", "green") if row.right else Text("✗", "bold red")
            table.add_row(*map(Text, row[:-1]), mark)
        return table
