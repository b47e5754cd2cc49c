"""Where a webhook may go: callbacks are judged when they are subscribed and again at every try, by the addresses that they lead to.

Laws
1. Public addresses are allowed unless the settings say otherwise, others only where the settings list their network: nobody makes the
   server speak to the inside of its own network (server-side request forgery).
2. https everywhere, but http where every address is loopback (and listed).
3. A name is looked up once for each try; the connection goes to the address that was judged, whatever the name says a moment later.
   An address inside an address (IPv4-mapped, 6to4, NAT64) is judged by both.
4. No redirect is followed, no proxy is used.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ocs.api_limits import CALLBACK_CHARS_MAX, CALLBACK_LOOKUPS_MAX

IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a host up: its addresses as text; raises OSError."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_NO_PUBLIC: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "::/96", "64:ff9b:1::/48", "3fff::/20", "5f00::/16", "fec0::/10"),
    )
)
"""Not public, whatever the standard library of this Python says: protocol assignments (RFC 6890), relays of 6to4 (RFC 7526), IPv4-compatible
(RFC 4291 section 2.5.5.1), NAT64 of a network's own (RFC 8215), documentation (RFC 9637), segment identifiers (RFC 9602), site-local (RFC 3879)."""
_PORTS: Final = {"https": 443, "http": 80}


class CallbackRefused(ValueError):
    """A callback that may not be used; the message says why and what would be right, and names no address of ours."""


class Target(NamedTuple):
    """A callback with the address that its host has now."""

    url: SplitResult
    host: str
    port: int
    address: IpAddress


class Callbacks:
    """Judges callbacks by the settings."""

    __slots__ = ("_networks", "_public", "_resolve")

    def __init__(
        self, networks: Sequence[Network], *, public: bool = True, resolve: Resolve | None = None
    ) -> None:
        self._networks = tuple(networks)
        self._public = public
        self._resolve = resolve or Lookup()

    async def target(self, callback: str) -> Target:
        """Judge a callback and return where it leads now; raises CallbackRefused, and OSError where its name is unknown for now."""
        url, host, port = split(callback)
        try:
            found: Sequence[IpAddress] = [ip_address(host)]
        except ValueError:
            found = [ip_address(each.partition("%")[0]) for each in await self._resolve(host, port)]
        if not found:
            raise OSError(f"{host} has no address")
        for each in found:
            if not all(self._allowed(one) for one in _inside(each)):
                raise CallbackRefused(
                    "callback: leads to a network that callbacks may not lead to; use a public address, or let the operator "
                    "list the network (events.callback_networks)"
                )
        if url.scheme == "http" and not all(each.is_loopback for each in found):
            raise CallbackRefused("callback: http is for loopback alone; write https")
        return Target(url, host, port, found[0])

    def _allowed(self, address: IpAddress) -> bool:
        if any(address in network for network in self._networks if network.version == address.version):
            return True
        if any(address in network for network in _NO_PUBLIC if network.version == address.version):
            return False
        return self._public and address.is_global and not address.is_multicast


def split(callback: str) -> tuple[SplitResult, str, int]:
    """Take a callback apart: URL, host and port; raises CallbackRefused for what is no such URL."""
    if len(callback) > CALLBACK_CHARS_MAX or not callback.isascii() or not callback.isprintable():
        raise CallbackRefused(
            f"callback: write a URL of at most {CALLBACK_CHARS_MAX} visible ASCII characters"
        )
    try:
        url = urlsplit(callback)
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    if url.scheme not in _PORTS or not host or " " in callback or port == 0:
        raise CallbackRefused("callback: write a URL such as https://example.com/ocs")
    if url.username is not None or url.password is not None or url.fragment:
        raise CallbackRefused("callback: no user, password or fragment may stand in it")
    return url, host, port or _PORTS[url.scheme]


def _inside(address: IpAddress) -> list[IpAddress]:
    """Return an address and those that it carries: all of them have to be allowed."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]  # the kernel connects to that one
    carried: list[IpAddress] = [address]
    if address.sixtofour is not None:
        carried.append(address.sixtofour)
    if address in _NAT64:
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return carried


class Lookup:
    """Looks names up in threads of its own, one for a name at a time: a name server that is slow keeps nobody else waiting, however
    many ask for its names, since there are as many threads as subscriptions.
    """

    __slots__ = ("_look", "_threads", "_under_way")

    def __init__(self, look: Callable[[str, int], list[str]] | None = None) -> None:
        self._look = look or _addresses
        self._threads = ThreadPoolExecutor(CALLBACK_LOOKUPS_MAX, thread_name_prefix="lookup")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host; raises OSError."""
        asked = host, port
        if (found := self._under_way.get(asked)) is None:
            loop = asyncio.get_running_loop()
            found = self._under_way[asked] = loop.run_in_executor(self._threads, self._look, host, port)
            found.add_done_callback(lambda done: self._ended(asked, done))
        return await asyncio.shield(found)  # who gives up does not end it for the others, nor its thread

    def _ended(self, asked: tuple[str, int], done: "asyncio.Future[list[str]]") -> None:
        del self._under_way[asked]
        if not done.cancelled():
            done.exception()  # those who asked may all have given up


def _addresses(host: str, port: int) -> list[str]:
    """Look a name up, and wait for it; raises OSError."""
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as fault:
        raise OSError(f"no name of a host: {fault}") from fault
    return [str(row[4][0]) for row in rows]
