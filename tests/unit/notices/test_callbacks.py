"""Where webhooks may go: nobody makes the server speak to the inside of its own network."""

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from ocs.notices.callbacks import CallbackRefused, Callbacks, Lookup

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


def judged(callback: str, *addresses: str, networks: Sequence[str] = (), public: bool = True) -> str:
    """The address that a callback leads to."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    allowed = [ip_network(each) for each in networks]
    made = Callbacks(allowed, public=public, resolve=resolve)
    return str(asyncio.run(made.target(callback)).address)


def test_a_public_name_is_pinned_to_the_address_that_was_judged() -> None:
    assert judged("https://example.com/x", "93.184.215.14") == "93.184.215.14"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "192.0.0.8", "192.88.99.1",
        "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "::127.0.0.1", "64:ff9b:1::a00:1", "3fff::1", "5f00::1", "2002:a00:1::", "ff02::1", "fec0::1",
    ],
)  # fmt: skip
def test_an_address_of_the_inside_is_refused_however_it_is_written(address: str) -> None:
    with pytest.raises(CallbackRefused, match="network"):
        judged("https://example.com/x", address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:169.254.169.254]", "10.1.2.3"],
)
def test_an_address_in_the_url_itself_is_judged_too(host: str) -> None:
    with pytest.raises(CallbackRefused):
        judged(f"https://{host}/x")


def test_one_bad_address_of_several_is_enough() -> None:
    with pytest.raises(CallbackRefused):
        judged("https://example.com/x", "93.184.215.14", "10.0.0.1")


def test_a_listed_network_is_allowed_and_without_public_ones_nothing_else() -> None:
    assert judged("https://hook.test/", "10.1.0.9", networks=["10.1.0.0/16"]) == "10.1.0.9"
    with pytest.raises(CallbackRefused):
        judged("https://hook.test/", "10.2.0.9", networks=["10.1.0.0/16"])
    with pytest.raises(CallbackRefused):
        judged("https://hook.test/", "93.184.215.14", networks=["10.1.0.0/16"], public=False)


def test_http_is_for_loopback_alone() -> None:
    assert judged("http://127.0.0.1:8/x", networks=["127.0.0.0/8"]) == "127.0.0.1"
    for address, networks in (("93.184.215.14", []), ("10.1.0.9", ["10.1.0.0/16"])):
        with pytest.raises(CallbackRefused, match="https"):
            judged("http://hook.test/", address, networks=networks)


@pytest.mark.parametrize(
    "callback",
    [
        "", "ftp://example.com/", "https://", "https:///x", "//example.com", "https://u:p@example.com/", "https://example.com/#x",
        "https://example.com:99999/", "https://example.com:0/", "https://exa mple.com/", "https://example.com/\n", "javascript:alert(1)",
        "https://exämple.com/", "https://[::1", "https://example.com/" + "x" * 2_048, "file:///x",
    ],
)  # fmt: skip
def test_what_is_no_url_to_post_to_is_refused(callback: str) -> None:
    with pytest.raises(CallbackRefused):
        judged(callback, "93.184.215.14")


def test_a_name_that_leads_nowhere_is_a_fault_for_now() -> None:
    with pytest.raises(OSError, match="no address"):
        judged("https://example.com/")


def test_the_name_is_judged_anew_at_every_try() -> None:
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    async def twice() -> None:
        made = Callbacks(LOOPBACK[:0], resolve=resolve)
        await made.target("https://rebinding.test/")
        with pytest.raises(CallbackRefused):
            await made.target("https://rebinding.test/")

    asyncio.run(twice())


def test_a_name_server_that_is_slow_keeps_no_other_name_waiting_and_is_asked_once() -> None:
    asked: list[str] = []
    goes_on = threading.Event()

    def look(host: str, _port: int) -> list[str]:
        asked.append(host)
        if host == "slow.test":
            goes_on.wait(20)
        return ["93.184.215.14"]

    async def run() -> None:
        judge = Callbacks([], resolve=Lookup(look))
        slow = [asyncio.create_task(judge.target("https://slow.test/")) for _ in range(300)]
        await asyncio.sleep(0)
        assert str((await judge.target("https://quick.test/")).address) == "93.184.215.14"
        slow[0].cancel()
        goes_on.set()
        found = await asyncio.gather(*slow, return_exceptions=True)
        assert sum(isinstance(each, BaseException) for each in found) == 1, (
            "who gives up ends it for nobody else"
        )
        assert asked == ["slow.test", "quick.test"]
        await judge.target("https://slow.test/")
        assert asked[2:] == ["slow.test"], "each try looks anew"

    asyncio.run(run())


def test_a_name_that_cannot_be_looked_up_is_a_fault_for_each_who_asked() -> None:
    def look(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    async def run() -> None:
        judge = Callbacks([], resolve=Lookup(look))
        asking = (judge.target("https://x.test/") for _ in range(3))
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(each, OSError) for each in found)

    asyncio.run(run())
