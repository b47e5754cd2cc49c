"""What listeners of TMF654 are told: the bodies of its twelve events, made from actions as GET shows them.

Laws
1. An event's id follows from the action and from what happened to it, so that one that is sent twice is known for the same.
2. Create: the action was done, or a reservation stands. Cancel: it was taken back, void, or its time came first. Failure: it was refused,
   and nothing was moved.
"""

from collections.abc import Mapping
from typing import Any, Final

from ocs.balance.actions import Action, ActionKind, ActionState
from ocs.clock import instant
from ocs.http.prepay.resources import PATHS, TYPES

_HAPPENED: Final = {
    ActionState.COMPLETED: "Create",
    ActionState.HELD: "Create",
    ActionState.CANCELLED: "Cancel",
    ActionState.EXPIRED: "Cancel",
    ActionState.FAILED: "Failure",
}
_SAID: Final = {"Create": "was done", "Cancel": "was taken back", "Failure": "was refused"}
DOMAIN: Final = "prepayBalanceManagement"
EVENT_TYPES: Final = tuple(
    f"{TYPES[kind]}{what}Event" for kind in PATHS for what in ("Create", "Cancel", "Failure")
)
"""The types of the definition, as `eventType` says them; `query` of a subscription names some of them."""


def event_type(kind: ActionKind, state: ActionState) -> str | None:
    """Return the type of what happened to an action that is in this state; None where no listener is told."""
    what = _HAPPENED.get(state)
    return f"{TYPES[kind]}{what}Event" if what is not None and kind in PATHS else None


def event_of(action: Action, resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the body of the event of an action as it is; ``resource`` is ``resource_of`` it. None where no listener is told."""
    asked = action.asked
    kind = event_type(asked.kind, action.state)
    if kind is None:
        return None
    what = _HAPPENED[action.state]
    path = PATHS[asked.kind]
    at = instant(action.done_ms or action.created_ms, "auto")
    return {
        "eventId": f"{asked.channel}:{asked.id}:{what.lower()}",
        "eventTime": at,
        "timeOcurred": at,  # so spelt in the definition
        "eventType": kind,
        "correlationId": f"{asked.channel}:{asked.id}",
        "domain": DOMAIN,
        "title": kind,
        "description": f"A {path} {_SAID[what]}.",
        "priority": "normal",
        "event": {path: dict(resource)},
    }
