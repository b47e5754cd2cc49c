"""Actions as TMF654 shows them: one description for the answer to a POST, for GET, for lists, histories and events.

Laws
1. What a client has said is told as it was said (the action's content); what the server knows is told as it is.
2. A reservation that stands is ``created``; one whose time came first is ``cancelled``, and says so.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from ocs.balance.accounts import Account
from ocs.balance.actions import Action, ActionKind, ActionState
from ocs.clock import instant
from ocs.http.exact import read_json
from ocs.http.exact_answer import write_json
from ocs.http.prepay import quantities
from ocs.http.prepay.buckets import bucket_ref, href, number_ref
from ocs.http.prepay.errors import bad
from ocs.http.prepay.places import BucketId
from ocs.http.prepay.quantities import UsageType
from ocs.limits import ACTION_CONTENT_CHARS_MAX

PATHS: Final = {
    ActionKind.TOPUP: "topupBalance",
    ActionKind.ADJUST: "adjustBalance",
    ActionKind.TRANSFER: "transferBalance",
    ActionKind.RESERVE: "reserveBalance",
}
"""Where actions of a kind are; refunds and emergency credit are in the history alone."""
TYPES: Final = {
    ActionKind.TOPUP: "TopupBalance",
    ActionKind.ADJUST: "AdjustBalance",
    ActionKind.TRANSFER: "TransferBalance",
    ActionKind.RESERVE: "ReserveBalance",
    ActionKind.REFUND: "RefundBalance",
    ActionKind.EMERGENCY: "EmergencyCredit",
}
STATES: Final = {
    ActionState.CREATED: "created",
    ActionState.HELD: "created",
    ActionState.COMPLETED: "completed",
    ActionState.FAILED: "failed",
    ActionState.CANCELLED: "cancelled",
    ActionState.EXPIRED: "cancelled",
}
_KNOWN_BY_US: Final = frozenset({"id", "amount", "bucket", "logical_resource", "party_account", "channel"})
"""Attributes that stand in the action itself."""


def content_of(asked: BaseModel, usage: UsageType) -> str:
    """Write what else a client has said of an action, in one form; 400 where that is too much to keep."""
    said = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(_KNOWN_BY_US))
    text = json.dumps(said | {"usageType": usage}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if len(text) > ACTION_CONTENT_CHARS_MAX:
        raise bad(
            "limit",
            f"the body says more than is kept with an action; write at most {ACTION_CONTENT_CHARS_MAX} characters",
        )
    return text


def said_of(content: str) -> dict[str, Any]:
    """Read what else a client has said; what another door has written there (a command, a job) is not shown."""
    try:
        said = read_json(content.encode())
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def resource_of(action: Action, account: Account | None, receiver: Account | None = None) -> dict[str, Any]:
    """Describe an action; ``account`` is whom it is about, and ``receiver`` who gets a transfer, as they are now."""
    asked = action.asked
    said = said_of(asked.content)
    usage = UsageType(said.get("usageType", "monetary"))
    bucket = BucketId(asked.account if asked.bucket else asked.account.partition("/")[0], asked.bucket)
    made: dict[str, Any] = {
        "id": asked.id,
        "href": href(PATHS.get(asked.kind, "balanceActionHistory"), asked.id),
        "@type": TYPES[asked.kind],
        **said,
        "status": STATES[action.state],
        "usageType": usage,
        "requestedDate": instant(action.created_ms, "auto"),
        "amount": _amount(asked.amount, usage if asked.bucket else UsageType.MONETARY, account),
        "bucket": bucket_ref(bucket),
        "channel": {"id": asked.channel, "@referredType": "Channel"},
        "partyAccount": {"id": bucket.account, "@referredType": "PrepayAccount"},
    }
    if action.done_ms:
        made["confirmationDate"] = instant(action.done_ms, "auto")
    if account is not None:
        made["logicalResource"] = [number_ref(account)]
    if asked.reason:
        made["reason"] = asked.reason
    if asked.kind is ActionKind.TRANSFER:
        made |= _transfer(action, account, receiver, made)
    if asked.kind is ActionKind.RESERVE and action.until_ms:
        made["validFor"] = {"endDateTime": instant(action.until_ms, "auto")}
    if asked.mark:
        made["voucher"] = asked.mark
    if why := _why(action):
        made["description"] = why
    return made


def _amount(amount: int, usage: UsageType, account: Account | None) -> dict[str, Any]:
    if usage is UsageType.MONETARY:
        return quantities.money(amount, account.profile.currency if account is not None else "")
    return {"amount": amount, "units": next(iter(quantities.WORDS[usage]))}


def _transfer(
    action: Action, account: Account | None, receiver: Account | None, made: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe the other end of a transfer, and its cost."""
    asked = action.asked
    currency = account.profile.currency if account is not None else ""
    found: dict[str, Any] = {
        "receiverBucket": bucket_ref(BucketId(asked.receiver.partition("/")[0])),
        "receiverBucketUsageType": made.get("receiverBucketUsageType", UsageType.MONETARY),
        "costOwner": "receiver" if asked.fee_by_receiver else "originator",
        "transferCost": {"unit": currency, "value": quantities.decimal_of(asked.fee_micros)},
        "reason": asked.reason or made.get("reason", ""),
    }
    if receiver is not None:
        found["receiverLogicalResource"] = number_ref(receiver)
    return found


def _why(action: Action) -> str:
    """Say why an action is where it is, where its state alone does not."""
    if action.state is ActionState.FAILED:
        return (
            f"failed: {action.code.name.lower().replace('_', ' ')}{f' ({action.why})' if action.why else ''}"
        )
    if action.state is ActionState.EXPIRED:
        return "released: its time came first"
    if action.bonus_back or action.bonus_used:
        back, used = quantities.decimal_of(action.bonus_back), quantities.decimal_of(action.bonus_used)
        return f"taken back, and of its bonus {back:f}; used of that before: {used:f}"
    if action.asked.kind is ActionKind.RESERVE and action.state is ActionState.COMPLETED:
        return f"posted: {quantities.decimal_of(action.settled):f}"
    return ""


def history_of(action: Action, account: Account | None, receiver: Account | None = None) -> dict[str, Any]:
    """Describe an action as the history has it: its id names the channel too, and there is always a receiver's number."""
    name = f"{action.asked.channel}:{action.asked.id}"
    made = resource_of(action, account, receiver)
    made |= {"id": name, "href": href("balanceActionHistory", name)}
    if "receiverLogicalResource" not in made:
        made["receiverLogicalResource"] = made.get("logicalResource", [{"id": made["partyAccount"]["id"]}])[0]
    return made


def canonical(resource: Mapping[str, Any]) -> str:
    """Write a resource in one form, to compare two."""
    return write_json(dict(sorted(resource.items())))
