"""What a client profile changes for real clients: captured conversations said to a server whose settings name profiles for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_captures_replayed import CCR, exchange, of_command
from tests.real_ocs import Conversation, Read, RealOcs, conversations, stranger

FIRST = 491_700_000_301
SAID = {each.name: each for each in conversations()}
MIB = 1_048_576

SETTINGS = """
[[diameter.peers]]
origin_host = "smf.example.org"
address = "127.0.0.0/8"
profile = "{smf}"

[[diameter.peers]]
origin_host = "*"
address = "127.0.0.0/8"

[charging.quota]
low_balance = "1.00"
remaining_balance = true

[charging.quota.data]
holding_s = 60
threshold = "10%"
triggers = true
validity_s = 600
"""


def served(folder: Path, smf: str) -> RealOcs:
    file = folder / "mine.toml"
    file.write_text(SETTINGS.format(smf=smf))
    return RealOcs(folder, "--config", str(file))


@pytest.fixture(params=["open5gs", "strict", "freediameter"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealOcs]:
    with served(tmp_path, request.param) as made:
        made.name = request.param
        made.ocs(
            *("subscriber", "bulk", "--count", "2", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "10.00"),
        )
        yield made


def of_3gpp(avps: list[Any]) -> set[int]:
    """Codes of the AVPs with a vendor, at any depth."""
    found = set()
    for avp in avps:
        if avp.vendor_id:
            found.add(avp.code)
        if isinstance(avp.value, list):
            found |= of_3gpp(avp.value)
    return found


def opened(server: RealOcs, said: Conversation) -> tuple[Any, list[tuple[Read, Read]]]:
    """Say a conversation up to its first update; the connection stays."""
    pairs: list[tuple[Read, Read]] = []
    connection = server.connect()
    for message in said.messages:
        answer = exchange(connection, message.frame)
        if answer is not None:
            pairs.append((stranger(message.frame), answer))
        if len(of_command(pairs, CCR)) == 2:
            return connection, pairs
    raise AssertionError(said.name)


def test_open5gs_as_its_profile_says(server: RealOcs) -> None:
    said = SAID["open5gs"].about(str(FIRST))
    connection, pairs = opened(server, said)
    with connection:
        found = set().union(*(of_3gpp(answer.plain.avps) for _, answer in of_command(pairs, CCR)))
        if server.name == "strict":
            assert found == set()  # no AVP that a decoder of the RFCs alone does not know
        else:
            assert {
                869,
                871,
                1264,
                2021,
            } <= found  # Volume-Quota-Threshold, Quota-Holding-Time, Trigger, Remaining-Balance
        assert all(answer.value(268) == 2001 for _, answer in pairs)

        server.ocs("topup", str(FIRST), "1.00", "--id", "rar")  # whose sessions are asked anew
        event = "withheld" if server.name == "open5gs" else "sent"
        while not server.count("ocs_server_requests_total", "RAR", event):
            time.sleep(0.02)
        assert server.count("ocs_server_requests_total", "RAR", "sent") == (server.name != "open5gs")


def test_the_money_is_the_same_whatever_the_profile(server: RealOcs) -> None:
    with server.connect() as connection:
        for message in SAID["open5gs"].about(str(FIRST + 1)).messages:
            exchange(connection, message.frame)
    assert server.balance(str(FIRST + 1)) == ("9.99", "0.00")
