"""What every answer carries, and whose requests are answered at all where nobody has to show a key.

Laws
1. No answer is kept by a cache, taken for another type, or shown inside another page; over TLS a browser keeps to TLS (RFC 6797).
2. Where the API runs without keys (`http.auth = "off"`, on loopback), a browser must not be its burglar: only a Host that is this
   machine's own name is answered (421, RFC 9110 section 15.5.20; a stranger's name that was made to point to loopback is "DNS
   rebinding"), and only requests of pages that came from there (Origin; 403).
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from ocs.http.problems import refuse

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_FIXED: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_TLS: Final = (b"strict-transport-security", b"max-age=31536000")


class Headers:
    """An ASGI application around another one; ``hosts`` are those that are answered, None for any."""

    def __init__(self, app: Any, hosts: Iterable[str] | None = None, *, secured: bool = False) -> None:
        self._app = app
        self._hosts = frozenset(hosts) if hosts is not None else None
        self._fixed = (*_FIXED, _TLS) if secured else _FIXED

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = [*message.get("headers", ()), *self._fixed]
                if not any(name.lower() == b"cache-control" for name, _ in given):
                    given.append(_NO_STORE)
                message = {**message, "headers": given}
            await send(message)

        if (fault := self._fault(scope)) is not None:
            await refuse(fault, scope, receive, sent)
        else:
            await self._app(scope, receive, sent)

    def _fault(self, scope: Any) -> HTTPException | None:
        """Return why a request is not answered, or None (law 2)."""
        if self._hosts is None:
            return None
        told = [
            (name, value.decode("latin-1"))
            for name, value in scope["headers"]
            if name in {b"host", b"origin"}
        ]
        hosts = [host_of(f"//{value}") for name, value in told if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return HTTPException(
                421, "the API runs without keys, and answers to this machine's own name alone"
            )
        if any(host_of(value) not in self._hosts for name, value in told if name == b"origin"):
            return HTTPException(403, "the API runs without keys, and answers to no page from elsewhere")
        return None


def host_of(address: str) -> str:
    """Return the host of an address, in lower case, without port; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
