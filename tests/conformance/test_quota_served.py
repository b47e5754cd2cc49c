"""TS 32.299 clause 6.5 and RFC 8506 section 5.6 at a real `ocs serve` whose settings ask for them; python-diameter asks and reads."""

from __future__ import annotations

from collections.abc import Iterator

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

PORTAL = "https://portal.example.org/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(
        tmp_path_factory.mktemp("quota"),
        OCS_CHARGING__QUOTA__LOW_BALANCE="0.03",
        OCS_CHARGING__QUOTA__REMAINING_BALANCE="true",
        OCS_CHARGING__QUOTA__DATA__GRANT=str(MIB),
        OCS_CHARGING__QUOTA__DATA__HOLDING_S="60",
        OCS_CHARGING__QUOTA__DATA__THRESHOLD="10%",
        OCS_CHARGING__QUOTA__DATA__VALIDITY_S="120",
        OCS_CHARGING__QUOTA__DATA__TRIGGERS="true",
        OCS_CHARGING__QUOTA__DATA__FINAL_ACTION="REDIRECT",
        OCS_CHARGING__QUOTA__DATA__REDIRECT_TO=PORTAL,
    ) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "2", "--first", str(FIRST)),
            *("--tariff", "flat", "--credit", "0.04"),
        )
        yield made


def test_a_session_from_its_first_grant_to_the_portal_and_back(server: RealOcs) -> None:
    with element(server, 0) as pgw:
        answer = pgw.ask(INITIAL, 0, wish(10))
        (one,) = answer.multiple_services_credit_control
        assert (one.granted_service_unit.cc_total_octets, one.validity_time) == (MIB, 120)
        assert (one.volume_quota_threshold, one.quota_holding_time, one.trigger.trigger_type) == (
            MIB // 10,
            60,
            [],
        )
        left = answer.remaining_balance
        assert (answer.low_balance_indication, left.unit_value.value_digits, left.currency_code) == (
            0,
            30_000,
            978,
        )
        answer = pgw.ask(UPDATE, 1, wish(10, used=MIB, wanted=5 * MIB))
        (one,) = answer.multiple_services_credit_control
        assert (one.granted_service_unit.cc_total_octets, one.volume_quota_threshold) == (3 * MIB, None)
        assert one.final_unit_indication.redirect_server.redirect_server_address == PORTAL
        assert answer.low_balance_indication == 1
        answer = pgw.ask(UPDATE, 2, wish(10, used=3 * MIB))
        (one,) = answer.multiple_services_credit_control
        assert (answer.result_code, one.result_code, one.granted_service_unit.cc_total_octets) == (
            2001,
            2001,
            0,
        )
        assert one.final_unit_indication.final_unit_action == 1
        server.ocs("topup", pgw.number, "1.00", "--id", "portal")
        (one,) = pgw.ask(UPDATE, 3, wish(10, used=0)).multiple_services_credit_control
        assert (one.granted_service_unit.cc_total_octets, one.final_unit_indication) == (MIB, None)
        assert pgw.ask(TERMINATION, 4, wish(10, used=MIB, ends=True)).result_code == 2001
    assert server.balance(pgw.number) == ("0.99", "0.00")


def test_the_audit_of_a_store_with_redirected_sessions_is_clean(server: RealOcs) -> None:
    with element(server, 1) as pgw:
        pgw.ask(INITIAL, 0, wish(10, wanted=9 * MIB))
        assert pgw.ask(UPDATE, 1, wish(10, used=4 * MIB)).result_code == 2001
        assert server.ocs("audit")["faults"] == []
        pgw.ask(TERMINATION, 2, wish(10, used=0, ends=True))
