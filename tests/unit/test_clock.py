"""Times are written in one place, exactly."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.clock import instant

LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


@pytest.mark.parametrize(
    ("at_ms", "seconds", "milliseconds", "shortest"),
    [
        (0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z"),
        (1_800_000_000_999, "2027-01-15T08:00:00Z", "2027-01-15T08:00:00.999Z", "2027-01-15T08:00:00.999Z"),
        (LATEST_MS, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_to_the_second_to_the_millisecond_or_as_short_as_it_is(
    at_ms: int, seconds: str, milliseconds: str, shortest: str
) -> None:
    assert instant(at_ms) == instant(at_ms, "seconds") == seconds
    assert instant(at_ms, "milliseconds") == milliseconds
    assert instant(at_ms, "auto") == shortest


@given(st.integers(0, LATEST_MS))
def test_what_is_written_to_the_millisecond_is_read_back_as_it_was(at_ms: int) -> None:
    for text in (instant(at_ms, "milliseconds"), instant(at_ms, "auto")):
        since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
        assert (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000 == at_ms
