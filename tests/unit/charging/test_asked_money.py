"""Units in money (RFC 8506 section 8.22) as requests tell them, and what is refused before anything is charged."""

from typing import Any

import pytest

from ocs.charging.ask import UPDATE, Units
from ocs.diameter.writers import encode_avps
from tests.unit.charging.ccr import octets, service, services
from tests.unit.charging.test_ask import in_service, only, refused


def in_money(digits: int, currency: int | None = None, exponent: int = -2) -> dict[str, Any]:
    told: dict[str, Any] = {"Unit-Value": {"Value-Digits": digits, "Exponent": exponent}}
    return {"CC-Money": told if currency is None else told | {"Currency-Code": currency}}


@pytest.mark.parametrize("name", ["Used-Service-Unit", "Requested-Service-Unit"])
def test_money_that_is_no_amount_is_a_fault_that_names_it(name: str) -> None:
    money = in_money(-5, 978)
    fault = refused(**services({name: [money] if name.startswith("U") else money}))
    assert (fault.result_code, fault.failed_avp) == (5004, in_service({name: money}))


@pytest.mark.parametrize("currency", [978, 0, None])
def test_units_in_money_are_read_in_micro_units_with_their_currency(currency: int | None) -> None:
    asked = only(UPDATE, used=in_money(499, currency), requested=in_money(5, currency))
    assert (asked.services[0].used, asked.services[0].wanted) == (Units(money=4_990_000), Units(money=50_000))
    assert asked.currency == (currency or 0)


def test_a_request_without_money_has_no_currency() -> None:
    assert only(UPDATE, used=octets(5), requested={}).currency is None


def test_two_currencies_in_one_report_contradict_each_other() -> None:
    fault = refused(**services(service(used=[in_money(5, 978), in_money(5), in_money(5, 840)])))
    assert (fault.result_code, fault.failed_avp) == (5007, encode_avps({"Currency-Code": 840}))


def test_money_is_content() -> None:
    digests = {only(UPDATE, used=in_money(cents)).digest for cents in (1, 2)}
    assert len(digests | {only(UPDATE, used={"CC-Time": 1}).digest}) == 3
