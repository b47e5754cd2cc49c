"""The sections of the settings: each key with its type, its bounds and its default; config/ocs.toml explains them.

What holds a section together is said in the section. How the tree is read, and what is told of its faults: ocs/settings.py.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from ocs.api_limits import API_BURST_MAX, API_RATE_MAX, VOUCHER_DIGITS_MAX, VOUCHER_DIGITS_MIN
from ocs.balance.voucher_codes import SECRET_CHARS_MIN
from ocs.charging.quota_text import OWN_UNIT, QuotaText
from ocs.diameter.client_text import KNOWN_CLIENTS, ClientText, ProfileName, with_known_clients
from ocs.limits import GRANT_MICROS_MAX
from ocs.money import AmountError, format_amount, parse_amount

STORE_SCHEMES = ("embedded:", "redis://", "rediss://", "sentinel://", "cluster://", "unix:///")


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
    profile: str = ""


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
    profiles: Annotated[
        dict[ProfileName, ClientText], BeforeValidator(with_known_clients), Field(max_length=100)
    ] = KNOWN_CLIENTS

    @model_validator(mode="after")
    def _profiles_are_there(self) -> Self:
        for place, peer in enumerate(self.peers):
            if peer.profile and peer.profile not in self.profiles:
                known = ", ".join(sorted(self.profiles))
                raise ValueError(f"peers[{place}].profile is {peer.profile!r}; known are {known}")
        return self


class HttpTls(Section):
    """TLS for HTTP, on its one port; without a certificate there is none."""

    certificate: OptionalPath = None
    key: OptionalPath = None
    ca: OptionalPath = None
    require_client_certificate: bool = False
    minimum: Literal["1.2", "1.3"] = "1.2"

    @model_validator(mode="after")
    def _whole_or_not_there(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS wants a PEM file for certificate and one for key; set both")
        if self.require_client_certificate and self.ca is None:
            raise ValueError("client certificates are required, and nothing says whose; set ca")
        if self.certificate is None and (self.ca is not None or self.require_client_certificate):
            raise ValueError("ca is for TLS, and there is none; set certificate and key")
        return self


class Http(Section):
    """The top-up and operator API."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    auth: Literal["required", "off"] = "required"
    plain: bool = False
    rate: Annotated[int, Field(ge=0, le=API_RATE_MAX)] = 200
    burst: Annotated[int, Field(ge=1, le=API_BURST_MAX)] = 400
    token_s: Annotated[int, Field(ge=10, le=86_400)] = 900
    proxies: Annotated[
        tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], Field(max_length=100)
    ] = ()
    audit_days: Annotated[int, Field(ge=0, le=36_525)] = 0
    nice: Annotated[int, Field(ge=0, le=19)] = 5
    tls: HttpTls = HttpTls()

    @model_validator(mode="after")
    def _open_on_loopback_only(self) -> Self:
        if self.host == "localhost" or ip_address(self.host).is_loopback:
            return self
        if self.auth == "off":
            raise ValueError(
                f'auth is off and host is {self.host}; set auth = "required", or a loopback host'
            )
        if self.tls.certificate is None and not self.plain:
            raise ValueError(
                f"host is {self.host} and there is no TLS, so that keys and balances would cross the network for all to read; set "
                "http.tls.certificate and http.tls.key, or plain = true where what stands before it speaks TLS"
            )
        return self


class Store(Section):
    """Where balances and sessions live."""

    url: Annotated[str, AfterValidator(_store_url), Field(repr=False)] = "embedded:"
    durability: Literal["always", "everysec"] = "always"
    deadline_ms: Annotated[int, Field(ge=50, le=4500)] = 1000  # CLIENTS 22: an answer within 5 s
    password: SecretStr = SecretStr("")
    partitions: Annotated[int, Field(ge=1, le=4096)] = 256
    replicas: Annotated[int, Field(ge=0, le=16)] = 0

    @model_validator(mode="after")
    def _has_replicas(self) -> Self:
        if self.replicas and self.url.startswith("embedded:"):
            raise ValueError(
                f"replicas is {self.replicas}, and the embedded store has none; set url, or replicas = 0"
            )
        return self


class Server(Section):
    """The processes and their folder."""

    data_dir: Path = Path("ocs-data")
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    drain_s: Annotated[int, Field(ge=0, le=300)] = 10


def _money(text: str) -> str:
    try:
        micros = parse_amount(text)
    except AmountError as fault:
        raise ValueError(str(fault)) from None
    if not 0 < micros <= GRANT_MICROS_MAX:
        raise ValueError(
            f"{text} is not above zero, or above {format_amount(GRANT_MICROS_MAX)}; write an amount, such as 5.00"
        )
    return text


MoneyText = Annotated[str, AfterValidator(_money)]


class Grants(Section):
    """The most that one service is granted at once, by kind of unit (INTERFACE, Diameter)."""

    octets: Annotated[int, Field(ge=1, le=1 << 40)] = 10_485_760
    seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    events: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    money: MoneyText = "1.00"
    money_most: MoneyText = "100.00"

    @model_validator(mode="after")
    def _most_is_more(self) -> Self:
        if parse_amount(self.money) > parse_amount(self.money_most):
            raise ValueError(f"money is {self.money}, above money_most, {self.money_most}")
        return self


class RateMax(Section):
    """The greatest rate of use that is believed, by kind of unit (law 8)."""

    octets_per_s: Annotated[int, Field(ge=1, le=1 << 40)] = 1_250_000_000
    seconds_per_s: Annotated[int, Field(ge=1, le=1000)] = 2
    events_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    money_per_s: MoneyText = "10.00"


class Accounting(Section):
    """Offline charging over Rf: accounting records become rated usage."""

    enabled: bool = False
    interim_s: Annotated[int, Field(ge=0, le=86_400)] = 0
    realtime_required: Literal["", "DELIVER_AND_GRANT", "GRANT_AND_STORE", "GRANT_AND_LOSE"] = ""
    age_s: Annotated[int, Field(ge=60, le=2_592_000)] = 259_200
    supervision_s: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400


def _long_or_none(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and len(value.get_secret_value()) < SECRET_CHARS_MIN:
        raise ValueError(f"is too short; make it at least {SECRET_CHARS_MIN} characters by chance")
    return value


class Vouchers(Section):
    """Vouchers: their codes, the secret that these are hashed under, and what wrong ones lead to."""

    secret: Annotated[SecretStr, AfterValidator(_long_or_none)] = SecretStr("")
    digits: Annotated[int, Field(ge=VOUCHER_DIGITS_MIN, le=VOUCHER_DIGITS_MAX)] = 16
    tries: Annotated[int, Field(ge=0, le=1_000)] = 5
    window_s: Annotated[int, Field(ge=1, le=2_592_000)] = 3_600
    lock_s: Annotated[int, Field(ge=1, le=2_592_000)] = 3_600
    channel_tries: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    channel_window_s: Annotated[int, Field(ge=1, le=2_592_000)] = 600
    channel_lock_s: Annotated[int, Field(ge=1, le=2_592_000)] = 300


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
    refunds_without_reference: Literal["same_session", "newest"] = "same_session"
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


class Backups(Section):
    """Where backups go, and how far back the living store's own history reaches."""

    dir: OptionalPath = None
    keep: Annotated[int, Field(ge=0, le=10_000)] = 0
    history_h: Annotated[int, Field(ge=0, le=8_760)] = 0
    history_gb: Annotated[int, Field(ge=1, le=100_000)] = 20
