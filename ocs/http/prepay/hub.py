"""The hub of TMF654: listeners register, and are told in the definition's own bodies (ocs/notices/EVENTS.md: how they are sent and signed).

Laws
1. A listener is a subscription of the form FORM: the same bounds, retries, signature and dead letters as any other.
2. What a notice says decides which event it is; the action as it stands decides what is in it.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import HTTPException, Response

from ocs.balance.actions import Action, ActionKind, ActionState
from ocs.balance.profiles import payer
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer, write_json
from ocs.http.prepay.buckets import href
from ocs.http.prepay.desk import Listeners, Prepay, shown
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.events import EVENT_TYPES, event_of
from ocs.http.prepay.shapes import EventSubscriptionInput
from ocs.notices.notice import Notice
from ocs.notices.subscriptions import Subscription

FORM: Final = "tmf654"
SECRET_HEADER: Final = "Webhook-Secret"  # noqa: S105 - a name
"""Of the answer that registers a listener: what its events are signed with, this once; the definition's body has no place for it."""
_TYPES: Final = ["topup.done", "topup.failed", "balance.*"]
_CREATED: Final = frozenset({"topup.done", "balance.adjusted", "balance.transferred", "balance.reserved"})
_FAILED: Final = frozenset({"topup.failed", "balance.failed"})


async def listen(listeners: Listeners | None, change: Change, asked: EventSubscriptionInput) -> ExactAnswer:
    """Register a listener: 201."""
    if listeners is None:
        raise bad("notServed", "hub: this server sends no events; its settings say so")
    query = asked.query or ""
    read_query(query)
    try:
        made = await listeners.subscribe(change, asked.callback, _TYPES, form=FORM, wants=query)
    except HTTPException as fault:
        raise Told(400 if fault.status_code == 422 else fault.status_code, "", str(fault.detail)) from None
    content = {"id": made.id, "callback": made.callback} | ({"query": query} if query else {})
    return ExactAnswer(content, 201, {"Location": href("hub", made.id), SECRET_HEADER: made.secret})


async def forget(listeners: Listeners | None, change: Change, name: str) -> Response:
    """Let a listener go: 204; 404 where the caller has none of this id."""
    if listeners is None:
        raise Told(404, "notFound", "there is none of this id")
    await listeners.end(change, name, FORM)
    return Response(status_code=204)


def read_query(text: str) -> frozenset[str] | None:
    """Return the event types that a listener's query names; None: all. 400 for another query."""
    if not text:
        return None
    try:
        pairs = parse_qsl(text, strict_parsing=True, max_num_fields=16)
    except ValueError:
        pairs = [("", "")]
    wanted = frozenset(each for name, value in pairs for each in value.split(",") if name == "eventType")
    if any(name != "eventType" for name, _ in pairs) or not wanted or wanted - set(EVENT_TYPES):
        raise bad("badQuery", f"query: write eventType=A,B with some of {', '.join(EVENT_TYPES)}")
    return wanted


class Writer:
    """Writes the body of a notice for a listener; registered under FORM (ocs/notices/forms.py)."""

    def __init__(self, prepay: Prepay) -> None:
        self._prepay = prepay

    async def __call__(self, notice: Notice, subscription: Subscription) -> Mapping[str, Any] | None:
        """Return the body; None where the definition has no such event, or the listener does not want it. Raises StoreFault."""
        channel, name = notice.facts.get("channel"), notice.facts.get("id")
        if not isinstance(channel, str) or not isinstance(name, str):
            return None
        action = await self._prepay.actions.find(channel, name)
        if action is None:
            return None
        told = (
            event_of(as_told(action, notice), await shown(self._prepay, action))
            if _is_for(action, notice)
            else None
        )
        wanted = read_query(subscription.wants)
        if told is None or (wanted is not None and told["eventType"] not in wanted):
            return None
        return plain(told)


def _is_for(action: Action, notice: Notice) -> bool:
    """Tell whether a notice is one that a listener is told of: of a transfer the giver's, of a reservation its begin and a bad end."""
    if notice.type == "balance.transferred":
        return payer(action.asked.account) == payer(notice.account)
    if notice.type == "balance.settled":
        return action.state in {ActionState.CANCELLED, ActionState.EXPIRED}
    return notice.type in _CREATED | _FAILED or notice.type == "balance.reversed"


def as_told(action: Action, notice: Notice) -> Action:
    """Return an action in the state that a notice tells of, whatever became of it later."""
    if notice.type in _FAILED:
        return action._replace(state=ActionState.FAILED)
    if notice.type not in _CREATED:
        return action._replace(state=ActionState.CANCELLED)
    held = action.asked.kind is ActionKind.RESERVE
    return action._replace(state=ActionState.HELD if held else ActionState.COMPLETED)


def plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body for a writer of JSON that knows no Decimal. Nothing is lost: amounts have 16 digits at most, which doubles tell apart."""
    found: dict[str, Any] = json.loads(write_json(told))
    return found
