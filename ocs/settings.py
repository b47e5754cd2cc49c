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
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from ocs.charging.quota_text import OWN_UNIT, QuotaText

PREFIX = "OCS_"
LEVEL = "__"
# Values of these keys are never shown: a password, or an address that may hold one.
SECRET_KEYS = frozenset({"store.password", "store.url"})
STORE_SCHEMES = ("embedded:", "redis://", "rediss://", "sentinel://", "cluster://", "unix:///")


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


def _listening_host(value: str) -> str:
    if value != "localhost":
        try:
            ip_address(value)
        except ValueError:
            raise ValueError(
                f"{value!r} is no address; write an IPv4 or IPv6 address, or localhost"
            ) from None
    return value


def _network(value: object) -> object:
    """An address without a prefix length is one host; host bits beside a prefix are an error."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"{error}; write an address or a network, such as 10.0.0.0/8 or ::1") from None


def _path_or_none(value: object) -> object:
    return None if value == "" else value


def _store_url(value: str) -> str:
    if not value.startswith(STORE_SCHEMES):
        raise ValueError("is no address of a store; begin it with one of " + " ".join(STORE_SCHEMES))
    return value


Host = Annotated[str, AfterValidator(_listening_host)]
Port = Annotated[int, Field(ge=0, le=65535)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none)]
# RFC 6733 section 4.3.1: an FQDN; RFC 1035 section 2.3.4: 255 octets at most.
Identity = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
]
IdentityOrAny = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^(\*|[A-Za-z0-9_][A-Za-z0-9._-]*)$")
]


class Section(BaseModel):
    """What every section keeps: no unknown key, no change after start, no secret in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


class Tls(Section):
    """TLS for Diameter, on a port of its own; port 0 is no TLS."""

    port: Port = 0
    certificate: OptionalPath = None
    key: OptionalPath = None
    ca: OptionalPath = None
    require_client_certificate: bool = True

    @model_validator(mode="after")
    def _files_when_on(self) -> Self:
        wanted = {"certificate": self.certificate, "key": self.key}
        if self.require_client_certificate:
            wanted["ca"] = self.ca
        if self.port and (missing := [name for name, path in wanted.items() if path is None]):
            raise ValueError(f"TLS on port {self.port} lacks PEM files; set {', '.join(missing)}")
        return self


class AllowedPeer(Section):
    """One row of the allow list: who may connect, and from where."""

    origin_host: IdentityOrAny
    origin_realm: IdentityOrAny = "*"
    address: Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
    tls_required: bool = False


def _loopback_peers() -> tuple[AllowedPeer, ...]:
    return tuple(
        AllowedPeer(origin_host="*", origin_realm="*", address=ip_network(network))
        for network in ("127.0.0.0/8", "::1/128")
    )


class Diameter(Section):
    """The Diameter listener and what it says of itself."""

    host: Host = "127.0.0.1"
    port: Port = 3868
    origin_host: Identity = "ocs.example.org"
    origin_realm: Identity = "example.org"
    product_name: Annotated[str, Field(min_length=1, max_length=64)] = "ocs"
    vendor_id: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 10415
    watchdog_s: Annotated[int, Field(ge=6, le=3600)] = 30  # RFC 3539 section 3.4.1: not below 6 s
    message_octets_max: Annotated[int, Field(ge=4096, le=0xFFFFFC)] = 65536  # RFC 6733 section 3: 24 bits
    inflight_per_peer_max: Annotated[int, Field(ge=1, le=100_000)] = 2000
    reauthorise_per_s: Annotated[int, Field(ge=1, le=10_000)] = 500
    failure_handling: Literal["TERMINATE", "CONTINUE", "RETRY_AND_TERMINATE"] = "TERMINATE"
    session_failover: bool = True
    tls: Tls = Tls()
    peers: Annotated[tuple[AllowedPeer, ...], Field(max_length=10_000)] = Field(
        default_factory=_loopback_peers
    )


class Http(Section):
    """The top-up and operator API."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    auth: Literal["required", "off"] = "required"

    @model_validator(mode="after")
    def _open_on_loopback_only(self) -> Self:
        if self.auth == "off" and not (self.host == "localhost" or ip_address(self.host).is_loopback):
            raise ValueError(
                f'auth is off and host is {self.host}; set auth = "required", or a loopback host'
            )
        return self


class Store(Section):
    """Where balances and sessions live."""

    url: Annotated[str, AfterValidator(_store_url), Field(repr=False)] = "embedded:"
    durability: Literal["always", "everysec"] = "always"
    deadline_ms: Annotated[int, Field(ge=50, le=4500)] = 1000  # CLIENTS 22: an answer within 5 s
    password: SecretStr = SecretStr("")
    partitions: Annotated[int, Field(ge=1, le=4096)] = 256


class Server(Section):
    """The processes and their folder."""

    data_dir: Path = Path("ocs-data")
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    drain_s: Annotated[int, Field(ge=0, le=300)] = 10


class Grants(Section):
    """The most that one service is granted at once, by kind of unit (INTERFACE, Diameter)."""

    octets: Annotated[int, Field(ge=1, le=1 << 40)] = 10_485_760
    seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    events: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class RateMax(Section):
    """The greatest rate of use that is believed, by kind of unit (law 8)."""

    octets_per_s: Annotated[int, Field(ge=1, le=1 << 40)] = 1_250_000_000
    seconds_per_s: Annotated[int, Field(ge=1, le=1000)] = 2
    events_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 100


class Accounting(Section):
    """Offline charging over Rf: accounting records become rated usage."""

    enabled: bool = False
    interim_s: Annotated[int, Field(ge=0, le=86_400)] = 0
    realtime_required: Literal["", "DELIVER_AND_GRANT", "GRANT_AND_STORE", "GRANT_AND_LOSE"] = ""
    age_s: Annotated[int, Field(ge=60, le=2_592_000)] = 259_200
    supervision_s: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400


class Charging(Section):
    """Grants, their life, and the money they are counted in."""

    validity_s: Annotated[int, Field(ge=1, le=86_400)] = 3600
    supervision_factor: Annotated[int, Field(ge=1, le=10)] = 2
    tombstone_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    sweep_s: Annotated[int, Field(ge=1, le=60)] = 1
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    tariffs_dir: OptionalPath = None
    products_dir: OptionalPath = None
    zones_dir: OptionalPath = None
    grants: Grants = Grants()
    rate_max: RateMax = RateMax()
    quota: QuotaText = QuotaText()

    @model_validator(mode="after")
    def _quota_fits(self) -> Self:
        most = (self.grants.octets, self.grants.seconds, self.grants.events)
        if faults := self.quota.faults({name: most[unit - 1] for name, unit in OWN_UNIT.items()}):
            raise ValueError(f"{', '.join(faults)}; set grant and most")
        return self


class Log(Section):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Archive(Section):
    """Where the stream's records go."""

    every_s: Annotated[int, Field(ge=1, le=3600)] = 10
    dir: OptionalPath = None


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
    log: Log = Log()
    archive: Archive = Archive()

    @property
    def archive_folder(self) -> Path:
        """Where records are archived: the folder that is set, else `archive` in the data folder."""
        return self.archive.dir or self.server.data_dir / "archive"

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


def load(file: Path | None = None, options: Mapping[str, Mapping[str, object]] | None = None) -> Settings:
    """The settings from a file (default: the shipped config/ocs.toml), the environment and options.

    `options` holds what was given on the command line, as {"diameter": {"port": 0}}; None means not given.
    Raises SettingsFault with everything that is wrong.
    """
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
    try:
        settings = Settings(**tree)
    except ValidationError as fault:
        problems += [_problem(error, origins) for error in fault.errors(include_url=False)]
    else:
        if not problems:
            return settings
    raise SettingsFault(tuple(problems))


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
        field = model.model_fields.get(name) if hasattr(model, "model_fields") else None
        model = next(iter(get_args(field.annotation)), field.annotation) if field else None
    known = sorted(getattr(model, "model_fields", None) or Settings.model_fields)
    close = difflib.get_close_matches(key[-1], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here are {', '.join(known)}"
