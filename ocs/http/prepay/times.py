"""Times as bodies have them, as the store counts them: milliseconds since 1970."""

from datetime import UTC, datetime

_MS_PER_S = 1000


def at_ms(at: datetime) -> int:
    """Return a time, which says its distance from UTC, in whole milliseconds."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _MS_PER_S + since.microseconds // 1000
