"""RFC 8506 section 8.22 at a real `ocs serve`: python-diameter buys, in events and in a session, at the price that it says itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from diameter.message.avp.grouped import (
    CcMoney,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    UnitValue,
    UsedServiceUnit,
)

from tests.conformance.test_python_diameter import capabilities, ccr, say
from tests.real_ocs import RealOcs

INITIAL, UPDATE, TERMINATION, EVENT = range(1, 5)
DIRECT_DEBITING, REFUND_ACCOUNT, CHECK_BALANCE, PRICE_ENQUIRY = range(4)
EURO, DOLLAR = 978, 840
BUYER = 491_700_000_700


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOcs]:
    with RealOcs(tmp_path_factory.mktemp("shop")) as made:
        made.ocs(
            *("subscriber", "bulk", "--count", "5", "--first", str(BUYER)),
            *("--tariff", "content", "--credit", "10.00"),
        )
        yield made


def money(cents: int, currency: int = EURO) -> CcMoney:
    return CcMoney(unit_value=UnitValue(value_digits=cents, exponent=-2), currency_code=currency)


class Shop:
    """A shop on one connection, for one buyer."""

    def __init__(self, server: RealOcs, connection: Any, place: int) -> None:
        self._server, self._connection, self._ids = server, connection, 0
        self.number = str(BUYER + place)
        assert self.say(capabilities()).result_code == 2001

    def say(self, request: Any) -> Any:
        self._ids += 1
        return say(self._connection, request, self._ids)

    def ask(
        self,
        kind: int,
        number: int,
        *,
        wanted: CcMoney | None = None,
        used: CcMoney | None = None,
        action: int | None = None,
        token: bytes | None = None,
    ) -> Any:
        made = ccr(kind, number, f"shop.example.net;{self.number};{kind == EVENT}")
        made.header.application_id = 4
        made.origin_host = b"shop.example.net"
        made.service_context_id = "32251@3gpp.org"
        made.requested_action = action
        made.subscription_id = [SubscriptionId(0, self.number)]
        service: Any = MultipleServicesCreditControl(rating_group=700)
        if wanted is not None:
            service.requested_service_unit = RequestedServiceUnit(cc_money=wanted)
        if used is not None:
            service.used_service_unit = [UsedServiceUnit(cc_money=used)]
        service.refund_information = token
        made.multiple_services_credit_control = [service]
        return self.say(made)

    @property
    def balance(self) -> tuple[str, str]:
        """The balance, and what is reserved."""
        told: tuple[str, str] = self._server.balance(self.number)
        return told


def granted(answer: Any) -> tuple[int, int, int]:
    (service,) = answer.multiple_services_credit_control
    told = service.granted_service_unit.cc_money
    return told.unit_value.value_digits, told.unit_value.exponent, told.currency_code


def test_a_purchase_is_debited_checked_priced_and_refunded_in_money(server: RealOcs) -> None:
    """RFC 8506 sections 6.1 to 6.4."""
    with server.connect() as connection:
        shop = Shop(server, connection, 0)
        priced = shop.ask(EVENT, 0, wanted=money(499), action=PRICE_ENQUIRY).cost_information
        assert (priced.unit_value.value_digits, priced.unit_value.exponent, priced.currency_code) == (
            499,
            -2,
            EURO,
        )
        assert shop.ask(EVENT, 1, wanted=money(1_001), action=CHECK_BALANCE).check_balance_result == 1
        bought = shop.ask(EVENT, 2, wanted=money(499), action=DIRECT_DEBITING)
        assert (bought.result_code, granted(bought), shop.balance) == (
            2001,
            (499, -2, EURO),
            ("5.01", "0.00"),
        )
        assert shop.ask(EVENT, 3, wanted=money(502), action=DIRECT_DEBITING).result_code == 4012
        token = bought.multiple_services_credit_control[0].refund_information
        assert shop.ask(EVENT, 4, wanted=money(500), action=REFUND_ACCOUNT, token=token).result_code == 5012
        assert shop.ask(EVENT, 5, wanted=money(199), action=REFUND_ACCOUNT, token=token).result_code == 2001
        assert shop.balance == ("7.00", "0.00")


def test_a_purchase_in_a_session_is_reserved_and_then_debited(server: RealOcs) -> None:
    """RFC 8506 sections 5.2 to 5.4."""
    with server.connect() as connection:
        shop = Shop(server, connection, 1)
        opened = shop.ask(INITIAL, 0, wanted=money(350))
        assert (opened.result_code, granted(opened), shop.balance) == (
            2001,
            (35, -1, EURO),
            ("10.00", "3.50"),
        )
        last = shop.ask(UPDATE, 1, used=money(350), wanted=money(5_000))
        assert (granted(last), shop.balance) == ((65, -1, EURO), ("6.50", "6.50"))
        assert last.multiple_services_credit_control[0].final_unit_indication.final_unit_action == 0
        assert shop.ask(TERMINATION, 2, used=money(1)).result_code == 2001
        assert shop.balance == ("6.49", "0.00")


def test_another_currency_and_what_is_no_amount_are_refused_with_what_is_wrong(server: RealOcs) -> None:
    """RFC 8506 section 9.2, RFC 6733 section 7.1.5."""
    with server.connect() as connection:
        shop = Shop(server, connection, 2)
        for number, (wanted, code, failed) in enumerate(
            [(money(5, DOLLAR), 5031, 425), (money(-5), 5004, 456), (money(0), 5004, 413)]
        ):
            answer = shop.ask(EVENT, number, wanted=wanted, action=DIRECT_DEBITING)
            assert answer.result_code == code
            assert [each.code for each in answer.failed_avp[0].additional_avps] == [failed]
        assert shop.ask(EVENT, 3, action=DIRECT_DEBITING).result_code == 5031
        assert shop.balance == ("10.00", "0.00")


def test_after_all_of_it_the_books_are_right(server: RealOcs) -> None:
    report = server.ocs("audit")
    assert (report["clean"], report["reserved"], report["faults"]) == (True, "0.00", [])
    assert server.count("ocs_internal_faults_total") == 0
    assert server.troubles() == []
