"""What the bridge's commands stand on: settings, the database, the clock, the charging server's store; each built when it is first asked for.

Laws
1. Nothing is read or opened before it is asked for: ``--help`` works without settings.
2. A database that is not at head is refused, and the command that brings it there is named. No command brings it there in passing.
3. What commands need of the charging server is opened for the call (``charged``), and closed at its end.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError

import ocs.settings
from ocs.clock import Clock, SystemClock
from ocs.roof import build
from ocs.roof.build import Keepers
from ocs.roof.ends import Ended, Exit
from ocs.roof.layers import SettingsFault
from ocs.roof.place import Place
from ocs.sql import DatabaseFault, engine_of, migrations
from postpaid_bridge.roof import settings as of_bridge
from postpaid_bridge.roof.settings import Settings

__all__ = ["UPGRADE", "Ground", "Options", "away"]

UPGRADE = "python -m postpaid_bridge database upgrade"
T = TypeVar("T")


class Options(NamedTuple):
    """The options that every command takes; None where nothing was given. ``more`` are a command's own, by section and key."""

    config: Path | None = None
    database: str | None = None
    store: str | None = None
    data_dir: Path | None = None


@dataclass(frozen=True)
class Ground:
    """What a command works on; ``ctx.obj`` of every command."""

    options: Options = field(default_factory=Options)
    clock: Clock = field(default_factory=SystemClock)
    more: tuple[tuple[str, str, object], ...] = ()
    """A command's own options: section, key, value."""

    def given(self, section: str, **values: object) -> "Ground":
        """Return this with a command's own options laid over the settings."""
        return Ground(self.options, self.clock, (*self.more, *((section, k, v) for k, v in values.items())))

    @cached_property
    def settings(self) -> Settings:
        """The settings; Ended (usage) names everything that is wrong with them."""
        options: dict[str, dict[str, object]] = {
            "database": {"url": self.options.database},
            "charging": {"store": self.options.store, "data_dir": self.options.data_dir},
        }
        for section, key, value in self.more:
            options.setdefault(section, {})[key] = value
        try:
            return of_bridge.load(self.options.config, options)
        except SettingsFault as fault:
            raise Ended(Exit.USAGE, f"the settings cannot be used:\n{fault}") from fault

    @cached_property
    def charging(self) -> ocs.settings.Settings:
        """The charging server's settings; Ended (usage) names everything that is wrong with them."""
        told = self.settings.charging
        return build.read_settings(Place(told.store or None, told.data_dir, told.config))

    @property
    def audit_folder(self) -> Path:
        """Where the audit log of the bridge's API is."""
        return self.charging.server.data_dir / "bridge-audit"

    @cached_property
    def bare_engine(self) -> Engine:
        """The database, whatever it is at."""
        url = self.settings.database.url
        if not url:
            folder = self.charging.server.data_dir
            build.tighten(folder)
            url = f"sqlite:///{folder / 'bridge.sqlite'}"
        path = make_url(url).database if url.startswith("sqlite") else None
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return engine_of(url)
        except (DatabaseFault, OSError) as fault:
            raise Ended(Exit.USAGE, f"the database cannot be used: {fault}") from fault

    @cached_property
    def engine(self) -> Engine:
        """The database, at head (law 2)."""
        try:
            why = migrations.refusal(self.bare_engine)
        except DBAPIError as fault:
            raise away(fault) from fault
        if why:
            raise Ended(Exit.FOUND_WRONG, f"{why}; run: {UPGRADE}")
        return self.bare_engine

    @property
    def today(self) -> date:
        """The day of now, in the operator's zone."""
        return self.day_of(self.clock.now_ms())

    def day_of(self, at_ms: int) -> date:
        """Return the day of an instant, in the operator's zone."""
        return datetime.fromtimestamp(at_ms // 1000, self.settings.zone).date()

    def charged(self, work: Callable[[Keepers], Awaitable[T]]) -> T:
        """Do work on the charging server's store, opened for this; Ended (store unavailable) where it cannot be."""
        return build.run_with(self.charging, work)


def away(fault: DBAPIError) -> Ended:
    """Tell that the database is away, without the statement and its values."""
    why = str(fault.orig).strip().splitlines() or [type(fault.orig).__name__]
    return Ended(Exit.STORE_UNAVAILABLE, f"the database does not answer: {why[0][:200]}")
