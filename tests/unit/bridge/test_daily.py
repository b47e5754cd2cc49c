"""A time of the day in a zone: the next one, also over the days on which clocks change."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from postpaid_bridge.roof.daily import next_ms

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-28T03:29:59+00:00", "2026-11-28T03:30:00+00:00"),
        ("2026-11-28T03:30:00+00:00", "2026-11-29T03:30:00+00:00"),
        ("2026-10-24T02:30:00+00:00", "2026-10-25T03:30:00+00:00"),  # summer ends that night
        ("2026-03-28T03:30:00+00:00", "2026-03-29T02:30:00+00:00"),  # and begins
    ],
)
def test_the_next_half_past_four_in_berlin(now: str, due: str) -> None:
    found = next_ms(ms(now), time(4, 30), BERLIN)
    assert datetime.fromtimestamp(found / 1000, UTC) == datetime.fromisoformat(due)
