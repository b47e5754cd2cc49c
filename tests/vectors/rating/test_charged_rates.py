"""Sessions charged on a real store with windows, zones and service information: the examples, and what a network does to them."""

import asyncio
from typing import Any

import pytest

from ocs.charging.ask import TERMINATION, UPDATE
from ocs.charging.outcome import Outcome
from ocs.money import parse_amount
from ocs.names import e164
from ocs.outcomes import Code, Note
from ocs.rating.tariff import read_tariff
from ocs.records import Status
from ocs.units import Unit
from tests.charged_store import StoreRoom
from tests.vectors.rating.element import (
    EMERGENCY,
    EU,
    EVENING,
    FAR,
    HOME,
    MSISDN,
    NEAR,
    NOON,
    NOWHERE,
    PLANS,
    RECEIVED,
    RULES,
    SAMPLE,
    WORLD,
    Element,
    sample,
)
from tests.vectors.rating.table import instant_ms, rated_tariffs, table

ROWS = [row for row in table()["rated"] if not row.get("connected")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row {row['row']}: {row['cost']}")
@pytest.mark.parametrize("pause_s", [3_600, 7])
def test_an_example_is_charged_live_whenever_the_element_reports(
    room: StoreRoom, row: dict[str, Any], pause_s: int
) -> None:
    on = rated_tariffs()[row["tariff"]]
    start_ms = instant_ms(on, row["from"])
    units = row.get("units", -1)
    if "until" in row:
        units = (instant_ms(on, row["until"]) - start_ms) // 1000
    pause_s = max(pause_s, units // 100)  # some requests are enough

    async def session() -> None:
        element = await Element.made(room, on, "voice")
        await element.at(start_ms)
        told = {"IMS-Information": {"Called-Party-Address": row["to"]}} if "to" in row else None
        service = await element.initial(told, units)
        done = 0
        if units == 0:
            await element.end(0)
        while done < row.get("priced", units):
            assert service.granted > 0
            step = min(service.granted, service.validity_s, pause_s, units - done)
            done += step
            await element.at(start_ms + 1000 * done)
            if done == units:
                await element.end(step)
            else:
                service = await element.update(step, units - done)
        assert await element.money() == (parse_amount(row["cost"]), 0)
        if row.get("priced"):  # the cap disconnects
            assert (service.code, service.granted, done) == (Code.CREDIT_LIMIT, 0, row["priced"])

    room.run(session())


def test_a_grant_ends_at_the_edge_of_its_window_and_what_it_holds_is_what_it_costs(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "voice")
        await element.at(EVENING)  # ten minutes before the cheap window
        service = await element.initial(NEAR)
        assert (service.granted, service.validity_s, service.final) == (600, 600, 0)
        assert await element.money() == (0, 12_000_000)
        await element.at("2026-02-05T18:00")
        service = await element.update(600)
        assert (service.granted, service.validity_s) == (3_600, 3_600)
        assert await element.money() == (12_000_000, 36_000_000)

    room.run(session())


@pytest.mark.parametrize("late_s", [0, 1, 40])
def test_octets_belong_to_the_window_of_their_grant_and_seconds_to_their_own(
    room: StoreRoom, late_s: int
) -> None:
    edge_ms = instant_ms(sample(), "2026-02-05T18:00")

    async def session() -> None:
        data = await Element.made(room, sample(), "data")
        await data.at(EVENING)
        assert (await data.initial(HOME)).validity_s == 600
        await data.at(edge_ms + 1000 * late_s)
        await data.update(1_000)
        assert await data.posted() == 1_000_000  # ten blocks of the day
        await data.end(1_000)
        assert await data.posted() == 1_300_000
        call = await Element.made(room, sample(), "voice")
        await call.at(EVENING)
        await call.initial(NEAR)
        await call.at(edge_ms + 1000 * late_s)
        await call.end(600 + late_s)
        assert await call.posted() == 12_000_000 + 10_000 * late_s

    room.run(session())


def test_an_element_that_knows_the_tariff_change_is_believed(room: StoreRoom) -> None:
    """RFC 8506 section 8.27: units before and after the change, in two reports of one service."""

    async def session() -> None:
        for family, told, before, after, cost in (
            ("data", HOME, 700, 300, 790_000),
            ("voice", NEAR, 90, 30, 2_100_000),
        ):
            element = await Element.made(room, sample(), family)
            await element.at(EVENING)
            await element.initial(told)
            await element.at("2026-02-05T18:00:20")
            await element.update(before + after, after=after)
            assert await element.posted() == cost
            record = await element.last_record()
            assert [line.rate for line in record.lines] == ["1:at-home/0" if family == "data" else "1:near/0"]

    room.run(session())


@pytest.mark.parametrize("known", [True, False], ids=["the same worker", "another worker"])
def test_later_requests_keep_the_rate_that_the_call_began_with(room: StoreRoom, known: bool) -> None:  # noqa: FBT001
    async def session() -> None:
        for told, price_micros in ((NEAR, 20_000), (FAR, 500_000)):
            element = await Element.made(room, sample(), "voice")
            await element.at(NOON)
            await element.initial(told)
            for number, nonsense in enumerate((None, NEAR, FAR, EMERGENCY, RECEIVED)):
                if not known:
                    element.forget()
                await element.at(element.charged.now_ms + 10_000)
                await element.update(10, told=nonsense)
                assert await element.posted() == 10 * price_micros * (number + 1)
            if not known:
                element.forget()
            await element.end(5)
            assert await element.money() == (55 * price_micros, 0)

    room.run(session())


def test_an_emergency_call_is_free_for_a_barred_account_without_money_too(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "voice", credit="0.00")
        await element.charged.accounts.amend(element.account, status=Status.BARRED)
        await element.at(NOON)
        assert (await element.initial(EMERGENCY)).granted == 3_600
        element.forget()
        assert (await element.update(60)).granted == 3_600
        assert (await element.end(60)).code == Code.SUCCESS
        assert await element.money() == (0, 0)
        other = await Element.made(room, sample(), "voice", credit="0.00")
        await other.charged.accounts.amend(other.account, status=Status.BARRED)
        assert (await other.initial(NEAR)).code == Code.BARRED

    room.run(session())


def test_a_plain_tariff_lets_emergency_calls_and_received_ones_pass_too(room: StoreRoom) -> None:
    plain = read_tariff(
        'tariff: plain\nversion: 1\ncurrency: EUR\nservices: {voice: {unit: seconds, steps: [{block: 1, price: "1.00", per: second}]}}\n',
        "plain.yaml",
    )

    async def session() -> None:
        for told, cost in ((EMERGENCY, 0), (RECEIVED, 0), (NEAR, 10_000_000), (None, 10_000_000)):
            element = await Element.made(room, plain, "voice")
            await element.initial(told)
            element.forget()
            await element.update(4)
            await element.end(6, told=NEAR)
            assert await element.money() == (cost, 0)

    room.run(session())


def test_a_number_of_no_zone_and_a_network_of_no_zone_are_refused_and_not_cheap(room: StoreRoom) -> None:
    async def session() -> None:
        call = await Element.made(room, sample(), "voice")
        assert (
            await call.initial({"IMS-Information": {"Called-Party-Address": "+8812345"}})
        ).code == Code.UNRATED
        data = await Element.made(room, sample(), "data")
        assert (await data.initial(NOWHERE)).code == Code.UNRATED
        silent = await Element.made(room, sample(), "data")
        assert (await silent.initial(None)).granted > 0  # nothing told: at home

    room.run(session())


def test_a_session_that_crosses_a_border_pays_each_side_by_its_rate(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at(NOON)
        await element.initial(HOME)
        await element.update(1_000, told=EU)  # used at home, 1.00; from here on by the other rate
        assert await element.posted() == 1_000_000
        element.forget()
        await element.update(100)  # nothing told: still abroad; 0.20 more
        assert await element.posted() == 2_000_000  # its minimum is 2.00 for the session
        await element.update(2_000, told=HOME)
        assert await element.posted() == 3_000_000  # and its cap 3.00
        await element.end(500)
        assert await element.money() == (3_500_000, 0)

    room.run(session())


def test_a_cap_below_what_was_posted_gives_nothing_back(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at(NOON)
        await element.initial(HOME)
        await element.update(5_000, told=EU)
        assert await element.money() == (
            5_000_000,
            0,
        )  # a cap of 3.00: what follows is free and holds nothing
        await element.update(10_000)
        assert await element.money() == (5_000_000, 0)
        await element.update(100, told=HOME)
        await element.end(100)
        assert await element.money() == (5_100_000, 0)

    room.run(session())


def test_a_rate_in_another_unit_settles_what_was_used_and_grants_nothing(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at(NOON)
        await element.initial(HOME)
        service = await element.update(1_000, told=WORLD)
        assert (service.code, service.unit, service.granted) == (Code.UNRATED, Unit.OCTETS, 0)
        assert await element.money() == (1_000_000, 0)
        element.forget()
        service = await element.update(0, told=HOME)
        assert service.granted > 0
        await element.end(100)
        assert await element.money() == (1_100_000, 0)

    room.run(session())


def test_free_and_paid_services_of_one_session_are_told_apart_by_every_worker(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at(NOON)
        await element.initial(HOME, group=900)
        await element.send(UPDATE, wanted=0, group=10)
        for group in (900, 10):
            element.forget()
            await element.update(1_000, group=group)
        assert await element.posted() == 1_000_000
        await element.send(TERMINATION)
        assert await element.money() == (1_000_000, 0)

    room.run(session())


@pytest.mark.parametrize("seconds", [2**32 - 1, 1_800_000_000, 172_801])
def test_seconds_beyond_belief_are_cut_in_no_time_and_set_aside(room: StoreRoom, seconds: int) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "voice")
        await element.at(NOON)
        await element.initial(NEAR, 60)
        await element.at("2026-02-05T12:01")
        outcome = await element.send(UPDATE, used=seconds, wanted=60)
        assert outcome.notes & Note.QUARANTINE
        assert (await element.last_record()).lines[0].posted_units == 60
        assert await element.posted() in {
            600_000,
            1_200_000,
        }  # of which window, an absurd report does not tell

    room.run(session())


def test_a_late_report_of_an_expired_session_posts_on_the_rate_that_it_was_granted_on(
    room: StoreRoom,
) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at(EVENING)
        await element.initial(EU)
        await element.at("2026-02-05T19:00")
        profile = element.account.profile
        assert await element.charged.expire(
            profile.partition, profile.account, element.session_id, RULES.tombstone_ms, forced=True
        ) == Code.SUCCESS  # fmt: skip
        element.forget()
        outcome = await element.end(1_200, told=HOME)
        assert (outcome.code, outcome.notes & Note.LATE) == (Code.SUCCESS, Note.LATE)
        assert await element.money() == (2_400_000, 0)
        assert [line.rate for line in (await element.last_record()).lines] == ["1:in-the-eu"]

    room.run(session())


def test_a_session_keeps_the_version_that_it_began_with_on_every_worker(room: StoreRoom) -> None:
    old = sample()
    new = read_tariff(
        SAMPLE.replace("version: 1", "version: 2").replace('"0.50"', '"0.90"'), "new.yaml", PLANS
    )

    async def session() -> None:
        element = await Element.made(room, old, "voice")
        await element.at(NOON)
        await element.initial(FAR)
        element.charged.book.tariffs = type(element.charged.book.tariffs)({old.key: old, new.key: new})
        element.forget()
        for number in (1, 2, 3):
            await element.update(10)
            assert await element.posted() == 5_000_000 * number
        stale = element.charged.book.counts["stale"]
        assert stale == 1  # told once, and remembered
        element.session_id = "gw;2"
        await element.initial(FAR)
        await element.update(10)
        assert await element.posted() == 15_000_000 + 9_000_000

    room.run(session())


def test_the_record_says_by_what_the_session_was_priced(room: StoreRoom) -> None:
    async def session() -> None:
        element = await Element.made(room, sample(), "voice")
        await element.at(NOON)
        await element.initial(NEAR)
        await element.end(10)
        record = await element.last_record()
        assert (record.facts, [line.rate for line in record.lines]) == ("near", ["1:near/0"])

    room.run(session())


def test_what_was_received_earlier_is_priced_as_of_then(room: StoreRoom) -> None:
    # a termination that was kept on disk while the store was away (ocs/balance/spool.py): 600 s beyond the grant, all before 18:00
    async def posted(at: str | None) -> int:
        element = await Element.made(room, sample(), "voice")
        await element.at("2026-02-05T17:45")
        await element.initial(NEAR, wanted=60)
        await element.at("2026-02-05T18:30")
        charged = element.charged
        at_ms = 0 if at is None else instant_ms(element.tariff, at) - charged.offset_ms
        identity = e164(MSISDN)
        assert identity is not None
        ask = element.ask_of(TERMINATION, "gw;1", identity, 660, None)
        ask = ask._replace(services=(ask.services[0]._replace(key="10", rating_group=10),))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        charged.book.charge(ask, future.set_result, at_ms=at_ms)
        assert (await future).code == Code.SUCCESS
        return await element.posted()

    assert room.run(posted("2026-02-05T17:56")) == 660 * 20_000
    assert room.run(posted(None)) == 60 * 20_000 + 600 * 10_000
    assert room.run(posted("2026-02-05T19:30")) == 60 * 20_000 + 600 * 10_000  # never later than now
