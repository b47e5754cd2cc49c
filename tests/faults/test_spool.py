"""Terminations that come while the store is away: answered, kept over kill -9 of the whole server, and charged once when it is back."""

import asyncio
import json
from pathlib import Path

import pytest

from ocs.roof.stage import Actor
from tests.faults.serving import Server
from tests.real_ocs import imsi_of
from tests.real_valkey import RealValkey

MIB = 1_048_576
CALLERS = [str(491700000001 + each) for each in range(5)]

pytestmark = pytest.mark.timeout(120)


@pytest.mark.slow
def test_a_termination_without_a_store_is_charged_once_when_it_is_back(tmp_path: Path) -> None:
    valkey = RealValkey(settings={"appendfsync": "always"})
    server = Server(tmp_path, store=valkey.url)
    try:
        asyncio.run(_scene(server, valkey))
    finally:
        server.end()
        valkey.stop()


async def _scene(server: Server, valkey: RealValkey) -> None:
    await server.start()
    await server.ocs(
        "subscriber",
        "bulk",
        "--count",
        "5",
        "--first",
        CALLERS[0],
        "--tariff",
        "flat-data",
        "--credit",
        "1.00",
    )
    gateway = Actor(["ocs.roof.gateway", "127.0.0.1", str(server.port)], server.folder / "gateway.log")
    try:
        gateway.hear(20)
        sessions = [
            gateway.tell(
                {
                    "do": "open",
                    "msisdn": each,
                    "imsi": imsi_of(each),
                    "rating_group": 10,
                    "wanted_octets": MIB,
                }
            )["session_id"]
            for each in CALLERS
        ]
        valkey.kill()
        refused = gateway.tell(
            {"do": "update", "session_id": sessions[0], "used_octets": MIB, "wanted_octets": MIB}
        )
        assert refused["result_code"] == 3004
        for each in sessions[:-1]:
            ended = gateway.tell({"do": "end", "session_id": each, "used_octets": 2 * MIB})
            assert ended["result_code"] == 2001
    finally:
        gateway.stop()
    await server.kill()
    valkey.start()
    await server.start()
    while list((server.data_dir / "spool").glob("*.spool")):  # noqa: ASYNC110 - files give no event
        await asyncio.sleep(0.05)
    for each in CALLERS:
        _, text = await server.ocs("balance", each, "--json")
        said = json.loads(text[text.index("{") : text.rindex("}") + 1])
        ended_well = each != CALLERS[-1]
        assert (said["balance"], said["reserved"]) == (("0.98", "0.00") if ended_well else ("1.00", "0.01"))
    code, text = await server.ocs("audit")
    assert code == 0, text
