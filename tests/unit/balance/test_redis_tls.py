"""A packaged Redis, another server than the embedded one: over TLS with certificates on both sides, and with our library."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocs.balance.addresses import parse
from ocs.balance.audit import audit
from ocs.balance.functions import library
from ocs.balance.link import StoreFault
from ocs.balance.store import Store
from tests.certificates import Authority
from tests.charged_store import StoreRoom
from tests.real_valkey import free_port
from tests.unit.balance.books import Network

SERVER = shutil.which("redis-server")
pytestmark = [
    pytest.mark.needs_system,
    pytest.mark.skipif(SERVER is None, reason="no redis-server on the PATH (Debian's package redis-server)"),
]


class TlsRedis:
    """A redis-server that speaks TLS only and asks for a certificate; it has the `url` of a RealValkey."""

    def __init__(self, folder: Path) -> None:
        assert SERVER is not None
        authority = Authority(folder / "certificates")
        server, client = authority.pair("localhost"), authority.pair("ocs.example.org")
        self.port = free_port()
        self.bare_url = f"rediss://localhost:{self.port}?ca={authority.certificate}"
        self.url = f"{self.bare_url}&certificate={client.certificate}&key={client.key}"
        settings = {
            "port": 0, "tls-port": self.port, "bind": "127.0.0.1", "dir": str(folder), "save": '""',
            "appendonly": "yes", "appendfsync": "always", "tls-cert-file": str(server.certificate),
            "tls-key-file": str(server.key), "tls-ca-cert-file": str(authority.certificate),
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value).strip('"'))]
        self._process = subprocess.Popen([SERVER, *words], stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[TlsRedis]:
    server = TlsRedis(tmp_path)
    yield server
    server.stop()


def _room(server: TlsRedis) -> StoreRoom:
    give_up = time.monotonic() + 10
    while True:
        try:
            return StoreRoom(server)  # type: ignore[arg-type]  # of a server it wants the url
        except StoreFault:
            if time.monotonic() > give_up:
                raise


def test_a_session_is_charged_on_a_redis_behind_tls(redis_server: TlsRedis) -> None:
    room = _room(redis_server)
    net = Network(room)

    net.session()

    book = net.book()
    assert (book.posted_micros, book.pending_micros, book.sessions_open) == (20_000, 0, 0)
    assert net.run(audit(net.charged.parts)).faults == []
    room.close()


def test_a_client_without_certificate_is_not_served(redis_server: TlsRedis) -> None:
    room = _room(redis_server)
    store = Store(parse(redis_server.bare_url, {}), library=library(), title="test")

    with pytest.raises(StoreFault):
        room.run(store.open(wait_ms=1_000))
    room.close()
