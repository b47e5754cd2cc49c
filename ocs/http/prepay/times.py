"""Times as the definition has them (RFC 3339, in UTC) and as the store counts them: milliseconds since 1970."""

from datetime import UTC, datetime

_MS_PER_S = 1000


def instant(at_ms: int) -> str:
    """Write a time; milliseconds only where there are some."""
    whole_s, ms = divmod(at_ms, _MS_PER_S)
    found = datetime.fromtimestamp(whole_s, UTC).replace(microsecond=ms * 1000)
    return found.isoformat(timespec="milliseconds" if ms else "seconds").replace("+00:00", "Z")


def at_ms(at: datetime) -> int:
    """Return a time, which says its distance from UTC, in whole milliseconds."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _MS_PER_S + since.microseconds // 1000
