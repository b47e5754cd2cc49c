"""What a subscriber's money does at a channel's word under /subscribers/v1: emergency credit."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, Field

from ocs.balance.actions import Actions
from ocs.balance.lending import LendingTerms, Lent, lend
from ocs.http.access import Access
from ocs.http.audit_log import Change
from ocs.http.subscriber_desk import ENDED, Desk
from ocs.http.subscribers import BASE, FAULTS, NAME, STRICT, channel_of, purchase_id
from ocs.money import format_amount
from ocs.outcomes import Code


class EmergencyCredit(BaseModel):
    """Emergency credit that is asked for; ``id`` (or the header Idempotency-Key) counts once for each channel, for 30 days."""

    model_config = STRICT | {"json_schema_extra": {"examples": [{"id": "help-0001"}]}}

    id: str | None = Field(None, min_length=1, max_length=64)


class LentCredit(BaseModel):
    """What was lent; amounts are decimal text. ``owed`` is what the next top-ups repay, ``balance`` and ``available`` what there was after it."""

    id: str
    amount: str
    fee: str
    owed: str
    currency: str
    balance: str
    available: str


def router(desk: Desk, actions: Actions, terms: LendingTerms, access: Access) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, responses=FAULTS)
    lends = access.change("topup:write")

    @routes.post(
        "/subscribers/{subscriber}/emergency-credit",
        tags=["subscribers"],
        status_code=201,
        response_model=LentCredit,
    )
    async def borrow(
        subscriber: NAME,
        wanted: EmergencyCredit,
        idempotency_key: Annotated[str | None, Header(max_length=64)] = None,
        change: Change = lends,
    ) -> dict[str, Any]:
        """Lend a subscriber what the operator has set, once by its id; the next top-up repays it with the fee."""
        once, channel = purchase_id(wanted.id, idempotency_key), channel_of(change.caller)
        account = await desk.find(subscriber)
        before = {
            "balance": format_amount(account.book.balance_micros),
            "owed": format_amount(account.owed_micros),
        }
        await change.begins(
            "subscriber.lend", resource=f"{channel}:{once}", account=account.profile.path, before=before
        )
        told = _lent(await lend(actions, terms, account, channel, once), terms)
        change.made(after={"balance": told["balance"], "owed": told["owed"]})
        return told | {"currency": account.profile.currency}

    return routes


_REFUSED: Final = {
    Code.UNRATED: (409, "emergency credit is not offered here"),
    Code.LIMIT: (422, "a member has no money of its own; ask for who pays"),
    Code.EXISTS: (409, "emergency credit is owed already; the next top-up repays it, then ask again"),
    Code.BARRED: (409, "the account is barred, or its balance's life is over; nothing was lent"),
    Code.CONFLICT: (409, "id: it was used for something else; nothing was lent"),
    Code.UNKNOWN_SUBSCRIBER: (409, ENDED),
}


def _lent(done: Lent, terms: LendingTerms) -> dict[str, str]:
    """Describe what was lent; raises what was refused."""
    if done.code == Code.CREDIT_LIMIT:
        below = format_amount(terms.below_micros)
        raise HTTPException(409, f"it is lent where less than {below} is available; nothing was lent")
    if done.code != Code.SUCCESS or done.action is None:
        raise HTTPException(*_REFUSED.get(done.code, (409, f"refused: {done.code.name}; nothing was lent")))
    action = done.action
    return {
        "id": action.asked.id,
        "amount": format_amount(action.asked.amount),
        "fee": format_amount(action.asked.fee_micros),
        "owed": format_amount(action.owed_micros),
        "balance": format_amount(action.balance),
        "available": format_amount(action.available),
    }
