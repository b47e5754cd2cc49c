"""Every example is rated alike by the ladder, by its twin in the store, and in a session that is really charged."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.accounts import Account
from ocs.balance.functions import function
from ocs.balance.parts import packed, unpacked
from ocs.charging.ask import INITIAL, NOT_GIVEN, TERMINATION, UPDATE, Ask, AskedService, Units
from ocs.charging.outcome import Outcome
from ocs.limits import TOPUP_MICROS_MAX
from ocs.money import parse_amount
from ocs.names import e164
from ocs.outcomes import RESULT_CODES, Code
from ocs.rating.ladder import Walk, advance, total
from ocs.rating.price import price
from ocs.rating.rates import Facts
from ocs.units import Unit
from tests.charged_store import ChargedStore, StoreRoom
from tests.vectors.rating.debits import PARTITIONS, RULES
from tests.vectors.rating.table import (
    CONTEXTS,
    cases,
    instant_ms,
    only_service,
    rated_tariffs,
    table,
    tariffs,
)

MSISDN = "491700000001"
START = Walk(0, 0, 0, 0)
ROOT = Path(__file__).resolve().parents[3]
CASES = [pytest.param(*case[1:], id=case[0]) for case in cases()]


class Caller:
    """A subscriber on one tariff who charges sessions and looks at the balance."""

    def __init__(self, charged: ChargedStore, account: Account, tariff: str) -> None:
        self.charged = charged
        self.account = account
        self.family, service = only_service(tariff)
        self.unit = service.unit
        self.number = -1

    @classmethod
    async def made(cls, room: StoreRoom, tariff: str, credit_micros: int) -> "Caller":
        charged = await room.charged(tariffs(), RULES, PARTITIONS)
        account = await charged.subscriber(MSISDN, "", tariff)
        for part, start in enumerate(range(0, credit_micros, TOPUP_MICROS_MAX)):
            amount = min(TOPUP_MICROS_MAX, credit_micros - start)
            done = await charged.accounts.topup(account, amount, "test", f"{part}")
            assert done.code == Code.SUCCESS
        return cls(charged, account, tariff)

    def units(self, count: int) -> Units:
        fields = [NOT_GIVEN] * 3
        fields[self.unit - 1] = count
        return Units(*fields)

    async def request(self, kind: int, *services: tuple[int | None, int | None, int | None]) -> Outcome:
        """Charge one request of (rating group, used, wanted) services."""
        self.number += 1
        identity = e164(MSISDN)
        assert identity is not None
        asked = tuple(
            AskedService(
                "" if group is None else str(group),
                group,
                None,
                None if used is None else self.units(used),
                None if wanted is None else self.units(wanted),
            )
            for group, used, wanted in services
        )
        return await self.charged.charge(
            Ask(kind, "gw;1", self.number, self.family, CONTEXTS[self.family], (identity,), asked, self.number,
                True, "gw", "example.org")
        )  # fmt: skip

    async def posted_micros(self) -> int:
        book = await self._book()
        return book.book.posted_micros

    async def balance_micros(self) -> int:
        book = await self._book()
        assert book.book.pending_micros == 0
        return book.book.balance_micros

    async def _book(self) -> Account:
        place = self.account.profile
        found = await self.charged.accounts.read(place.partition, place.account)
        assert found is not None
        return found


@pytest.mark.parametrize(("tariff", "units", "cost_micros"), CASES)
def test_the_ladder_prices_the_example(tariff: str, units: int, cost_micros: int) -> None:
    on = only_service(tariff)[1].ladder
    assert total(on, advance(on, START, units)) == cost_micros


@pytest.mark.parametrize(("tariff", "units", "cost_micros"), CASES)
def test_the_example_is_explained_with_its_price(tariff: str, units: int, cost_micros: int) -> None:
    family, _ = only_service(tariff)
    rate = tariffs()[tariff].rate(Facts(family))
    assert rate is not None
    told = price(rate, units, 0)
    assert (told.cost_micros, told.units) == (cost_micros, units)
    assert sum(line.amount_micros for line in told.lines) == cost_micros


@pytest.mark.parametrize("row", table()["rated"], ids=lambda row: f"row {row['row']}: {row['cost']}")
def test_an_example_of_windows_zones_and_caps_is_priced(row: dict[str, Any]) -> None:
    on = rated_tariffs()[row["tariff"]]
    zone = None
    if "to" in row:
        assert on.numbering is not None
        zone = on.numbering.destination(row["to"]).zone
    rate = on.rate(Facts("voice", zone))
    assert rate is not None
    assert rate.name == row.get("rate", "calls")
    start_ms = instant_ms(on, row["from"])
    units: int = row.get("units", -1)
    if "until" in row:
        length_s = (instant_ms(on, row["until"]) - start_ms) // 1000
        assert units in {-1, length_s}
        units = length_s
    told = price(rate, units, start_ms, connected=row.get("connected", False))
    assert (told.cost_micros, told.units) == (parse_amount(row["cost"]), row.get("priced", units))
    assert sum(line.amount_micros for line in told.lines) == told.cost_micros


@pytest.mark.parametrize(("tariff", "units", "cost_micros"), CASES)
def test_the_store_prices_the_example(room: StoreRoom, tariff: str, units: int, cost_micros: int) -> None:
    body = packed(only_service(tariff)[1].ladder, *START, units, 0, 0, 0, 0)
    reply = unpacked(room.run(room.store.execute(0, "FCALL_RO", function("ladder"), 0, body)))
    assert reply[1] == cost_micros


@pytest.mark.parametrize("interims", [0, 1, 3])
@pytest.mark.parametrize(("tariff", "units", "cost_micros"), CASES)
def test_a_session_is_charged_what_the_example_says(
    room: StoreRoom, tariff: str, units: int, cost_micros: int, interims: int
) -> None:
    async def session() -> None:
        caller = await Caller.made(room, tariff, cost_micros + 100_000_000)
        before_micros = await caller.balance_micros()
        cuts = [units * each // (interims + 1) for each in range(interims + 2)]
        parts = [end - start for start, end in pairwise(cuts)]
        assert (await caller.request(INITIAL, (10, None, units or 1))).code == Code.SUCCESS
        for part in parts[:-1]:
            assert (await caller.request(UPDATE, (10, part, units or 1))).code == Code.SUCCESS
        assert (await caller.request(TERMINATION, (10, parts[-1], None))).code == Code.SUCCESS
        assert before_micros - await caller.balance_micros() == cost_micros

    room.run(session())


REPORTED = [row for row in table()["rows"] if "reports" in row]


@pytest.mark.parametrize("row", REPORTED, ids=lambda row: f"row {row['row']}")
def test_every_report_posts_up_to_the_cumulative_cost(room: StoreRoom, row: dict[str, Any]) -> None:
    async def session() -> None:
        caller = await Caller.made(room, row["tariff"], 100_000_000)
        await caller.request(INITIAL, (10, None, 10**6))
        for units, cost in row["reports"]:
            await caller.request(UPDATE, (10, units, 10**6))
            assert await caller.posted_micros() == parse_amount(cost)

    room.run(session())


def test_credit_that_is_short_is_granted_to_its_end_and_then_refused(room: StoreRoom) -> None:
    row = table()["credit_short"]

    async def session() -> None:
        caller = await Caller.made(room, row["tariff"], parse_amount(row["credit"]))
        (granted,) = (await caller.request(INITIAL, (None, None, row["asked"]))).services
        assert (granted.granted, granted.final) == (row["granted"], True)
        outcome = await caller.request(UPDATE, (None, granted.granted, row["asked"] - granted.granted))
        assert (outcome.code, RESULT_CODES[outcome.code]) == (Code[row["code"]], 4012)
        assert await caller.balance_micros() == parse_amount(row["left"])

    room.run(session())


def test_fifty_parallel_calls_from_several_processes_leave_exactly_what_is_right(room: StoreRoom) -> None:
    row = table()["parallel"]
    processes = 2
    caller = room.run(Caller.made(room, row["tariff"], parse_amount(row["credit"])))
    shares = [row["calls"] // processes] * processes
    assert sum(shares) == row["calls"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.vectors.rating.debits", room.server.url, MSISDN, row["tariff"],
             f"gw{index}", str(calls), str(row["units"])],
            cwd=ROOT,
        )
        for index, calls in enumerate(shares)
    ]  # fmt: skip
    assert [each.wait() for each in running] == [0] * processes
    assert room.run(caller.balance_micros()) == parse_amount(row["left"])


def test_each_service_of_a_session_has_its_own_axis(room: StoreRoom) -> None:
    row = table()["axes"]

    async def session() -> None:
        caller = await Caller.made(room, row["tariff"], 1_000_000)
        services = row["services"]
        await caller.request(INITIAL, *((group, None, units) for group, units in services))
        await caller.request(TERMINATION, *((group, units, None) for group, units in services))
        assert await caller.posted_micros() == parse_amount(row["cost"])

    room.run(session())


def test_what_a_block_already_paid_still_covers_is_granted_with_nothing_left(room: StoreRoom) -> None:
    row = table()["paid_already"]

    async def session() -> None:
        caller = await Caller.made(room, row["tariff"], parse_amount(row["credit"]))
        await caller.request(INITIAL, (10, None, row["used"]))
        outcome = await caller.request(UPDATE, (10, row["used"], 10**7))
        (service,) = outcome.services
        assert (outcome.code, service.unit) == (Code.SUCCESS, Unit.OCTETS)
        assert (service.granted, service.final) == (row["granted"], True)
        assert await caller.balance_micros() == 0

    room.run(session())


def test_no_example_is_missing() -> None:
    told = {row["row"] for row in table()["rows"]}
    told |= {table()[name]["row"] for name in ("credit_short", "parallel", "axes")}
    told |= {row["row"] for row in table()["rated"]}
    # 18 and 21 need allowances, 23 and 24 an account's counters
    assert told == set(range(1, 26)) - {18, 21, 23, 24}
