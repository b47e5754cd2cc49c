"""What becomes of an action later: PATCH and DELETE. An action changes its state alone; all else of it is as it was asked."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from ocs.balance.actions import Action, ActionKind, ActionState, Done
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay import quantities
from ocs.http.prepay.desk import Prepay, facts_of, name_of, one, shown
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.listing import attributes
from ocs.http.prepay.quantities import micros_of
from ocs.http.prepay.resources import STATES
from ocs.http.prepay.shapes import ActionStatus, ReserveUpdate, TransferBalance, TransferUpdate, Update
from ocs.names import e164
from ocs.outcomes import Code


async def change_state(
    prepay: Prepay,
    change: Change,
    kind: ActionKind,
    channel: str,
    name: str,
    wanted: Update,
    shape: type[BaseModel],
) -> ExactAnswer:
    """Bring an action to the state that is wanted, where there is a way; 200 with the resource."""
    action = await one(prepay, kind, channel, name)
    refuse_others(wanted.model_extra or {}, await shown(prepay, action), shape)
    if isinstance(wanted, ReserveUpdate) and wanted.status is ActionStatus.COMPLETED:
        done = await _complete(prepay, change, action, wanted)
    elif wanted.status is ActionStatus.CANCELLED:
        done = await _cancel(prepay, change, action, wanted.reason or "")
    elif wanted.status == STATES[action.state]:
        done = Done(Code.SUCCESS, action=action)
    else:
        raise Told(
            409,
            "conflict",
            f"status: it is {STATES[action.state]} and does not become {wanted.status}; write cancelled",
        )
    return ExactAnswer(await shown(prepay, done.action or action))


async def cancel(prepay: Prepay, change: Change, kind: ActionKind, channel: str, name: str) -> Response:
    """Take an action back (DELETE): 204, again too."""
    await _cancel(prepay, change, await one(prepay, kind, channel, name), "")
    return Response(status_code=204)


def refuse_others(said: Mapping[str, Any], resource: Mapping[str, Any], shape: type[BaseModel]) -> None:
    """Refuse attributes that the resource does not know, or that would be another."""
    known = attributes(shape)
    if unknown := sorted(set(said) - known.keys()):
        raise bad(
            "unknownAttribute",
            f"{', '.join(each[:40] for each in unknown[:4])}: unknown attribute; leave it out",
        )
    if others := sorted(each for each, value in said.items() if resource.get(each) != value):
        raise bad(
            "unchangeable", f"{', '.join(others)}: status alone changes; leave the rest as it is, or out"
        )


async def _cancel(prepay: Prepay, change: Change, action: Action, reason: str) -> Done:
    await _begins(change, action, "cancel")
    done = await prepay.actions.cancel(action.asked.channel, action.asked.id, reason)
    change.made(after=facts_of(done))
    if done.code == Code.CREDIT_LIMIT:
        left = done.action.left if done.action is not None else 0
        raise Told(
            409,
            "creditLimit",
            f"status: no more than {_text(left, action)} of it is left, and it is taken back whole or not at all",
        )
    return _judged(done, action)


async def _complete(prepay: Prepay, change: Change, action: Action, wanted: ReserveUpdate) -> Done:
    held = action.asked.amount
    if wanted.amount is not None:
        unit = (await shown(prepay, action))["amount"]["units"]
        held = micros_of(wanted.amount.amount, wanted.amount.units, unit)
        if held < 0:
            raise bad("notPositive", "amount.amount: it is below zero; write what is to be posted")
    await _begins(change, action, "complete")
    done = await prepay.actions.complete(action.asked.channel, action.asked.id, held, wanted.reason)
    change.made(after=facts_of(done))
    if done.code == Code.LIMIT:
        raise bad(
            "limit",
            f"amount.amount: more than is reserved; write at most {_text(action.asked.amount, action)}",
        )
    return _judged(done, action)


async def _begins(change: Change, action: Action, what: str) -> None:
    """Say that an action is about to be changed."""
    asked = action.asked
    await change.begins(
        f"{asked.kind.name.lower()}.{what}",
        resource=name_of(asked),
        account=asked.account,
        before={"state": action.state.name, "amount": asked.amount, "bucket": asked.bucket},
    )


def _judged(done: Done, action: Action) -> Done:
    if done.code == Code.SUCCESS:
        return done
    if done.action is None:
        raise Told(404, "notFound", "there is none of this id")
    state = STATES[done.action.state]
    if action.asked.kind is ActionKind.TRANSFER:
        raise Told(409, "conflict", "a transfer is not taken back; make one the other way")
    over = "; its time came first" if done.action.state is ActionState.EXPIRED else ""
    raise Told(409, "conflict", f"status: it is {state} already{over}")


def _text(amount: int, action: Action) -> str:
    return f"{amount:,}" if action.asked.bucket else f"{quantities.decimal_of(amount):f}"


async def same_transfer(prepay: Prepay, channel: str, name: str, wanted: TransferUpdate) -> ExactAnswer:
    """Answer a PATCH of a transfer: 200 where it says what is, 409 where it would change something."""
    resource = await shown(prepay, await one(prepay, ActionKind.TRANSFER, channel, name))
    if unknown := sorted(set(wanted.model_extra or {}) - attributes(TransferBalance).keys()):
        raise bad(
            "unknownAttribute",
            f"{', '.join(each[:40] for each in unknown[:4])}: unknown attribute; leave it out",
        )
    ends = (
        (wanted.logical_resource[0], resource["logicalResource"][0]),
        (wanted.receiver_logical_resource, resource["receiverLogicalResource"]),
    )
    same = all(e164(said.id) == e164(known["id"]) for said, known in ends)
    same = same and (wanted.reason, wanted.channel.id) == (resource["reason"], resource["channel"]["id"])
    same = same and all(resource.get(each) == value for each, value in (wanted.model_extra or {}).items())
    if not same:
        raise Told(409, "conflict", "a transfer that was made does not change; make another one")
    return ExactAnswer(resource)
