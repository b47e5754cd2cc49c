"""CC-Correlation-Id (RFC 8506 section 8.1) as a request tells it."""

from typing import Any

import pytest

from ocs.charging.ask import DIRECT_DEBITING, EVENT, INITIAL, Ask, ask
from tests.unit.charging.ccr import ccr, service, services


def correlated(octets: bytes | None, kind: int = INITIAL, **more: Any) -> Ask:
    return ask(ccr(kind, CC_Correlation_Id=octets, **more, **services(service(requested={}))))


@pytest.mark.parametrize(
    ("octets", "kept"),
    [
        (b"icid-4711", "icid-4711"),
        (b"\x00any\xff", "\x00any\udcff"),
        (b"", ""),
        (None, ""),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, ""),
    ],
)
def test_a_correlation_id_is_kept_as_it_is_and_one_that_is_too_long_is_not(
    octets: bytes | None, kept: str
) -> None:
    assert correlated(octets).correlation == kept
    assert correlated(octets, EVENT, Requested_Action=DIRECT_DEBITING).correlation == kept


def test_a_correlation_id_is_no_content() -> None:
    """DESIGN law 5: what is said again with another one, or without, is the same request."""
    one = correlated(b"a")
    assert one._replace(correlation="") == correlated(None)
    assert one.digest == correlated(b"b").digest
