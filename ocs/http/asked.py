"""What several routes read of a request in the same way, where they answer with problem details: a number, and the channel's own id."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import HTTPException
from pydantic import AwareDatetime, BeforeValidator

from ocs.names import SubscriberId, e164


def _as_text(given: Any) -> Any:
    """Refuse what a reader of times would take for seconds since 1970: a number, or text that is one."""
    if not isinstance(given, str) or "-" not in given[1:]:
        raise ValueError("write a time with its distance from UTC, such as 2027-01-31T12:00:00Z")
    return given


Instant = Annotated[AwareDatetime, BeforeValidator(_as_text)]
"""A time as bodies say it: RFC 3339 text with its distance from UTC, and nothing else."""


def at_ms(at: datetime) -> int:
    """Return a time that says its distance from UTC in whole milliseconds since 1970, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def read_number(text: str, name: str = "msisdn") -> SubscriberId:
    """Read an E.164 number; 422 for anything else."""
    found = e164(text)
    if found is None:
        raise HTTPException(422, f"{name}: write 3 to 15 digits, with or without a plus")
    return found


def own_id(said: str | None, header: str | None) -> str:
    """Return the channel's own id, of body or header Idempotency-Key ("": it gave none); 400 where they differ."""
    if said is not None and header is not None and said != header:
        raise HTTPException(400, "id and Idempotency-Key differ; give one of them, or both alike")
    return said or header or ""
