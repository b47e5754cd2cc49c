"""Quota by family and rating group, from the settings to the octets of the answer, on a real store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service

EURO = 1_000_000
DATA = """
[charging.quota.data]
grant = 4194304
most = 20971520
validity_s = 600
holding_s = 120
threshold = "20%"
rating_groups = [{ rating_group = 7, grant = 1048576, threshold = "2097152", holding_s = 0 }]
"""


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def test_a_family_and_a_rating_group_have_quota_of_their_own(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, DATA), credit_micros=10 * EURO)
    groups = (service(10, requested={}), service(7, requested={}), service(8, requested=octets(50 * MIB)))
    seen = [
        (
            one.rating_group,
            one.granted_service_unit.cc_total_octets,
            one.validity_time,
            one.volume_quota_threshold,
            one.quota_holding_time,
            one.quota_consumption_time,
        )
        for one in gateway.begin(*groups).multiple_services_credit_control
    ]
    assert seen == [
        (10, 4 * MIB, 600, 4 * MIB // 5, 120, None),
        (7, MIB, 600, MIB, 0, None),
        (8, 20 * MIB, 600, 4 * MIB, 120, None),
    ]


def test_what_a_rated_tariff_grants_has_the_same_quota(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, DATA), "mobile", credit_micros=10 * EURO)
    one = only(gateway.begin())
    assert (one.granted_service_unit.cc_total_octets, one.validity_time) == (4 * MIB, 600)
    assert (one.volume_quota_threshold, one.quota_holding_time) == (4 * MIB // 5, 120)


def test_the_last_units_have_no_threshold(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, DATA), credit_micros=20_000)
    one = only(gateway.begin())
    assert (one.granted_service_unit.cc_total_octets, one.final_unit_indication.final_unit_action) == (
        2 * MIB,
        0,
    )
    assert (one.volume_quota_threshold, one.quota_holding_time) == (None, 120)


def test_seconds_have_a_consumption_time_and_a_threshold_of_time(room: StoreRoom, tmp_path: Path) -> None:
    text = '[charging.quota.voice]\nconsumption_s = 5\nthreshold = "10"\ngrant = 30\n'
    gateway = Gateway(room, written(tmp_path, text), credit_micros=10 * EURO)
    one = only(gateway.begin(family="voice"))
    assert (one.granted_service_unit.cc_time, one.time_quota_threshold, one.quota_consumption_time) == (
        30,
        10,
        5,
    )
    assert (one.volume_quota_threshold, one.quota_holding_time) == (None, None)


def test_a_session_lives_as_long_as_its_longest_grant(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(
        room, written(tmp_path, "[charging.quota.data]\nvalidity_s = 7200\n"), credit_micros=EURO
    )
    assert only(gateway.begin()).validity_time == 7_200
    gateway.wait(7_199 * 2)
    profile = gateway.account.profile
    code = gateway.run(
        gateway.charged.expire(profile.partition, profile.path, "smf.example.org;1;2", 1_000, forced=False)
    )
    assert code.name == "STALE"


def test_without_a_word_in_the_settings_no_answer_changes(room: StoreRoom, tmp_path: Path) -> None:
    gateway = Gateway(room, written(tmp_path, ""), credit_micros=10 * EURO)
    one = only(gateway.begin())
    assert (one.granted_service_unit.cc_total_octets, one.validity_time) == (10 * MIB, 3_600)
    assert {name for name, value in vars(one).items() if value not in (None, [])} - {"_additional_avps"} == {
        "granted_service_unit",
        "rating_group",
        "result_code",
        "validity_time",
    }
