import asyncio
import gc
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ocs.balance import link as link_module
from ocs.balance.addresses import parse
from ocs.balance.link import (
    Demands,
    Link,
    LinkDown,
    NotMaster,
    StoreError,
    StoreFault,
    StoreRefused,
    pack,
)
from tests.cutting_proxy import CuttingProxy
from tests.real_valkey import RealValkey


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return uvloop.run(main())


async def linked(url: str, **options: Any) -> Link:
    address = parse(url, {})
    link = Link(address.endpoints[0], address, **options)
    await link.connect()
    return link


class Replies(list[Any]):
    """Collects what `done` gets; `until(n)` waits for n of them."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()

    def __call__(self, reply: Any) -> None:
        self.append(reply)
        self.arrived.set()

    async def until(self, count: int) -> None:
        while len(self) < count:
            self.arrived.clear()
            await self.arrived.wait()


def kinds(replies: Replies) -> list[str]:
    return [type(reply).__name__ for reply in replies]


def test_replies_come_in_the_order_of_the_calls(valkey: RealValkey) -> None:
    async def scene() -> list[Any]:
        link = await linked(valkey.url)
        replies = Replies()
        for _ in range(1000):
            link.call(pack("INCR", "n"), replies)
        await replies.until(1000)
        link.close()
        return replies

    assert list(range(1, 1001)) == run(scene())


def test_calls_of_one_turn_leave_in_one_write(valkey: RealValkey) -> None:
    async def scene() -> list[bytes]:
        link = await linked(valkey.url)
        replies, writes = Replies(), []
        transport: Any = link._transport

        class Watching:
            def write(self, octets: bytes) -> None:
                writes.append(octets)
                transport.write(octets)

            def abort(self) -> None:
                transport.abort()

        link._transport = Watching()  # type: ignore[assignment]
        for turn in range(3):
            for _ in range(5):
                link.call(pack("INCR", f"turn{turn}"), replies)
            await replies.until(5 * (turn + 1))
        link.close()
        return writes

    assert [5 * pack("INCR", f"turn{turn}") for turn in range(3)] == run(scene())


def test_a_reply_is_never_given_from_inside_the_call(valkey: RealValkey) -> None:
    async def scene() -> list[int]:
        link = await linked(valkey.url)
        link.close()
        replies = Replies()
        link.call(pack("PING"), replies)
        before = len(replies)
        await replies.until(1)
        return [before, len(replies)]

    assert run(scene()) == [0, 1]


def test_an_error_reply_is_a_value_with_its_code(valkey: RealValkey) -> None:
    async def scene() -> Any:
        link = await linked(valkey.url)
        replies = Replies()
        link.call(pack("SET", "text", "x"), replies)
        link.call(pack("LPUSH", "text", "y"), replies)
        link.call(pack("PING"), replies)
        await replies.until(3)
        link.close()
        return replies

    done, error, after = run(scene())
    assert (done, after) == (b"OK", b"PONG")
    assert isinstance(error, StoreError)
    assert error.code == "WRONGTYPE"


def test_a_receiver_that_fails_takes_no_other_reply_with_it(valkey: RealValkey) -> None:
    async def scene() -> tuple[list[Any], list[str]]:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(repr(context["exception"]))
        )
        link = await linked(valkey.url)
        replies = Replies()

        def broken(_: Any) -> None:
            raise ValueError("mine")

        link.call(pack("PING"), broken)
        link.call(pack("PING"), replies)
        await replies.until(1)
        link.close()
        return replies, reported

    assert run(scene()) == ([b"PONG"], ["ValueError('mine')"])


def test_a_call_cut_before_the_store_saw_it_is_of_unknown_outcome_and_sent_once(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:
        proxy.cut_before("INCR", nth=3)

        async def scene() -> Replies:
            link = await linked(proxy.url)
            replies = Replies()
            for _ in range(5):
                link.call(pack("INCR", "n"), replies)
            await replies.until(5)
            return replies

        replies = run(scene())
        assert replies[:2] == [1, 2]
        assert kinds(replies)[2:] == ["LinkLost"] * 3
        assert (valkey.client().get("n"), proxy.calls["INCR"], proxy.connections) == (b"2", 3, 1)


def test_a_call_whose_reply_is_lost_happened_once_and_is_of_unknown_outcome(valkey: RealValkey) -> None:
    with CuttingProxy(valkey.port) as proxy:
        proxy.cut_after("INCR")

        async def scene() -> Replies:
            link = await linked(proxy.url)
            replies = Replies()
            link.call(pack("INCR", "n"), replies)
            await replies.until(1)
            return replies

        assert kinds(run(scene())) == ["LinkLost"]
        assert (valkey.client().get("n"), proxy.calls["INCR"]) == (b"1", 1)


@pytest.mark.parametrize("fault", ["stall", "half_open"])
def test_a_silent_link_is_given_up_and_all_that_waits_is_lost(valkey: RealValkey, fault: str) -> None:
    with CuttingProxy(valkey.port) as proxy:
        getattr(proxy, fault)("INCR", nth=2)

        async def scene() -> tuple[Replies, list[str]]:
            lost: list[str] = []
            link = await linked(proxy.url, deadline_ms=100, on_lost=lambda link: lost.append(str(link.fault)))
            replies = Replies()
            for _ in range(4):
                link.call(pack("INCR", "n"), replies)
            await replies.until(4)
            return replies, lost

        replies, lost = run(scene())
        assert kinds(replies) == ["int", "LinkLost", "LinkLost", "LinkLost"]
        assert len(lost) == 1
        assert "no reply for 100 ms" in lost[0]


def test_a_paused_store_loses_the_link_and_an_answering_one_does_not(own_valkey: RealValkey) -> None:
    async def scene() -> list[str]:
        link = await linked(own_valkey.url, deadline_ms=200)
        replies = Replies()
        for count in range(1, 9):  # two deadlines long, busy all the time
            link.call(pack("PING"), replies)
            await replies.until(count)
            await asyncio.sleep(0.05)
        own_valkey.pause()
        link.call(pack("PING"), replies)
        await replies.until(9)
        own_valkey.resume()
        return kinds(replies)

    assert run(scene()) == ["bytes"] * 8 + ["LinkLost"]


def test_a_half_open_idle_link_is_found_by_its_heartbeat(
    own_valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LINK_HEARTBEAT_MS", 100)

    async def scene() -> str:
        gone = asyncio.Event()
        link = await linked(own_valkey.url, deadline_ms=100, on_lost=lambda _: gone.set())
        own_valkey.pause()
        await gone.wait()
        own_valkey.resume()
        return str(link.fault)

    assert "no reply for" in run(scene())


def test_an_idle_link_lives_on_and_a_first_call_after_idling_has_its_whole_deadline(
    own_valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LINK_HEARTBEAT_MS", 10_000_000)

    async def scene() -> tuple[int, Link]:
        loop = asyncio.get_running_loop()
        link = await linked(own_valkey.url, deadline_ms=400)
        await asyncio.sleep(0.95)  # idle for more than two deadlines
        own_valkey.pause()
        replies = Replies()
        link.call(pack("PING"), replies)
        loop.call_later(0.3, own_valkey.resume)
        await replies.until(1)
        link.close()
        return len(kinds(replies)), replies[0]

    assert run(scene()) == (1, b"PONG")


def test_what_was_never_written_has_not_happened_and_says_so(own_valkey: RealValkey) -> None:
    async def scene() -> list[str]:
        link = await linked(own_valkey.url)
        own_valkey.pause()
        replies = Replies()
        link.call(pack("INCR", "n"), replies)
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # written
        link.call(pack("INCR", "n"), replies)
        link.close()  # not written
        link.call(pack("INCR", "n"), replies)
        await replies.until(3)
        own_valkey.resume()
        return kinds(replies)

    assert run(scene()) == ["LinkLost", "LinkDown", "LinkDown"]


def test_the_number_of_waiting_calls_is_bounded(valkey: RealValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "LINK_CALLS_WAITING_MAX", 10)

    async def scene() -> tuple[list[str], int]:
        link = await linked(valkey.url)
        replies = Replies()
        for _ in range(12):
            link.call(pack("INCR", "n"), replies)
        pending = link.pending
        await replies.until(12)
        link.call(pack("INCR", "n"), replies)  # there is room again
        await replies.until(13)
        link.close()
        return sorted(kinds(replies)), pending

    assert run(scene()) == (["LinkFull"] * 2 + ["int"] * 11, 10)
    assert valkey.client().get("n") == b"11"


def test_the_octets_of_a_store_that_does_not_read_are_bounded(
    own_valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LINK_UNSENT_OCTETS_MAX", 100_000)

    async def scene() -> list[str]:
        link = await linked(own_valkey.url, deadline_ms=60_000)
        own_valkey.pause()
        replies, calls = Replies(), 0
        command = pack("SET", "k", "x" * 50_000)
        while "LinkFull" not in kinds(replies) and calls < 1000:
            link.call(command, replies)
            calls += 1
            await asyncio.sleep(0)
        await replies.until(1)
        own_valkey.resume()
        await replies.until(calls)
        link.call(command, replies)
        await replies.until(calls + 1)
        link.close()
        return kinds(replies)

    seen = run(scene())
    assert seen[0] == "LinkFull"
    assert seen[-1] == "bytes"


def test_a_link_that_nobody_answers_is_no_link(valkey: RealValkey) -> None:
    port = valkey.port
    with CuttingProxy(port) as proxy:
        proxy.cut_before("HELLO")
        with pytest.raises(StoreFault):
            run(linked(proxy.url))
    with pytest.raises(LinkDown, match="cannot connect"):
        run(linked(proxy.url))  # nobody listens there any more


def test_a_store_that_accepts_and_says_nothing_is_no_link(
    valkey: RealValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LINK_CONNECT_MS_MAX", 100)
    with CuttingProxy(valkey.port) as proxy:
        proxy.stall("HELLO")
        with pytest.raises(LinkDown, match="no answer in time"):
            run(linked(proxy.url))


def test_a_server_that_speaks_something_else_is_no_link() -> None:
    async def scene() -> None:
        server = await asyncio.start_server(
            lambda _, writer: writer.write(b"HTTP/1.1 400\r\n\r\n"), "127.0.0.1", 0
        )
        async with server:
            await linked(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    with pytest.raises(StoreFault, match="not the Redis protocol"):
        run(scene())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "must be noeviction"),
        ({"appendonly": "no"}, "set appendonly yes"),
        ({"appendfsync": "everysec"}, "durability asks for always"),
    ],
)
def test_a_store_that_could_lose_money_is_refused(settings: dict[str, str], says: str) -> None:
    with RealValkey(settings=settings) as server, pytest.raises(StoreRefused, match=says):
        run(linked(server.url, demands=Demands(fsync="always")))


def test_a_replica_is_refused(own_valkey: RealValkey) -> None:
    own_valkey.client().replicaof("127.0.0.1", 1)
    with pytest.raises(NotMaster, match="name the master"):
        run(linked(own_valkey.url))


def test_a_password_is_sent_and_a_wrong_one_is_told() -> None:
    with RealValkey(settings={"requirepass": "right"}) as server:
        place = f"127.0.0.1:{server.port}"
        assert run(linked(f"redis://:right@{place}")).run_id
        for url in (f"redis://:wrong@{place}", f"redis://{place}"):
            with pytest.raises(StoreRefused, match="refuses the password") as fault:
                run(linked(url))
            assert "wrong" not in str(fault.value)


def test_the_run_id_is_the_servers_own(valkey: RealValkey) -> None:
    link = run(linked(valkey.socket_url))
    assert link.run_id == valkey.client().info("server")["run_id"]


def test_a_socket_whose_path_is_too_long_is_reached_through_its_folder(
    valkey: RealValkey, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (deep / "s").symlink_to(valkey.folder / "s")
    assert run(linked(f"unix://{deep / 's'}")).run_id


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    import datetime as dt  # noqa: PLC0415 - the TLS tests alone need these
    import ipaddress  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), 1, start, dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
        )
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(pem, kind, plain))
    return paths


@pytest.mark.parametrize(
    ("name", "trusted"), [("127.0.0.1", True), ("127.0.0.9", True), ("127.0.0.1", False)]
)
def test_tls_is_spoken_only_with_the_right_server(
    valkey: RealValkey,
    tmp_path: Path,
    name: str,
    trusted: bool,  # noqa: FBT001
) -> None:
    certificate, key = _certificate(tmp_path, name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with CuttingProxy(valkey.port, tls=context) as proxy:
        url = f"{proxy.url}?ca={certificate}" if trusted else proxy.url
        if trusted and name == "127.0.0.1":
            assert run(linked(url)).run_id
        else:
            with pytest.raises(LinkDown, match=r"(?i)certificate"):
                run(linked(url))


def test_a_lost_link_leaves_nothing_behind(valkey: RealValkey) -> None:
    async def scene() -> int:
        link = await linked(valkey.url)
        replies = Replies()
        link.call(pack("PING"), replies)
        link.close()
        await replies.until(1)
        return link.pending

    assert run(scene()) == 0
    gc.collect()
