"""Credit pools (RFC 8506 section 5.1.2) from the settings to the octets of the answer: numbers that a reader can check by head.

Data costs 1.00 per MB in rating group 100 and 0.50 per MB in 200; rating group 1 costs 0.10 per minute. So an octet is worth 1 or
0.5 micro-units, and a second 1666.67. Whoever joins a pool holds 3 micro-units beside: two of rounding, one for its multiplier.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.outcomes import Note
from ocs.rating.tariff import read_tariff
from ocs.records import Charge
from ocs.roof.build import rules_of
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import Gateway, only, written
from tests.unit.charging.ccr import octets, service, services

MB = 1_000_000
EURO = 1_000_000
JOINS = 3
SECONDS = {"CC-Time": 3_000}
TARIFF = read_tariff(
    """
tariff: pooled
version: 1
currency: EUR
rates:
  - {name: access, service: data, rating_groups: [100], steps: [{block: 1, price: "1.00", per: 1000000}]}
  - {name: half, service: data, rating_groups: [200], steps: [{block: 1, price: "0.50", per: 1000000}]}
  - {name: talk, service: data, unit: seconds, rating_groups: [1], steps: [{block: 1, price: "0.10", per: minute}]}
  - {name: blocks, service: data, rating_groups: [300], steps: [{block: 1000, price: "1.00", per: 1000000}]}
  - {name: tiers, service: data, rating_groups: [400], steps: [{block: 1, price: "1.00", per: 1000000}, {from: 9000000, block: 1, price: "0.10", per: 1000000}]}
  - {name: capped, service: data, rating_groups: [500], cap_per_session: {amount: "9.00", then: disconnect}, steps: [{block: 1, price: "1.00", per: 1000000}]}
  - {name: free, service: data, rating_groups: [600], free: true}
services:
  voice:
    unit: seconds
    steps: [{block: 60, price: "0.10", per: 60}]
""",
    "pooled.yaml",
)
POOL = f"[charging.grants]\nseconds = 3000\n[charging.quota.data]\ngrant = {5 * MB}\nmost = {20 * MB}\npool = 1\n"


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


def gateway_of(room: StoreRoom, folder: Path, euro: float = 100, text: str = POOL) -> Gateway:
    return Gateway(room, written(folder, text), "pooled", round(euro * EURO), {TARIFF.key: TARIFF})


def told(one: Any) -> tuple[int, int, Decimal] | None:
    """Pool, CC-Unit-Type and multiplier of a service of an answer."""
    for each in one.g_s_u_pool_reference:
        value = each.unit_value
        return (
            each.g_s_u_pool_identifier,
            each.cc_unit_type,
            Decimal(value.value_digits).scaleb(value.exponent or 0),
        )
    return None


def money(gateway: Gateway) -> tuple[int, int]:
    """Posted and reserved."""
    book = gateway.book()
    return book.posted_micros, book.pending_micros


def notes(gateway: Gateway) -> list[Note]:
    """Whether each request so far was noted as overrun, or in part as quarantined."""
    profile = gateway.account.profile
    name = gateway.charged.parts.keys[profile.partition].book(profile.account)
    seen = gateway.run(gateway.charged.look(profile.partition, [name]))
    return [
        each.notes & (Note.OVERRUN | Note.QUARANTINE) for each in seen.records if isinstance(each, Charge)
    ]


def both(gateway: Gateway) -> Any:
    """Open a session of two services of one pool: 5 MB each, worth 5.00 and 2.50."""
    return gateway.begin(service(100, requested={}), service(200, requested={}))


def test_the_example_of_the_rfc(room: StoreRoom, tmp_path: Path) -> None:
    # RFC 8506 appendix B.9, pool 1: 5 MB at 1.00, multiplier 10; 50 min at 0.10, multiplier 1; here in micro-units
    gateway = gateway_of(room, tmp_path)
    one = only(gateway.begin(service(100, requested={})))
    assert (one.granted_service_unit.cc_total_octets, told(one)) == (5 * MB, (1, 2, Decimal(1)))
    assert money(gateway) == (0, 5 * EURO + JOINS)
    one = only(gateway.go_on(service(1, requested=SECONDS)))
    assert (one.granted_service_unit.cc_time, told(one)) == (3_000, (1, 0, Decimal("1666.6666666666667")))
    assert money(gateway) == (0, 10 * EURO + 2 * JOINS)
    # "Suppose that the total amount of used units is 4MB ... S for Pool 1 = 60 ... now the reservation is $11 ... S for Pool 1 = 110"
    one = only(gateway.go_on(service(100, used=octets(4 * MB), requested={})))
    assert (one.granted_service_unit.cc_total_octets, told(one)) == (5 * MB, (1, 2, Decimal(1)))
    assert money(gateway) == (4 * EURO, 11 * EURO + 2 * JOINS)


def test_one_service_uses_all_of_a_pool(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    assert [told(each) for each in both(gateway).multiple_services_credit_control] == [
        (1, 2, Decimal(1)),
        (1, 2, Decimal("0.5")),
    ]
    assert money(gateway) == (0, 7_500_000 + 2 * JOINS)
    # 5 MB of its own and the 2.50 of the other
    gateway.go_on(service(100, used=octets(7_500_000), requested={}))
    assert money(gateway) == (7_500_000, 5 * EURO + 2 * JOINS)
    assert notes(gateway) == [0, 0]


def test_the_cheaper_service_uses_more_units_of_it(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    gateway.go_on(service(200, used=octets(15 * MB), requested={}))
    assert money(gateway) == (7_500_000, 2_500_000 + 2 * JOINS)
    assert notes(gateway) == [0, 0]


def test_what_is_beyond_the_pool_is_overrun_and_posted(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    gateway.end(service(100, used=octets(7_500_007)))
    assert money(gateway) == (7_500_007, 0)
    assert notes(gateway) == [0, 2]


def test_three_services_are_reported_together_when_the_pool_is_used_up(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = gateway_of(room, tmp_path)
    gateway.begin(service(100, requested={}), service(200, requested={}), service(300, requested={}))
    # 5.00, 2.50, 5.00; a block of 1,000 begins with its first octet, so the third brings 999 more
    assert money(gateway) == (0, 12_500_000 + 3 * JOINS + 999)
    answer = gateway.go_on(
        service(100, used=octets(MB), requested={}, **{"Reporting-Reason": 8}),
        service(200, used=octets(4 * MB), requested={}),
        service(300, used=octets(9_500_000), requested={}),
    )
    assert [each.result_code for each in answer.multiple_services_credit_control] == [2001] * 3
    # 1.00 + 2.00 + 9.50 were used of 12.50, and the same is granted anew
    assert money(gateway) == (12_500_000, 12_500_000 + 3 * JOINS + 999)
    assert notes(gateway) == [0, 0]


def test_reports_may_come_one_by_one_and_in_any_order(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    gateway.say(UPDATE, 2, **services(service(200, used=octets(9 * MB), requested={})))
    late = only(gateway.say(UPDATE, 1, **services(service(100, used=octets(3 * MB)))))
    assert late.granted_service_unit is None
    # 4.50 and 3.00 of 7.50; 2.50 came anew; who asks for no more leaves the pool, and what was its own stays in it
    assert money(gateway) == (7_500_000, 2_500_000 + 2 * JOINS)
    assert notes(gateway) == [0, 0, 0]


def test_what_stands_in_a_pool_is_not_granted_twice(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    gateway.say(UPDATE, 2, **services(service(200, used=octets(MB), requested={})))
    before = money(gateway)
    late = only(gateway.say(UPDATE, 1, **services(service(200, used=octets(0), requested={}))))
    assert (late.result_code, late.g_s_u_pool_reference) == (4012, [])
    assert money(gateway) == before


def test_a_repetition_is_told_the_same_and_moves_nothing(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    group = service(100, used=octets(7 * MB), requested={})
    answer = gateway.go_on(group)
    before = money(gateway)
    gateway.charged.book.known.clear()  # another worker
    again = gateway.say(UPDATE, 1, **services(group))
    assert again.as_bytes() == answer.as_bytes()
    assert money(gateway) == before
    assert told(only(again)) == (1, 2, Decimal(1))


def test_asking_again_and_again_adds_little_to_twice_what_is_wanted(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    gateway.begin(service(100, requested={}))
    granted = [
        only(gateway.go_on(service(100, used=octets(0), requested={}))).granted_service_unit.cc_total_octets
        for _ in range(4)
    ]
    # what joining brings is worth 3 octets: up to twice the 5 MB, then a tenth of 5 MB each time
    assert granted == [5 * MB - 3, MB // 2, MB // 2, MB // 2]
    assert money(gateway) == (0, 11_500_000)


def test_who_leaves_lets_its_credit_to_the_others(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    gateway.go_on(service(100, used=octets(MB)))
    assert money(gateway) == (EURO, 6_500_000 + 2 * JOINS)
    gateway.go_on(service(200, used=octets(13 * MB)))
    assert money(gateway) == (7_500_000, 0)
    assert notes(gateway) == [0, 0, 0]


def test_a_termination_and_an_expiry_give_all_of_it_back(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    gateway.end(service(100, used=octets(6 * MB)), service(200, used=octets(3 * MB)))
    assert money(gateway) == (7_500_000, 0)
    assert notes(gateway) == [0, 0]
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    profile = gateway.account.profile
    code = gateway.run(
        gateway.charged.expire(profile.partition, profile.path, "smf.example.org;1;2", 1_000, forced=True)
    )
    assert (code.name, money(gateway)) == ("SUCCESS", (0, 0))


def test_who_has_too_little_for_a_pool_is_granted_the_last_units_without(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = gateway_of(room, tmp_path, 3)
    one = only(gateway.begin(service(100, requested={})))
    assert (one.granted_service_unit.cc_total_octets, told(one)) == (3 * MB - JOINS, (1, 2, Decimal(1)))
    assert one.final_unit_indication.final_unit_action == 0
    one = only(gateway.go_on(service(100, used=octets(3 * MB - JOINS), requested={})))
    # the three micro-units that were held beside are granted last, in no pool
    assert (one.granted_service_unit.cc_total_octets, told(one)) == (JOINS, None)
    assert money(gateway) == (3 * EURO - JOINS, JOINS)


def test_only_what_costs_the_same_wherever_it_stands_is_in_a_pool(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    answer = gateway.begin(*(service(group, requested={}) for group in (300, 400, 500, 600)))
    assert [told(each) for each in answer.multiple_services_credit_control] == [
        (1, 2, Decimal(1)),
        None,
        None,
        None,
    ]


def test_a_rating_group_may_be_in_another_pool_or_in_none(room: StoreRoom, tmp_path: Path) -> None:
    text = POOL + "rating_groups = [{ rating_group = 200, pool = 2 }, { rating_group = 300, pool = 0 }]\n"
    gateway = gateway_of(room, tmp_path, text=text)
    answer = gateway.begin(*(service(group, requested={}) for group in (100, 200, 300)))
    assert [told(each) for each in answer.multiple_services_credit_control] == [
        (1, 2, Decimal(1)),
        (2, 2, Decimal("0.5")),
        None,
    ]
    gateway.end(service(100, used=octets(5 * MB + 4)))
    assert notes(gateway) == [0, 2]  # what the others hold is not of its pool


def test_a_family_without_a_pool_and_a_session_without_services_know_none(
    room: StoreRoom, tmp_path: Path
) -> None:
    gateway = gateway_of(room, tmp_path)
    one = only(gateway.begin(family="voice"))
    assert (one.granted_service_unit.cc_time, told(one)) == (3_000, None)
    gateway = gateway_of(room, tmp_path, text=POOL + "[charging.quota.voice]\npool = 7\n")
    answer = gateway.say(INITIAL, 0, "voice", Requested_Service_Unit={})
    assert answer.granted_service_unit.cc_time == 3_000
    assert money(gateway) == (0, 5 * EURO)
    gateway.say(TERMINATION, 1, "voice", Used_Service_Unit=[{"CC-Time": 60}])
    assert money(gateway) == (100_000, 0)


def test_settings_without_a_pool_end_it_with_the_next_grant(room: StoreRoom, tmp_path: Path) -> None:
    gateway = gateway_of(room, tmp_path)
    both(gateway)
    first = service(100, used=octets(6 * MB), requested={})
    gateway.go_on(first)
    before = money(gateway)
    gateway.charged.book.rules = rules_of(written(tmp_path, ""))
    again = only(gateway.say(UPDATE, 1, **services(first)))
    assert (again.granted_service_unit.cc_total_octets, told(again)) == (5 * MB, None)
    assert (again.final_unit_indication, money(gateway)) == (None, before)
    # 6.00 and 3.00 were used of 12.50; what 100 holds for itself is 5.00 of 5 MB, of 200 nothing is asked anew
    gateway.go_on(service(200, used=octets(6 * MB)))
    assert money(gateway) == (9 * EURO, 3_500_000 + 2 * JOINS)
    one = only(gateway.go_on(service(100, used=octets(3_500_000), requested=octets(MB))))
    assert (one.granted_service_unit.cc_total_octets, told(one)) == (MB, None)
    assert money(gateway) == (12_500_000, EURO)
