"""`ocs price --msisdn`: what something would cost a subscriber now, on its account as it stands."""

from collections.abc import Callable

import pytest

from tests.journey.conftest import Command

pytestmark = pytest.mark.timeout(180)  # real processes, on a machine that may be busy

Number = Callable[[], str]


def priced(ocs: Command, msisdn: str, *words: str) -> tuple[str, int, int]:
    """Cost, units asked about, and how many of them allowances have."""
    said = ocs.json("price", "--msisdn", msisdn, *words)
    (line,) = said["lines"]
    assert (said["currency"], said["msisdn"]) == ("EUR", msisdn)
    assert line["amount"] == said["cost"]
    return said["cost"], line["units"], line["from_allowances"]


def test_a_price_counts_what_the_subscriber_holds_and_moves_nothing(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json("subscriber", "create", msisdn, "--tariff", "mobile", "--credit", "30.00")
    message = ("--service", "sms", "--to", "4930123456", "--used", "3")
    dear = priced(ocs, msisdn, *message)
    assert dear == (ocs.json("price", "--tariff", "mobile", *message)["cost"], 3, 0)
    assert dear[0] != "0.00"
    ocs.json("product", "buy", msisdn, "smart-l", "--id", "order-1")
    before = ocs.json("balance", msisdn)

    assert priced(ocs, msisdn, *message) == ("0.00", 3, 3)
    assert ocs.json("balance", msisdn) == before


def test_nothing_said_of_units_is_what_a_network_element_would_get(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat", "--credit", "0.01")
    assert priced(ocs, msisdn, "--service", "data") == ("0.10", 10 * 1_048_576, 0)
    assert priced(ocs, msisdn, "--service", "voice") == ("0.10", 60, 0)
    assert priced(ocs, msisdn, "--service", "sms") == ("0.09", 1, 0)
    assert "60 seconds of voice" in ocs("price", "--msisdn", msisdn, "--service", "voice").out


def test_who_and_what_has_no_price_is_told_so(ocs: Command, number: Number) -> None:
    msisdn = number()
    ocs.json("subscriber", "create", msisdn, "--tariff", "flat-data", "--credit", "1.00")
    assert ocs("price", "--msisdn", number(), "--service", "data").code == 4
    assert ocs("price", "--msisdn", msisdn, "--service", "voice").code == 4
    ocs.json("subscriber", "bar", msisdn)
    assert ocs("price", "--msisdn", msisdn, "--service", "data").code == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--msisdn", "491700000001", "--tariff", "flat"),
        ("--msisdn", "491700000001", "--connected"),
        ("--msisdn", "491700000001", "--at", "2026-01-01T00:00Z"),
        ("--msisdn", "491700000001", "--used", "0"),
        ("--msisdn", "nobody"),
    ],
)
def test_what_cannot_be_asked_of_a_subscriber_is_a_usage_error(ocs: Command, words: tuple[str, ...]) -> None:
    assert ocs("price", "--service", "data", *words).code == 2
