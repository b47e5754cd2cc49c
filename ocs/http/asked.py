"""What several routes read of a request in the same way, where they answer with problem details: a number, and the channel's own id."""

from fastapi import HTTPException

from ocs.names import SubscriberId, e164


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
