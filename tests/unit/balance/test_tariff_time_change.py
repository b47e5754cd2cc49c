"""Tariff-Time-Change: units say when their price changes, where config says so; their life ends there in any case."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ocs.charging.ask import INITIAL, ask
from tests.charged_store import StoreRoom, store_room
from tests.real_ocs import stranger
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import Gateway, written
from tests.unit.charging.ccr import ccr, octets, service, services
from tests.vectors.rating.element import HOME, sample
from tests.vectors.rating.table import instant_ms

TOLD = (
    "[charging.quota.data]\ntariff_time_change = true\n"
    "rating_groups = [{ rating_group = 7, tariff_time_change = false }]\n"
)
TARIFF = sample()
AT_SIX_MS = instant_ms(TARIFF, "2026-02-05T18:00")


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def gateway(room: StoreRoom, folder: Path, config: str, before_s: int) -> Gateway:
    """A gateway so many seconds before the tariff's evening."""
    made = Gateway(room, written(folder, config), "sample", 10_000_000, tariffs={TARIFF.key: TARIFF})
    made.run(made.charged.move_time(AT_SIX_MS - 1_000 * before_s - made.charged.now_ms))
    return made


def seconds(time: datetime) -> int:
    return int(time.replace(tzinfo=time.tzinfo or UTC).timestamp())


def begun(at: Gateway, *groups: int) -> dict[int, tuple[Any, int]]:
    """What the units of each service say of their change (None: nothing), and their life; python-diameter's typed reader leaves it out."""
    asked = [service(group, requested=octets(1_000)) for group in groups]
    told = services(*asked) | {"Service_Context_Id": "32251@3gpp.org", "Service_Information": HOME}
    message = ccr(INITIAL, 0, **told)
    request = ask(message)
    answer = stranger(at.answers.answer(message, request, at.run(at.charged.charge(request))))
    found = {}
    for one in answer.all_of(456):
        members = {each.code: each.value for each in one.value}
        units = {each.code: each.value for each in members[431]}
        found[members[432]] = units.get(451), members[448]
    return found


def test_units_that_end_at_an_edge_say_so(room: StoreRoom, tmp_path: Path) -> None:
    at = gateway(room, tmp_path, TOLD, 600)
    found = begun(at, 10, 7)
    edge_s = (AT_SIX_MS - at.charged.offset_ms) // 1_000  # by the client's clock, which no calendar moves
    change, life_s = found[10]
    assert abs(seconds(change) - edge_s) <= 1
    assert 597 <= life_s <= 600
    assert found[7] == (None, life_s)


def test_units_whose_price_does_not_change_within_their_life_say_nothing(
    room: StoreRoom, tmp_path: Path
) -> None:
    at = gateway(room, tmp_path, TOLD, 8_000)
    assert begun(at, 10) == {10: (None, 3_600)}


def test_without_a_word_in_config_nothing_is_said(room: StoreRoom, tmp_path: Path) -> None:
    at = gateway(room, tmp_path, "", 600)
    change, life_s = begun(at, 10)[10]
    assert change is None
    assert life_s <= 600


def test_a_version_that_comes_behind_the_end_of_the_units_is_no_change_of_theirs(
    room: StoreRoom, tmp_path: Path
) -> None:
    # grants of this family live 300 s, those of others 3,600: the next version, in 1,000 s, lies between
    at = gateway(room, tmp_path, TOLD.replace("true", "true\nvalidity_s = 300", 1), 8_000)
    later = dataclasses.replace(
        sample(**{"version: 1": "version: 2"}), effective_ms=at.charged.now_ms + 1_000_000, takes_along=True
    )
    at.charged.book.tariffs.add([later])
    assert begun(at, 10) == {10: (None, 300)}


def test_a_version_that_takes_sessions_along_is_a_change_of_price(room: StoreRoom, tmp_path: Path) -> None:
    at = gateway(room, tmp_path, TOLD, 8_000)
    later = dataclasses.replace(
        sample(**{"version: 1": "version: 2"}), effective_ms=at.charged.now_ms + 1_000_000, takes_along=True
    )
    at.charged.book.tariffs.add([later])
    change, life_s = begun(at, 10)[10]
    assert abs(seconds(change) - (later.effective_ms - at.charged.offset_ms) // 1_000) <= 1
    assert 997 <= life_s <= 1_000
