"""TMF654 as channels have it: a served server, keys of the command line, two hundred at once, a store that is killed, a session that hears of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ocs.http.prepay.buckets import BASE
from tests.house.source import ROOT
from tests.prepay_scene import DEFINITION
from tests.real_ocs import RealOcs
from tests.serving import Client
from tests.unit.notices.receivers import receiver

pytestmark = pytest.mark.timeout(300)  # many real processes, on a machine that may be busy

MSISDN, OTHER = "491700000001", "491700000002"
RE_AUTH = 258
AT_ONCE = 200


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealOcs]:
    with RealOcs(tmp_path, OCS_HTTP__RATE="0") as server:
        for number in (MSISDN, OTHER):
            server.ocs("subscriber", "create", number, "--tariff", "flat-data", "--credit", "20.00")
        yield server
        assert server.ocs("audit")["clean"] is True


def address(server: RealOcs) -> str:
    return f"http://127.0.0.1:{server.http_port}{BASE}"


def headers(server: RealOcs, *words: str) -> dict[str, str]:
    made = server.ocs("keys", "create", "--name", "desk", *words)
    return {"Authorization": f"Bearer {made['key']}"}


def topup(amount: float, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "amount": {"amount": amount, "units": "EUR"},
        "usageType": "monetary",
        "logicalResource": [{"id": MSISDN}],
    }


def test_a_top_up_reaches_a_running_session_at_once(served: RealOcs) -> None:
    till = headers(served, "--role", "channel", "--channel", "till")
    with (
        Client(served.connect()) as client,
        httpx.Client(base_url=address(served), headers=till, timeout=60) as api,
    ):
        client.exchange("pgw.example.net")
        assert client.ask(1, 0).avps["Result-Code"] == 2001
        said = api.post("/topupBalance", json=topup(10, "one"))
        assert (said.status_code, said.json()["status"]) == (201, "completed")
        told = client.answered()
        assert told.command == RE_AUTH
        assert served.balance(MSISDN)[0] == "30.00"
    assert served.troubles() == []


def test_two_hundred_top_ups_with_one_id_add_once(served: RealOcs) -> None:
    till = headers(served, "--role", "channel", "--channel", "till")

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(headers=till, timeout=120, limits=limits) as api:
            asked = (
                api.post(f"{address(served)}/topupBalance", json=topup(10, "one")) for _ in range(AT_ONCE)
            )
            return list(await asyncio.gather(*asked))

    answers = asyncio.run(all_at_once())
    assert {each.status_code for each in answers} == {201}
    assert len({each.text for each in answers}) == 1
    assert served.balance(MSISDN)[0] == "30.00"
    assert served.troubles() == []


def test_a_store_that_is_killed_in_between_loses_nothing_and_adds_nothing_twice(served: RealOcs) -> None:
    """Every id is asked for again until it is answered: what was done before the kill is told, what was not is done."""
    till = headers(served, "--role", "channel", "--channel", "till")
    names = [f"id-{number}" for number in range(60)]

    async def until_answered(api: httpx.AsyncClient, name: str) -> int:
        for _ in range(600):
            try:
                said = await api.post(f"{address(served)}/topupBalance", json=topup(0.5, name))
            except httpx.HTTPError:
                said = None
            if said is not None and said.status_code == 201:
                return 201
            assert said is None or said.status_code == 503, said.text
            await asyncio.sleep(0.1)
        return 0

    async def through_a_kill() -> list[int]:
        async with httpx.AsyncClient(headers=till, timeout=20, limits=httpx.Limits(max_connections=8)) as api:
            asked = [asyncio.create_task(until_answered(api, name)) for name in names]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            os.kill(store_pid(served), signal.SIGKILL)
            return list(await asyncio.gather(*asked))

    assert asyncio.run(through_a_kill()) == [201] * len(names)
    assert served.balance(MSISDN)[0] == "50.00"  # 20 and sixty halves
    with httpx.Client(base_url=address(served), headers=till, timeout=60) as api:
        listed = api.get("/topupBalance", params={"limit": 100})
        assert {each["id"] for each in listed.json()} == set(names)


def store_pid(server: RealOcs) -> int:
    """The embedded store's process: the one whose working directory is the data folder's and that is no Python."""
    for each in Path("/proc").iterdir():
        try:
            if (
                each.name.isdecimal()
                and (each / "cwd").readlink() == server.folder.resolve()
                and b"valkey" in (each / "cmdline").read_bytes()
            ):
                return int(each.name)
        except OSError:
            continue
    raise AssertionError("no store is to be seen")


def test_the_page_of_the_api_works_when_it_is_pasted(served: RealOcs) -> None:
    """Every curl of API.md's section TMF654 is sent as it stands, in order, with its own answers' ids in it."""
    page = (ROOT / "ocs" / "http" / "API.md").read_text(encoding="utf-8")
    section = page[page.index("## TMF654") :].partition("\n## ")[0]
    admin = headers(served, "--role", "admin", "--channel", "desk")
    account = served.ocs("balance", MSISDN)["account"]
    sent = 0
    for block in re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL):
        for command in re.findall(r"\$ curl (.*?)(?<!\\)\n", block, flags=re.DOTALL):
            method = (re.search(r"-X (\w+)", command) or ["", "POST" if " -d " in command else "GET"])[1]
            path = re.search(r'"\$API/([^"]*)"', command)
            body = re.search(r"-d '(.*?)'", command, flags=re.DOTALL)
            assert path is not None, command
            said = httpx.request(
                method,
                f"{address(served)}/{path[1].replace('$ACCOUNT', account)}",
                headers=admin,
                json=json.loads(body[1]) if body is not None else None,
                timeout=60,
            )
            assert said.is_success, (command, said.text)
            sent += 1
    assert sent >= 10
    assert served.troubles() == []


def test_a_listener_is_told_in_the_definitions_own_bodies(tmp_path: Path) -> None:
    """Top-up, reversal, adjustment, transfer, reservation, and what was refused: each once, of the channel that did it; types that were not asked for stay out."""
    settings = {
        "OCS_HTTP__RATE": "0",
        "OCS_EVENTS__CALLBACK_NETWORKS": '["127.0.0.0/8"]',
        "OCS_ARCHIVE__EVERY_S": "1",
    }

    async def play(server: RealOcs) -> tuple[list[Any], list[Any]]:
        till = headers(server, "--role", "admin", "--channel", "till")
        async with (
            receiver() as everything,
            receiver() as some,
            httpx.AsyncClient(headers=till, timeout=60) as api,
        ):
            at, ids = address(server), []
            for to, query in ((everything, {}), (some, {"query": "eventType=TopupBalanceCancelEvent"})):
                said = await api.post(f"{at}/hub", json={"callback": to.url, **query})
                assert said.status_code == 201, said.text
                assert DEFINITION.answer_faults("POST", "/hub", 201, said.json()) == []
                assert said.headers["webhook-secret"].startswith("whsec_")
                ids.append(said.json()["id"])
            bad = await api.post(f"{at}/hub", json={"callback": some.url, "query": "eventType=Nothing"})
            assert (bad.status_code, bad.json()["code"]) == (400, "badQuery")
            inside = await api.post(f"{at}/hub", json={"callback": "http://10.0.0.1/"})
            assert inside.status_code == 400
            one = {"reason": "a test", "receiverLogicalResource": {"id": OTHER}}
            for path, more in (
                ("topupBalance", {}),
                ("adjustBalance", {}),
                ("transferBalance", one),
                ("reserveBalance", {}),
            ):
                said = await api.post(f"{at}/{path}", json=topup(1, path) | more)
                assert said.status_code == 201, said.text
            for path in ("topupBalance", "reserveBalance"):
                assert (await api.delete(f"{at}/{path}/{path}")).status_code == 204
            failing: Any = (
                ("adjustBalance", -999, {}),
                ("transferBalance", 999, one),
                ("reserveBalance", 999, {}),
            )
            for path, amount, more in failing:
                said = await api.post(f"{at}/{path}", json=topup(amount, f"{path}-2") | more)
                assert (said.status_code, said.json()["code"]) == (409, "creditLimit")
            await everything.until(lambda: len(everything.posted) >= 9, 90)
            await some.until(lambda: len(some.posted) >= 1, 90)
            for name in ids:
                assert (await api.delete(f"{at}/hub/{name}")).status_code == 204
                assert (await api.delete(f"{at}/hub/{name}")).status_code == 404
            return [json.loads(each.body) for each in everything.posted], [
                json.loads(each.body) for each in some.posted
            ]

    with RealOcs(tmp_path, **settings) as server:
        for number in (MSISDN, OTHER):
            server.ocs("subscriber", "create", number, "--tariff", "flat-data", "--credit", "20.00")
        told, some = asyncio.run(play(server))
        assert server.ocs("audit")["clean"] is True
    for each in told:
        listener = each["eventType"][0].lower() + each["eventType"][1:]
        assert DEFINITION.body_faults("POST", f"/listener/{listener}", each) == []
    assert sorted(each["eventId"] for each in told) == sorted(
        f"till:{name}" for name in (
            "topupBalance:create", "topupBalance:cancel", "adjustBalance:create", "transferBalance:create", "reserveBalance:create",
            "reserveBalance:cancel", "adjustBalance-2:failure", "transferBalance-2:failure", "reserveBalance-2:failure",
        )
    )  # fmt: skip
    assert [each["eventId"] for each in some] == ["till:topupBalance:cancel"]
