"""CC-Correlation-Id in the records of requests, on a real store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.audit import audit
from ocs.balance.wallets import Wallets
from ocs.charging.ask import DIRECT_DEBITING, EVENT, REFUND_ACCOUNT
from ocs.rating.products import Catalogue
from ocs.records import Charge
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import CENT, MIB, Gateway, only, written
from tests.unit.charging.ccr import octets, service, services


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def gateway(room: StoreRoom, tmp_path: Path) -> Gateway:
    """On a tariff that counts on rows, so that records tell of them too."""
    made = Gateway(room, written(tmp_path, ""), "content", credit_micros=1_000 * CENT)
    made.charged.book.wallets = Wallets(Catalogue())
    return made


def told(gateway: Gateway) -> list[tuple[str, int]]:
    """The correlation of each charge since the last look, and how many rows it tells of."""
    seen = gateway.run(gateway.charged.look(gateway.account.profile.partition, ["x"]))
    assert gateway.run(audit(gateway.charged.parts)).faults == []
    return [(each.correlation, len(each.parts)) for each in seen.records if isinstance(each, Charge)]


def test_each_request_of_a_session_keeps_its_own(gateway: Gateway) -> None:
    gateway.begin(service(1, requested=octets(MIB)), CC_Correlation_Id=b"icid-1")
    gateway.go_on(service(1, used=octets(MIB), requested=octets(MIB)), CC_Correlation_Id=b"icid-2\xff")
    gateway.end(service(1, used=octets(MIB)))
    assert told(gateway) == [("icid-1", 0), ("icid-2\udcff", 0), ("", 0)]


def test_a_debit_and_its_refund_keep_theirs_beside_what_they_took_of_rows(gateway: Gateway) -> None:
    money = {"CC-Money": {"Unit-Value": {"Value-Digits": 5}}}

    def event(action: int, number: int, **more: Any) -> Any:
        one = services(service(700, requested=money, **more))
        return gateway.say(
            EVENT, number, Requested_Action=action, CC_Correlation_Id=b"order-%d" % number, **one
        )

    token = only(event(DIRECT_DEBITING, 1)).refund_information
    event(DIRECT_DEBITING, 1)
    assert event(REFUND_ACCOUNT, 2, Refund_Information=token).result_code == 2001
    assert told(gateway) == [("order-1", 1), ("order-2", 1)]


def test_the_same_request_with_another_is_a_repetition(gateway: Gateway) -> None:
    first = gateway.begin(service(1, requested=octets(MIB)), CC_Correlation_Id=b"one")
    again = gateway.begin(service(1, requested=octets(MIB)), CC_Correlation_Id=b"other")
    assert (first.result_code, again.result_code) == (2001, 2001)
    assert told(gateway) == [("one", 0)]
