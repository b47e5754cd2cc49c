"""Store addresses: the --store URL, read once, with errors that say what would be right.

Laws
1. A password never shows: not in repr, not in an error, not in a log line. It comes from the URL or from the
   environment variable OCS_STORE__PASSWORD.
2. An address names a way to find the masters, never which node is the master now.
"""

import os
import ssl
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

PASSWORD_VARIABLE = "OCS_STORE__PASSWORD"  # noqa: S105 - the name of the variable, not what it holds
FORMS = (
    "embedded:, redis://[[user]:password@]host[:6379][/database], rediss://host[:6379][?ca=FILE], "
    "unix:///path/to/socket, sentinel://host:26379,host:26379/name, cluster://host:6379,host:6379"
)
SERVER_PORT = 6379
SENTINEL_PORT = 26379
OPTIONS = frozenset({"ca", "certificate", "key", "tls"})


class AddressFault(ValueError):
    """A store address that cannot be used; the text says what would be right and holds no password."""


class Scheme(StrEnum):
    """How the masters are found."""

    EMBEDDED = "embedded"
    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Secret:
    """A text that does not show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"


class Endpoint(NamedTuple):
    """One place to connect to: host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def name(self) -> str:
        """How logs and metrics call it."""
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Tls(NamedTuple):
    """Files of a TLS connection; empty: the system's trusted authorities, no certificate of our own."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Build a context that checks the server's certificate and name."""
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ssl.SSLError) as fault:
            raise AddressFault(f"store address: a TLS file cannot be read: {fault}") from fault
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class Address(NamedTuple):
    """A store address, parsed."""

    scheme: Scheme
    endpoints: tuple[Endpoint, ...] = ()
    master_name: str = ""
    user: str = ""
    password: Secret = Secret("")
    database: int = 0
    tls: Tls | None = None

    @property
    def name(self) -> str:
        """The address as it may be logged."""
        places = ",".join(endpoint.name for endpoint in self.endpoints)
        return f"{self.scheme} {places} {self.master_name}".strip()


def parse(url: str, environment: Mapping[str, str] | None = None) -> Address:
    """Read a store URL; the environment may hold the password. Raises AddressFault."""
    try:
        split = urlsplit(url)
    except ValueError:
        raise AddressFault("store address: an IPv6 host is written [::1]:6379") from None
    if split.scheme == "embedded":
        if split.path or split.netloc:
            raise AddressFault("store address: embedded: takes nothing after it; the folder is --data-dir")
        return Address(Scheme.EMBEDDED)
    if split.scheme not in {"redis", "rediss", "unix", "sentinel", "cluster"}:
        raise AddressFault(f"store address: {split.scheme or 'no scheme'!r} is not known; use one of {FORMS}")
    user, password = _credentials(split, os.environ if environment is None else environment)
    tls = _tls(split)
    if split.scheme == "unix":
        if not split.path.startswith("/") or _places(split):
            raise AddressFault("store address: a unix socket is written unix:///absolute/path")
        socket = Endpoint(path=unquote(split.path))
        return Address(Scheme.SERVER, (socket,), user=user, password=password)
    port = SENTINEL_PORT if split.scheme == "sentinel" else SERVER_PORT
    endpoints = tuple(_endpoint(place, port) for place in _places(split).split(","))
    tail = unquote(split.path.strip("/"))
    if split.scheme == "sentinel":
        if not tail:
            raise AddressFault(
                "store address: the master's name is missing; sentinel://host:port,host:port/name"
            )
        return Address(Scheme.SENTINEL, endpoints, tail, user, password, tls=tls)
    if split.scheme == "cluster":
        if tail:
            raise AddressFault(
                "store address: a cluster has no database number; cluster://host:port,host:port"
            )
        return Address(Scheme.CLUSTER, endpoints, user=user, password=password, tls=tls)
    if len(endpoints) > 1:
        raise AddressFault(
            "store address: redis:// takes one host; for several use sentinel:// or cluster://"
        )
    if tail and not (tail.isascii() and tail.isdigit()):
        raise AddressFault(f"store address: the database is a number, not {tail!r}: redis://host:6379/0")
    return Address(Scheme.SERVER, endpoints, "", user, password, int(tail or "0"), tls)


def _places(split: SplitResult) -> str:
    return split.netloc.rpartition("@")[2]


def _credentials(split: SplitResult, environment: Mapping[str, str]) -> tuple[str, Secret]:
    user, _, password = split.netloc.rpartition("@")[0].partition(":")
    return unquote(user), Secret(unquote(password) or environment.get(PASSWORD_VARIABLE, ""))


def _tls(split: SplitResult) -> Tls | None:
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    unknown = options.keys() - OPTIONS
    if unknown:
        raise AddressFault(
            f"store address: option {min(unknown)!r} is not known; there are {sorted(OPTIONS)}"
        )
    switched = options.pop("tls", "off")
    if switched not in {"on", "off"}:
        raise AddressFault("store address: tls is on or off")
    if split.scheme == "rediss" or switched == "on":
        return Tls(**options)
    if options:
        raise AddressFault("store address: certificates without TLS; use rediss:// or add tls=on")
    return None


def _endpoint(place: str, port: int) -> Endpoint:
    """Read host, host:port, [v6] or [v6]:port."""
    host, number = place, ""
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise AddressFault(f"store address: {place!r} is not [IPv6]:port")
        number = rest[1:]
    elif ":" in place:
        host, _, number = place.rpartition(":")
        if ":" in host:
            raise AddressFault(f"store address: write an IPv6 host in brackets: [{place}]")
    if not host:
        raise AddressFault(f"store address: a host is missing; use one of {FORMS}")
    if number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65_536):
        raise AddressFault(f"store address: the port of {host!r} is a number from 1 to 65535")
    return Endpoint(host, int(number or port))
