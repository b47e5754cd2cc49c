"""The settings of the charging server: one typed tree, read once by the roof and handed down.

Laws of this room:
- From the file, then from environment variables `OCS_…` with `__` between levels, then from options (INTERFACE).
- An unknown key is an error. All errors are told at once, each with where it stands and what would be right.
- Secrets, and addresses that may hold one, are never repeated in an error or a representation.
- Every key stands, explained, in config/ocs.toml with the default that stands here; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import SettingsConfigDict

from ocs.roof.action_sections import Actions
from ocs.roof.event_sections import Events
from ocs.roof.layers import LEVEL, Form, Key, Laid, Problem, SettingsFault, Tree, judged, read_laid
from ocs.roof.sections import (
    Accounting,
    Archive,
    Backups,
    Charging,
    Diameter,
    Http,
    Log,
    Server,
    Store,
    Vouchers,
)
from ocs.roof.topup_sections import TopupOrders

__all__ = ["Key", "Layers", "Problem", "Settings", "SettingsFault", "config_folder", "load", "read_layers"]

PREFIX = "OCS_"
FORM = Form(
    PREFIX,
    "ocs.toml",
    # never shown: a password, or an address that may hold one
    secrets=frozenset(
        {"events.smtp.password", "events.sms.secret", "store.password", "store.url", "vouchers.secret"}
    ),
    options={"store.url": "store", "server.data_dir": "data-dir", "server.workers": "workers"},
)


class Settings(Tree):
    """The whole tree; built by `load`, never by reading the environment on the side."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=LEVEL,
        hide_input_in_errors=True,
        validate_default=True,
    )

    diameter: Diameter = Diameter()
    http: Http = Http()
    store: Store = Store()
    server: Server = Server()
    charging: Charging = Charging()
    accounting: Accounting = Accounting()
    vouchers: Vouchers = Vouchers()
    log: Log = Log()
    archive: Archive = Archive()
    events: Events = Events()
    backup: Backups = Backups()
    actions: Actions = Actions()
    topup_orders: TopupOrders = TopupOrders()

    @property
    def archive_folder(self) -> Path:
        """Where records are archived: the folder that is set, else `archive` in the data folder."""
        return self.archive.dir or self.server.data_dir / "archive"

    @property
    def audit_folder(self) -> Path:
        """Where the audit log of the HTTP API is: in the data folder."""
        return self.server.data_dir / "audit"

    @property
    def backups_folder(self) -> Path:
        """Where backups are put: the folder that is set, else `backups` in the data folder."""
        return self.backup.dir or self.server.data_dir / "backups"

    @property
    def notices_folder(self) -> Path:
        """Where texts of mails and short messages are read: the folder that is set, else the sample operator's."""
        return self.events.texts_dir or config_folder() / "notices"

    @property
    def tariffs_folder(self) -> Path:
        """Where tariffs are read: the folder that is set, else the sample operator's."""
        return self.charging.tariffs_dir or config_folder() / "tariffs"

    @property
    def products_folder(self) -> Path:
        """Where products and bonuses are read: the folder that is set, else the sample operator's."""
        return self.charging.products_dir or config_folder() / "products"

    @property
    def zones_folder(self) -> Path:
        """Where numbering plans and their tables are read: the folder that is set, else the sample operator's."""
        return self.charging.zones_dir or config_folder() / "zones"


def config_folder() -> Path:
    """The shipped config/: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "config"
    return installed if installed.is_dir() else package.parent / "config"


class Layers(Laid):
    """What file, environment and options say of the charging server, not judged yet."""

    __slots__ = ()

    def settings(self) -> Settings:
        """Judge them; raises SettingsFault with everything that is wrong."""
        return judged(Settings, FORM, self)


def load(file: Path | None = None, options: Mapping[str, Mapping[str, object]] | None = None) -> Settings:
    """The settings from a file (default: the shipped config/ocs.toml), the environment and options.

    `options` holds what was given on the command line, as {"diameter": {"port": 0}}; None means not given.
    Raises SettingsFault with everything that is wrong.
    """
    return read_layers(file, options).settings()


def read_layers(
    file: Path | None = None, options: Mapping[str, Mapping[str, object]] | None = None
) -> Layers:
    """Read what `load` judges."""
    return Layers(*read_laid(Settings, FORM, file or config_folder() / "ocs.toml", options))
