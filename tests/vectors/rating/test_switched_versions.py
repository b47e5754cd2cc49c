"""Sessions that go on with a tariff's next version while they run, charged on a real store: what each unit costs, to the micro-unit."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ocs.balance.entries import entries
from ocs.charging.ask import UPDATE
from ocs.charging.outcome import Outcome
from ocs.charging.replay import Compared, Replay
from ocs.names import e164
from ocs.outcomes import Code
from ocs.rating.numbering import read_numbering
from ocs.rating.tariff import Tariff, read_tariff
from ocs.units import Unit
from tests.charged_store import StoreRoom
from tests.vectors.rating.element import (
    EMERGENCY,
    HOME,
    MSISDN,
    NEAR,
    PLANS,
    RECEIVED,
    SAMPLE,
    Element,
    sample,
)

PER_OCTET = """
tariff: octets
version: 1
currency: EUR
services:
  data: {unit: octets, steps: [{block: 1, price: "0.000001", per: 3}]}
"""
FLAT_CALLS = """
tariff: sample
version: 1
currency: EUR
services:
  voice: {unit: seconds, steps: [{block: 1, price: "0.05", per: second}]}
"""
DEARER = {'"0.000001"': '"0.000010"'}


def octets(version: int = 1, **changes: str) -> Tariff:
    text = PER_OCTET.replace("version: 1", f"version: {version}")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return read_tariff(text, "octets.yaml")


def coming(element: Element, tariff: Tariff, in_s: int, *, takes_along: bool = True) -> None:
    """Let the element's server know a version that counts so many seconds from now on."""
    effective_ms = element.charged.now_ms + 1_000 * in_s
    element.charged.book.tariffs.add([replace(tariff, effective_ms=effective_ms, takes_along=takes_along)])


async def later(element: Element, seconds: int) -> None:
    await element.at(element.charged.now_ms + 1_000 * seconds)


async def replayed(element: Element, key: str) -> list[Compared]:
    """What a replay of all records finds of sessions that began on a version, by partition that has any."""
    versions = element.charged.book.tariffs
    tariff = versions.of_session(key)
    assert tariff is not None
    found = []
    for keys in element.charged.parts.keys:
        replay = Replay(tariff, versions.of_session, lambda each: each == key, 10**12)
        for entry in entries(await element.charged.store.execute(keys.slot, "XRANGE", keys.stream, "-", "+")):
            replay.add(entry.record())
        replay.end_partition()
        found += [replay.found] if replay.found.sessions else []
    return found


@pytest.mark.parametrize("forgets", [False, True])
def test_what_was_granted_before_costs_the_old_price_and_what_comes_after_the_new(
    room: StoreRoom, *, forgets: bool
) -> None:
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000)
        coming(element, octets(2, **{'"0.000001"': '"0.000002"'}), 60)
        await later(element, 61)
        if forgets:
            element.forget()
        await element.update(3_000, wanted=3_000)
        assert await element.posted() == 1_000
        assert (await element.money()).pending_micros == 2_000
        if forgets:
            element.forget()
        await element.end(3_000)
        assert await element.posted() == 3_000
        record = await element.last_record()
        assert (record.tariff, record.lines[0].rate, record.lines[0].amount_micros) == (
            "octets@2",
            "2:",
            2_000,
        )

    room.run(told())


def test_a_version_that_does_not_say_so_leaves_running_sessions_alone(room: StoreRoom) -> None:
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000)
        coming(element, octets(2, **{'"0.000001"': '"0.000002"'}), 60, takes_along=False)
        await later(element, 61)
        await element.update(3_000, wanted=3_000)
        await element.end(3_000)
        assert await element.posted() == 2_000
        assert (await element.last_record()).tariff == "octets@1"

    room.run(told())


def test_the_chain_of_the_old_version_is_closed_and_rounded(room: StoreRoom) -> None:
    # four octets cost 1 1/3 micro-units, posted as 1; four more on the next version begin there: 2 1/3, and not 2 2/3
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=4)
        coming(element, octets(2), 60)
        await later(element, 61)
        await element.update(4, wanted=4)
        await element.end(4)
        assert await element.posted() == 2
        (found,) = await replayed(element, "octets@1")
        assert (found.sessions, found.apart) == (1, {})
        (paid,) = found.accounts.values()
        assert (paid.paid_micros, paid.would_micros) == (2, 3)  # eight octets on the first version alone

    room.run(told())


def test_no_grant_passes_the_instant_at_which_the_next_version_takes_the_session_along(
    room: StoreRoom,
) -> None:
    async def told() -> None:
        element = await Element.made(room, sample(), "voice")
        await element.at("2026-02-05T12:00")
        await element.initial(NEAR, wanted=3_000)
        coming(element, sample(**{"version: 1": "version: 2"}), 600)
        granted = await element.update(0, wanted=3_000)
        assert (granted.granted, granted.validity_s) == (600, 600)
        coming(element, sample(**{"version: 1": "version: 3"}), 300, takes_along=False)
        granted = await element.update(0, wanted=3_000)
        assert (granted.granted, granted.validity_s) == (600, 600)

    room.run(told())


def test_a_service_that_does_not_ask_stays_on_the_version_of_its_grant(room: StoreRoom) -> None:
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000, group=10)
        await element.send(UPDATE, wanted=3_000, group=20)
        coming(element, octets(2, **DEARER), 60)
        await later(element, 61)
        await element.update(3_000, wanted=3_000, group=10)
        assert await element.posted() == 1_000
        element.forget()
        await element.update(1_500, wanted=3_000, group=20)  # on the old version; from now on the new
        assert await element.posted() == 1_500
        assert (await element.last_record()).lines[0].rate == "1:"
        await element.update(3_000, wanted=3_000, group=20)
        assert await element.posted() == 11_500

    room.run(told())


GROUPS = """
tariff: octets
version: 1
currency: EUR
rates:
  - {name: ten, service: data, rating_groups: [10], steps: [{block: 1, price: "0.000001", per: 3}]}
  - {name: rest, service: data, steps: [{block: 1, price: "0.000001", per: 3}]}
"""
REST = '  - {name: rest, service: data, steps: [{block: 1, price: "0.000001", per: 3}]}\n'


@pytest.mark.parametrize("rest", ["", REST.replace("data,", "data, unit: seconds,")])
def test_a_service_that_the_next_version_does_not_price_as_it_is_measured_stays_where_it_is(
    room: StoreRoom, rest: str
) -> None:
    one = read_tariff(GROUPS, "one.yaml")
    two = read_tariff(GROUPS.replace("version: 1", "version: 2").replace(REST, rest), "two.yaml")

    async def told() -> None:
        element = await Element.made(room, one, "data")
        await element.initial(None, wanted=3_000, group=10)
        await element.send(UPDATE, wanted=3_000, group=20)
        coming(element, two, 60)
        await later(element, 61)
        assert (await element.update(3_000, wanted=3_000, group=10)).code == Code.SUCCESS
        for _ in range(2):
            granted = await element.update(3_000, wanted=3_000, group=20)
            assert (granted.code, granted.unit) == (Code.SUCCESS, Unit.OCTETS)
        line = (await element.last_record()).lines[0]
        assert (line.rate, await element.posted()) == ("1:rest", 3_000)

    room.run(told())


def test_a_session_keeps_its_version_where_the_next_does_not_sell_its_service(room: StoreRoom) -> None:
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000)
        coming(element, octets(2, **{"data: {unit: octets": "sms: {unit: events"}), 60)
        await later(element, 61)
        assert (await element.update(3_000, wanted=3_000)).code == Code.SUCCESS
        await element.end(3_000)
        assert await element.posted() == 2_000
        assert (await element.last_record()).tariff == "octets@1"

    room.run(told())


@pytest.mark.parametrize("told_in_an_update", [NEAR, EMERGENCY, RECEIVED])
def test_what_a_later_request_says_of_a_call_moves_it_nowhere(
    room: StoreRoom, told_in_an_update: dict[str, Any]
) -> None:
    flat = read_tariff(FLAT_CALLS, "flat.yaml")

    async def told() -> None:
        element = await Element.made(room, flat, "voice")
        await element.initial(None, wanted=60)
        coming(element, sample(**{"version: 1": "version: 2"}), 60)
        await later(element, 61)
        granted = await element.update(60, wanted=60, told=told_in_an_update)
        assert granted.code == Code.SUCCESS
        await element.end(60)
        assert await element.posted() == 120 * 50_000

    room.run(told())


def test_a_call_keeps_its_version_where_nobody_kept_what_the_next_one_looks_at(room: StoreRoom) -> None:
    flat = read_tariff(FLAT_CALLS, "flat.yaml")

    async def told() -> None:
        element = await Element.made(room, flat, "voice")
        await element.initial(NEAR, wanted=60)
        coming(element, sample(**{"version: 1": "version: 2"}), 60)
        await later(element, 61)
        granted = await element.update(60, wanted=60, told=NEAR)
        assert granted.code == Code.SUCCESS
        await element.end(60)
        assert await element.posted() == 120 * 50_000

    room.run(told())


@pytest.mark.parametrize("anew", [True, False])
def test_data_goes_on_with_zones_of_another_plan_once_a_request_tells_them(
    room: StoreRoom, *, anew: bool
) -> None:
    other = read_numbering(
        'numbering: sample\ncountry_code: "49"\nzones: [near, far]\nprefixes: p\nroaming_zones: [home, eu, world]\nnetworks: n\n',
        "sample.yaml",
        {"p": "prefix,zone\n49,near\n1,far\n", "n": "network,zone\n262,eu\n208,home\n310,world\n"},
    )
    assert other != PLANS["sample"]

    async def told() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at("2026-02-05T12:00")
        await element.initial(HOME, wanted=100)
        coming(element, replace(sample(**{"version: 1": "version: 2"}), numbering=other), 60)
        await later(element, 61)
        await element.update(100, wanted=100, told=HOME if anew else None)
        await element.end(100)
        # at home 0.10; in the other plan this network is abroad, where a session costs 2.00 at least
        assert await element.posted() == (2_000_000 if anew else 200_000)

    room.run(told())


@pytest.mark.parametrize("tariff", [octets(), sample()])
def test_what_a_worker_knows_of_one_service_says_nothing_of_another(room: StoreRoom, tariff: Tariff) -> None:
    changes = {"version: 1": "version: 2", '"0.10", per: 100': '"1.10", per: 100'}
    dearer = octets(2, **DEARER) if tariff.name == "octets" else sample(**changes)

    async def told() -> None:
        element = await Element.made(room, tariff, "data")
        await element.at("2026-02-05T12:00")
        await element.initial(HOME, wanted=300, group=10)
        await element.send(UPDATE, wanted=300, group=20)
        element.forget()
        coming(element, dearer, 60)
        await element.update(0, wanted=300, group=10, told=HOME)  # from here on the worker knows of this one
        assert len(element.charged.book.known["gw;1"].marks) == 1
        await later(element, 61)
        await element.update(300, wanted=300, group=20)
        assert await element.posted() == (100 if tariff.name == "octets" else 300_000)

    room.run(told())


def test_two_requests_under_way_at_once_teach_the_worker_both(room: StoreRoom) -> None:
    async def told() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at("2026-02-05T12:00")
        await element.initial(HOME, wanted=100)
        identity = e164(MSISDN)
        assert identity is not None
        ask = element.ask_of(UPDATE, element.session_id, identity, None, 100)
        outcomes = []
        for number, group in ((1, 20), (2, 30)):
            service = ask.services[0]._replace(key=str(group), rating_group=group)
            future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            one = ask._replace(number=number, digest=number, services=(service,))
            element.charged.book.charge(one, future.set_result)
            outcomes.append(future)
        assert [(await each).code for each in outcomes] == [Code.SUCCESS] * 2
        assert set(element.charged.book.known[element.session_id].marks) == {"10", "20", "30"}

    room.run(told())


def test_a_version_that_takes_along_no_more_leaves_every_service_on_its_own(room: StoreRoom) -> None:
    # a folder's file edited under the same version; the marks of the session tell all the same
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000, group=10)
        await element.send(UPDATE, wanted=3_000, group=20)
        coming(element, octets(2, **DEARER), 60)
        await later(element, 61)
        await element.update(3_000, wanted=3_000, group=10)
        element.charged.book.tariffs.taking = frozenset()
        element.forget()
        await element.update(3_000, wanted=3_000, group=20)
        assert await element.posted() == 2_000

    room.run(told())


def test_a_late_lower_number_moves_its_service_and_not_the_session(room: StoreRoom) -> None:
    text = SAMPLE.replace("version: 1", "version: 2").replace(
        "roaming: [home]", "roaming: [home]\n    access: [eutran]"
    )
    home = HOME["PS-Information"] | {"3GPP-RAT-Type": b"\x06"}

    async def told() -> None:
        element = await Element.made(room, sample(), "data")
        await element.at("2026-02-05T12:00")
        await element.initial(HOME, wanted=100, group=10)
        await element.send(UPDATE, wanted=100, group=20)
        element.number = 2
        await element.update(0, wanted=100, group=10)
        coming(element, read_tariff(text, "sample.yaml", PLANS), 60)
        await later(element, 61)
        element.number = 1
        await element.update(100, wanted=100, group=20, told={"PS-Information": home})  # number 2, behind 3
        assert ((await element.last_record()).tariff, await element.posted()) == ("sample@1", 100_000)
        element.number = 3
        assert (await element.update(0, wanted=100, group=10)).code == Code.SUCCESS
        again = await element.update(100, wanted=100, group=20, told={"PS-Information": home})
        assert (again.code, (await element.last_record()).lines[0].rate) == (Code.SUCCESS, "2:at-home/0")

    room.run(told())


def test_a_version_that_no_service_of_a_request_is_on_need_not_be_known(room: StoreRoom) -> None:
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000, group=10)
        await element.send(UPDATE, wanted=3_000, group=20)
        coming(element, octets(2), 60)
        await later(element, 61)
        element.forget()
        await element.update(3_000, wanted=3_000, group=10)
        del element.charged.book.tariffs._by_key["octets@1"]
        assert (await element.send(UPDATE, used=3_000, wanted=3_000, group=10)).code == Code.SUCCESS
        assert (await element.end(3_000, group=10)).code == Code.SUCCESS

    room.run(told())


def test_a_worker_that_does_not_know_a_version_of_the_session_says_try_again(room: StoreRoom) -> None:
    async def told() -> None:
        element = await Element.made(room, octets(), "data")
        await element.initial(None, wanted=3_000, group=10)
        await element.send(UPDATE, wanted=3_000, group=20)
        coming(element, octets(2), 60)
        await later(element, 61)
        await element.update(3_000, wanted=3_000, group=10)
        tariffs = element.charged.book.tariffs
        first = tariffs._by_key.pop("octets@1")
        element.forget()
        refused = await element.send(UPDATE, used=3_000, wanted=3_000, group=20)
        assert (refused.code, element.charged.book.counts["tariff_unknown"]) == (Code.EPOCH, 1)
        tariffs._by_key["octets@1"] = first
        element.number -= 1  # the same request again
        await element.update(3_000, wanted=3_000, group=20)
        assert await element.posted() == 2_000

    room.run(told())
