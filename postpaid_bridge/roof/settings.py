"""The settings of the bridge: one typed tree, read once by the roof and handed down.

Laws
1. From the file (config/bridge.toml), then from environment variables `BRIDGE_…` with `__` between levels, then from options.
2. What is wrong is told all at once, as of the charging server (ocs/roof/layers.py).
3. Every key stands, explained, in config/bridge.toml with the default that stands here; a test holds the two equal.
4. The charging server's own settings are read from its own file: where its store is, how it is laid out, its tariffs and archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from ocs.roof.layers import LEVEL, Form, SettingsFault, Tree, judged, read_laid
from ocs.roof.sections import STORE_SCHEMES, Http, Log, OptionalPath, Port, Section
from ocs.settings import config_folder
from ocs.sql import DatabaseFault, engine_of
from postpaid_bridge.roof.document_sections import Documents, Mail, Seller
from postpaid_bridge.run import OutlierRules
from postpaid_bridge.run import Settings as RunSettings

__all__ = ["Settings", "SettingsFault", "load"]

PREFIX = "BRIDGE_"
FORM = Form(
    PREFIX,
    "bridge.toml",
    secrets=frozenset(
        {"database.url", "charging.store", "run.broker", "mail.password"}
    ),  # a URL may hold a password
    options={
        "database.url": "database",
        "charging.store": "store",
        "charging.data_dir": "data-dir",
        "http.host": "http-host",
        "http.port": "http-port",
    },
)


def _database(value: str) -> str:
    if value:
        try:
            engine_of(value).dispose()
        except DatabaseFault as fault:
            raise ValueError(f"cannot be used; {fault}") from None
    return value


def _store(value: str) -> str:
    if value and not value.startswith(STORE_SCHEMES):
        raise ValueError("is no address of a store; begin it with one of " + " ".join(STORE_SCHEMES))
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"{value!r} is no time zone; write one of the tz database, such as Europe/Berlin")
    return value


def _time_of_day(value: str) -> str:
    if value:
        try:
            read = time.fromisoformat(value)
        except ValueError:
            read = None
        if read is None or len(value) != len("04:30"):
            raise ValueError(f'{value!r} is no time of day; write "04:30", or "" for never')
    return value


def _ibans(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        return value
    from schwifty import IBAN  # noqa: PLC0415 - its list of banks is large

    read = [IBAN(each, allow_invalid=True) for each in value]
    if any(not each.is_valid for each in read):
        raise ValueError(
            "is no IBAN; write the bank accounts on whose statements payments come, such as DE89370400440532013000"
        )
    return tuple(str(each) for each in read)


class Database(Section):
    """Where customers, usage, journal and bills are."""

    url: Annotated[str, AfterValidator(_database), Field(repr=False)] = ""


class Charging(Section):
    """Which charging server the bridge is of."""

    config: OptionalPath = None
    store: Annotated[str, AfterValidator(_store), Field(repr=False)] = ""
    data_dir: OptionalPath = None


class BridgeHttp(Http):
    """The bridge's API: as the charging server's, on a port of its own."""

    port: Port = 8082


class Operator(Section):
    """Whose days, money and catalogue these are."""

    zone: Annotated[str, AfterValidator(_zone)] = "Europe/Berlin"
    plans_dir: OptionalPath = None
    taxes: OptionalPath = None
    cycles: OptionalPath = None


class Intake(Section):
    """How usage comes in."""

    enabled: bool = True
    group: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")] = "postpaid-bridge"
    records_at_once: Annotated[int, Field(ge=1, le=100_000)] = 4_000
    again_s: Annotated[int, Field(ge=1, le=86_400)] = 30


class Outbox(Section):
    """How what bills and payments move reaches the charging server."""

    enabled: bool = True
    every_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    at_once: Annotated[int, Field(ge=1, le=1_000)] = 64
    lease_s: Annotated[int, Field(ge=5, le=3_600)] = 30
    pause_s_max: Annotated[int, Field(ge=1, le=86_400)] = 300


class Dunning(Section):
    """By which rules, and when, who does not pay is dunned."""

    dir: OptionalPath = None
    at: Annotated[str, AfterValidator(_time_of_day)] = ""
    relief_s: Annotated[float, Field(ge=0.1, le=3_600)] = 2.0


class Reconcile(Section):
    """When the charging server's balances are compared with the journal."""

    at: Annotated[str, AfterValidator(_time_of_day)] = "04:30"
    accounts_at_once: Annotated[int, Field(ge=1, le=10_000)] = 500


def _broker(value: str) -> str:
    if value and not value.startswith(("redis://", "rediss://", "unix://", "redis+socket://")):
        raise ValueError("is no Redis; begin it with redis:// or rediss://")
    return value


class Run(Section):
    """How bill runs go."""

    series: Annotated[str, Field(max_length=8, pattern=r"^[A-Z0-9]*$")] = ""
    zero_bills: bool = True
    late_days: Annotated[int, Field(ge=0, le=366)] = 90
    chunk: Annotated[int, Field(ge=1, le=1_000)] = 100
    outlier_above: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    outlier_change_percent: Annotated[int, Field(ge=0, le=10_000)] = 100
    outlier_change_above: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    broker: Annotated[str, AfterValidator(_broker), Field(repr=False)] = ""

    @property
    def of_runs(self) -> RunSettings:
        """What a run is planned with, and keeps."""
        return RunSettings(self.series, self.zero_bills, self.late_days)

    @property
    def of_outliers(self) -> OutlierRules:
        """What a preview points at."""
        return OutlierRules(
            self.outlier_above * 100, self.outlier_change_percent, self.outlier_change_above * 100
        )


class Bank(Section):
    """Whose statements are taken in."""

    accounts: Annotated[tuple[str, ...], AfterValidator(_ibans)] = ()


class Settings(Tree):
    """The whole tree; built by ``load``."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=LEVEL,
        hide_input_in_errors=True,
        validate_default=True,
    )

    database: Database = Database()
    charging: Charging = Charging()
    http: BridgeHttp = BridgeHttp()
    operator: Operator = Operator()
    intake: Intake = Intake()
    outbox: Outbox = Outbox()
    dunning: Dunning = Dunning()
    reconcile: Reconcile = Reconcile()
    run: Run = Run()
    bank: Bank = Bank()
    seller: Seller = Seller()
    documents: Documents = Documents()
    mail: Mail = Mail()
    log: Log = Log()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which the operator's days begin and end."""
        return ZoneInfo(self.operator.zone)

    @property
    def plans_folder(self) -> Path:
        """Where plans are read: the folder that is set, else the sample operator's."""
        return self.operator.plans_dir or config_folder() / "plans"

    @property
    def taxes_file(self) -> Path:
        """Where tax classes are read: the file that is set, else the sample operator's."""
        return self.operator.taxes or config_folder() / "taxes.yaml"

    @property
    def cycles_file(self) -> Path:
        """Where cycles are read: the file that is set, else the sample operator's."""
        return self.operator.cycles or config_folder() / "cycles.yaml"


def load(file: Path | None = None, options: Mapping[str, Mapping[str, object]] | None = None) -> Settings:
    """The settings from a file (default: the shipped config/bridge.toml), the environment and options.

    Raises SettingsFault with everything that is wrong.
    """
    return judged(Settings, FORM, read_laid(Settings, FORM, file or config_folder() / "bridge.toml", options))
