"""Credit pools (RFC 8506 section 5.1.2) at a real `ocs serve`: python-diameter asks and reads, Wireshark's tshark dissects."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.test_compliance_credit_control import (
    FIRST,
    INITIAL,
    MIB,
    TERMINATION,
    UPDATE,
    element,
    wish,
)
from tests.real_ocs import RealOcs
from tests.tap import DIAMETER_PORT, Tap, write_pcap
from tests.tshark import dissect


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(
        tmp_path_factory.mktemp("pools"),
        OCS_CHARGING__QUOTA__DATA__GRANT=str(4 * MIB),
        OCS_CHARGING__QUOTA__DATA__POOL="9",
    ) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "2", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "1.00"),
        )
        yield made


def told(answer: Any) -> list[tuple[int, int, int, int, int]]:
    """Octets granted, and the reference: pool, CC-Unit-Type, Value-Digits and Exponent of the multiplier."""
    found = []
    for one in answer.multiple_services_credit_control:
        (reference,) = one.g_s_u_pool_reference
        value = reference.unit_value
        found.append(
            (
                one.granted_service_unit.cc_total_octets,
                reference.g_s_u_pool_identifier,
                reference.cc_unit_type,
                value.value_digits,
                value.exponent,
            )
        )
    return found


# 0.01 for each begun MiB: 0.0095367431640625 micro-units an octet. Each service holds 0.04 for its 4 MiB, and once the rest of a
# block and rounding: 0.010003.
GRANTED = (4 * MIB, 9, 2, 95_367_431_640_625, -16)


def test_a_gateway_uses_a_pool_for_one_service_and_overruns_nothing(server: RealOcs) -> None:
    with Tap(server.port) as tap, element(tap, 0) as pgw:
        assert told(pgw.ask(INITIAL, 0, wish(10), wish(20))) == [GRANTED, GRANTED]
        assert server.balance(pgw.number) == ("1.00", "0.100006")
        # all 8 MiB of the pool by one service
        assert told(pgw.ask(UPDATE, 1, wish(10, used=8 * MIB))) == [GRANTED]
        assert server.balance(pgw.number) == ("0.92", "0.060006")
        used = pgw.ask(TERMINATION, 2, wish(10, used=MIB, ends=True), wish(20, used=3 * MIB, ends=True))
        assert used.result_code == 2001
        assert server.balance(pgw.number) == ("0.88", "0.00")
    assert server.count("ocs_charging_notes_total", "overrun") == 0
    assert server.ocs("audit")["clean"] is True
    assert server.troubles() == []
    if shutil.which("tshark") is None:
        pytest.skip("no tshark: the answers were read by python-diameter alone")
    capture = server.folder.parent / "pools.pcap"
    write_pcap(capture, tap.said)
    ours = [each for each in dissect(capture, DIAMETER_PORT) if each.from_server]
    assert [each.complaints for each in ours if each.complaints] == []
    names = [one.name for each in ours for one in each.every()]
    assert all(names)
    assert names.count("G-S-U-Pool-Reference") == 3


@pytest.mark.slow
def test_a_pool_outlives_a_restart_and_what_was_answered_is_said_again(server: RealOcs) -> None:
    with element(server, 1) as pgw:
        assert told(pgw.ask(INITIAL, 0, wish(10), wish(20))) == [GRANTED, GRANTED]
        assert told(pgw.ask(UPDATE, 1, wish(10, used=6 * MIB))) == [GRANTED]
    server.restart()
    with element(server, 1) as pgw:
        assert told(pgw.ask(UPDATE, 1, wish(10, used=6 * MIB))) == [GRANTED]
        assert server.balance(pgw.number) == ("0.94", "0.080006")
        # 0.06 of the pool is left to the other: its own 0.02 and what the first does not use
        pgw.ask(TERMINATION, 2, wish(20, used=6 * MIB, ends=True))
        assert server.balance(pgw.number) == ("0.88", "0.00")
    assert server.count("ocs_charging_notes_total", "overrun") == 0
    assert server.ocs("audit")["clean"] is True
