from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.http.rates import Limit, Rates, block_of

TWO_A_SECOND = Limit(2, 1000, 4)


def test_a_burst_passes_and_then_as_many_as_are_earned() -> None:
    rates = Rates(10)
    assert [rates.take("a", TWO_A_SECOND, 0) for _ in range(5)] == [0, 0, 0, 0, 500]
    assert rates.take("a", TWO_A_SECOND, 499) == 1
    assert rates.take("a", TWO_A_SECOND, 500) == 0
    assert rates.take("a", TWO_A_SECOND, 500) == 500
    assert rates.take("b", TWO_A_SECOND, 500) == 0


def test_idleness_earns_no_more_than_a_burst() -> None:
    rates = Rates(10)
    assert rates.take("a", TWO_A_SECOND, 0) == 0
    assert [rates.take("a", TWO_A_SECOND, 3_600_000) for _ in range(5)] == [0, 0, 0, 0, 500]


def test_who_only_asks_how_long_takes_nothing() -> None:
    rates = Rates(10)
    assert [rates.wait_ms("a", Limit(1, 1000, 1), 0) for _ in range(5)] == [0] * 5
    assert rates.take("a", Limit(1, 1000, 1), 0) == 0
    assert rates.wait_ms("a", Limit(1, 1000, 1), 0) == 1000


def test_a_clock_that_runs_backwards_earns_nothing() -> None:
    rates = Rates(10)
    assert rates.take("a", Limit(1, 1000, 1), 5000) == 0
    assert rates.take("a", Limit(1, 1000, 1), 0) == 1000


def test_the_name_that_was_quiet_longest_is_forgotten_first() -> None:
    rates = Rates(2)
    once = Limit(1, 1_000_000, 1)
    for name in ("a", "b"):
        assert rates.take(name, once, 0) == 0
    assert rates.take("c", once, 1) == 0
    assert len(rates) == 2
    assert rates.wait_ms("b", once, 1) > 0
    assert rates.wait_ms("a", once, 1) == 0


@given(
    st.integers(1, 50), st.integers(1, 5000), st.integers(1, 50), st.lists(st.integers(0, 3000), max_size=60)
)
def test_never_more_pass_than_the_burst_and_what_was_earned(
    times: int, in_ms: int, burst: int, pauses: list[int]
) -> None:
    """Over every stretch that begins with a full bucket; and whoever waits as long as told passes."""
    rates, limit, now_ms, passed = Rates(1), Limit(times, in_ms, burst), 0, 0
    for pause_ms in pauses:
        now_ms += pause_ms
        waits_ms = rates.take("a", limit, now_ms)
        if waits_ms:
            assert rates.wait_ms("a", limit, now_ms + waits_ms - 1) > 0
            assert rates.wait_ms("a", limit, now_ms + waits_ms) == 0
        passed += not waits_ms
        assert passed * in_ms <= burst * in_ms + now_ms * times


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("-", "-"),
    ],
)
def test_an_address_stands_for_itself_and_one_of_ipv6_for_its_subscribers_network(
    address: str, block: str
) -> None:
    assert block_of(address) == block
