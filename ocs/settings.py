"""The settings of the charging server: one typed tree, read once by the roof and handed down.

Laws of this room:
- From the file, then from environment variables `OCS_…` with `__` between levels, then from options (INTERFACE).
- An unknown key is an error. All errors are told at once, each with where it stands and what would be right.
- Secrets, and addresses that may hold one, are never repeated in an error or a representation.
- Every key stands, explained, in config/ocs.toml with the default that stands here; a test holds the two equal.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import (
    ValidationError,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from ocs.roof.action_sections import Actions
from ocs.roof.event_sections import Events
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

PREFIX = "OCS_"
LEVEL = "__"
# Values of these keys are never shown: a password, or an address that may hold one.
SECRET_KEYS = frozenset(
    {"events.smtp.password", "events.sms.secret", "store.password", "store.url", "vouchers.secret"}
)


# Options of the command line that are not simply --section-key.
OPTIONS = {"store.url": "store", "server.data_dir": "data-dir", "server.workers": "workers"}

Key = tuple[str, ...]


class Problem(NamedTuple):
    """One thing wrong with the settings."""

    where: str  # "FILE", "environment OCS_X__Y", "option --x"
    key: str  # "diameter.port"
    wrong: str  # what is wrong, without the value of a secret
    right: str  # what would be right

    def __str__(self) -> str:
        """One line for an operator."""
        return f"{self.where}: {self.key}: {self.wrong}; {self.right}"


class SettingsFault(Exception):
    """The settings cannot be used; `problems` holds everything that is wrong with them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class Settings(BaseSettings):
    """The whole tree; built by `load`, never by reading the environment on the side."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=LEVEL,
        hide_input_in_errors=True,
        validate_default=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature, here and below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the tree as `load` has laid it: it asks each source itself, to say where an error stands."""
        return (init_settings,)

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


class Layers(NamedTuple):
    """What file, environment and options say, laid over each other and not judged yet: plain and picklable.

    `origins` tells of each key where it was set, for errors.
    """

    tree: dict[str, Any]
    origins: dict[Key, str]
    problems: tuple[Problem, ...] = ()

    def settings(self) -> Settings:
        """Judge them; raises SettingsFault with everything that is wrong."""
        problems = list(self.problems)
        try:
            settings = Settings(**self.tree)
        except ValidationError as fault:
            problems += [_problem(error, self.origins) for error in fault.errors(include_url=False)]
        else:
            if not problems:
                return settings
        raise SettingsFault(tuple(problems))


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
    path = file or config_folder() / "ocs.toml"
    problems: list[Problem] = []
    layers = [
        (str(path), _from_file(path, problems)),
        ("environment", _from_environment(problems)),
        ("option", _without_none(options or {})),
    ]
    tree: dict[str, Any] = {}
    origins: dict[Key, str] = {}
    for layer, values in layers:
        tree = _laid_over(tree, values)
        origins |= {key: _origin(layer, key) for key in _keys(values)}
    return Layers(tree, origins, tuple(problems))


def _from_file(path: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        wrong, right = f"cannot be read: {error.strerror}", "name a readable file with --config"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        wrong, right = f"is not TOML: {error}", "write it as the shipped config/ocs.toml is written"
    problems.append(Problem(str(path), "(the file)", wrong, right))
    return {}


def _from_environment(problems: list[Problem]) -> dict[str, Any]:
    """What the environment says, read by pydantic-settings; a variable that it passes over is a mistyped name."""
    try:
        values = EnvSettingsSource(Settings)()
    except SettingsError as error:
        right = "write a table or list as JSON"
        problems.append(Problem("environment", f"{PREFIX}…", str(error), right))
        return {}
    known = set(_keys(values))
    for name in sorted(os.environ):
        key = tuple(name[len(PREFIX) :].lower().split(LEVEL))
        if name.startswith(PREFIX) and key not in known:
            problems.append(Problem(f"environment {name}", ".".join(key), "unknown key", _nearest(key)))
    return values


def _without_none(options: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    given = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in options.items()
    }
    return {section: values for section, values in given.items() if values}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two layers as one: tables are joined, anything else of the upper layer covers the lower."""
    both = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            both[name] = _laid_over(below[name], above[name])
    return both


def _keys(values: Mapping[str, Any], above: Key = ()) -> Iterator[Key]:
    """The key of every table and value of a tree."""
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, Mapping):
            yield from _keys(value, (*above, name))


def _origin(layer: str, key: Key) -> str:
    """Where a key was set, in the words of whoever set it."""
    if layer == "environment":
        return f"environment {PREFIX}{LEVEL.join(key).upper()}"
    if layer == "option":
        return "option --" + OPTIONS.get(".".join(key), "-".join(key).replace("_", "-"))
    return layer


def _problem(error: ErrorDetails, origins: Mapping[Key, str]) -> Problem:
    """What an operator needs of one of pydantic's errors; a secret's value stays out of it."""
    names = tuple(str(part) for part in error["loc"])
    where = next((origins[names[:n]] for n in range(len(names), 0, -1) if names[:n] in origins), "defaults")
    key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(names))
    message, value = error["msg"].removeprefix("Value error, "), error["input"]
    if error["type"] == "extra_forbidden":
        return Problem(where, key, "unknown key", _nearest(names))
    if error["type"] == "missing":
        return Problem(where, key, "missing", "it has no default: set it")
    if error["type"] == "value_error":
        wrong, _, right = message.partition("; ")
        return Problem(where, key, wrong, right)
    shown = "has a wrong value" if key in SECRET_KEYS or isinstance(value, dict | list) else f"is {value!r}"
    return Problem(where, key, shown, message[:1].lower() + message[1:])


def _nearest(key: Key) -> str:
    """What may have been meant by an unknown key."""
    model: Any = Settings
    for name in key[:-1]:
        if name.isdecimal():
            continue
        if get_origin(model) is dict:
            model = get_args(model)[1]  # the name is whoever's choice
            continue
        field = model.model_fields.get(name) if hasattr(model, "model_fields") else None
        of_many = field is not None and get_origin(field.annotation) is tuple
        model = get_args(field.annotation)[0] if field and of_many else field.annotation if field else None
    known = sorted(getattr(model, "model_fields", None) or Settings.model_fields)
    close = difflib.get_close_matches(key[-1], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here are {', '.join(known)}"
