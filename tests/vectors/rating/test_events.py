"""The rating examples as one-time events: enquired and debited on a real store, and row 15 at a real server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocs.balance.audit import audit
from ocs.charging.ask import DIRECT_DEBITING, EVENT, PRICE_ENQUIRY, REFUND_ACCOUNT, AskedService, Event
from ocs.charging.ask import Ask as Asked
from ocs.charging.outcome import Outcome
from ocs.limits import BOOK_MICROS_MAX
from ocs.money import parse_amount
from ocs.names import e164
from ocs.outcomes import Code
from tests.charged_store import StoreRoom, store_room
from tests.real_ocs import RealOcs
from tests.real_valkey import RealValkey
from tests.vectors.rating.table import CONTEXTS, table
from tests.vectors.rating.test_rating import MSISDN, ROOT, Caller

USAGES = [
    pytest.param(row["tariff"], units, parse_amount(cost), id=f"{row['row']}-{units}")
    for row in table()["rows"]
    for units, cost in row["usage"]
    if units  # nothing asked is the server's choice
]


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


async def event(caller: Caller, action: int, number: int, units: int) -> Outcome:
    identity = e164(MSISDN)
    assert identity is not None
    service = AskedService("1", 1, None, None, caller.units(units))
    ask = Asked(
        EVENT, "smsc;1", number, caller.family, CONTEXTS[caller.family], (identity,), (service,), number, True, "gw", "example.org",
        None, Event(action),
    )  # fmt: skip
    return await caller.charged.charge(ask)


@pytest.mark.parametrize(("tariff", "units", "cost_micros"), USAGES)
def test_an_example_costs_as_an_event_what_it_costs_in_a_session(
    room: StoreRoom, tariff: str, units: int, cost_micros: int
) -> None:
    async def play() -> None:
        caller = await Caller.made(room, tariff, cost_micros)
        assert cost_micros < BOOK_MICROS_MAX
        told = await event(caller, PRICE_ENQUIRY, 0, units)
        assert told.event is not None
        assert sum(each.money_micros for each in told.event.costs) == cost_micros
        assert await caller.posted_micros() == 0

        debited = await event(caller, DIRECT_DEBITING, 1, units)

        assert debited.code == Code.SUCCESS
        assert (await caller.posted_micros(), await caller.balance_micros()) == (cost_micros, 0)
        refunded = await event(caller, REFUND_ACCOUNT, 2, 0)
        assert (refunded.code, await caller.posted_micros()) == (Code.SUCCESS, 0)
        assert (await audit(caller.charged.parts)).faults == []

    room.run(play())


def test_fifty_one_shot_debits_from_several_processes_leave_exactly_what_is_right(tmp_path: Path) -> None:
    row: Any = table()["parallel"]
    processes = 2
    folder, nothing = tmp_path / "tariffs", tmp_path / "products"
    folder.mkdir()
    nothing.mkdir()
    text = {
        "tariff": row["tariff"],
        "version": 1,
        "currency": "EUR",
        "services": table()["tariffs"][row["tariff"]],
    }
    (folder / "row15.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    with RealOcs(
        tmp_path,
        "--workers",
        "2",
        OCS_CHARGING__TARIFFS_DIR=str(folder),
        OCS_CHARGING__PRODUCTS_DIR=str(nothing),
    ) as server:
        server.ocs("subscriber", "create", MSISDN, "--tariff", row["tariff"], "--credit", row["credit"])
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.vectors.rating.one_shot", str(server.port), MSISDN, f"smsc{each}",
                 str(row["calls"] // processes), str(row["units"])],
                cwd=ROOT,
            )
            for each in range(processes)
        ]  # fmt: skip
        assert [each.wait() for each in running] == [0] * processes
        assert server.balance(MSISDN) == (row["left"], "0.00")
        assert server.ocs("audit")["clean"]
