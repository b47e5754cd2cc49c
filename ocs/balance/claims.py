"""Claims: what the store keeps of an action, under its channel and id; all of its state but what it has moved.

A claim is a flat MessagePack array. Its first eight fields are those that top-ups had before there were other actions, so that both readings
of a top-up agree while releases are mixed: word (CLAIMED, DONE, REFUSED), digest, partition, account, amount, channel, id, and the book's
money after it. What follows is ours.
"""

import hashlib
import json
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ocs.balance.asked import NO_LIMITS, Action, ActionState, Asked, DayLimits
from ocs.balance.parts import packed, unpacked
from ocs.balance.profiles import payer
from ocs.outcomes import Code
from ocs.records import ActionKind

CLAIMED, DONE, REFUSED = 1, 2, 3
_OLD_FIELDS: Final = 8
_FIELDS: Final = 17
_ASKED: Final = Asked._fields.index("bucket")
_ASKED_DEFAULTS: Final = tuple(Asked._field_defaults.values())
_TOLD_DEFAULTS: Final = (None, None, None, *Action._field_defaults.values())
"""What an action has by default; state, code and time it has always."""


class Step(IntEnum):
    """What is under way of an action."""

    NOTHING = 0
    FIRST = 1
    CANCEL = 2
    COMPLETE = 3


class Claim(NamedTuple):
    """An action with what it takes to go on with it.

    ``attempt`` rises whenever something is begun: what was refused to one attempt is looked at anew by the next. ``money`` is the book's
    (credits, posted, pending, floor, sequence). ``amount`` and ``reason`` are those of a step that is no first one, ``begun_ms`` is when this one began (0: not
    known).
    """

    action: Action
    digest: int
    limits: DayLimits
    step: Step
    attempt: int
    money: tuple[int, ...] = ()
    amount: int = 0
    reason: str = ""
    begun_ms: int = 0

    @property
    def name(self) -> str:
        """Return its name in indices."""
        return f"{self.action.asked.channel}:{self.action.asked.id}"


def digest_of(asked: Asked) -> int:
    """Return what tells other content: of a top-up that says nothing more than earlier releases knew, what they made of it."""
    account = payer(asked.account)
    plain = Asked(ActionKind.TOPUP, asked.channel, asked.id, asked.partition, asked.account, asked.amount)
    known_before = asked == plain and asked.account == account
    text = f"{account} {asked.amount}" if known_before else json.dumps(asked)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=6).digest())


def begun(asked: Asked, limits: DayLimits, created_ms: int, attempt: int = 1) -> Claim:
    """Make the claim of an action that begins."""
    until_ms = asked.until_ms or (created_ms + asked.lasts_ms if asked.lasts_ms else 0)
    action = Action(asked, ActionState.CREATED, Code.SUCCESS, created_ms, until_ms=until_ms)
    return Claim(action, digest_of(asked), limits, Step.FIRST, attempt, begun_ms=created_ms)


def write_claim(claim: Claim) -> bytes:
    """Write a claim as the store keeps it: what is as it is by default, at the end of a list, is left out."""
    asked, *told = claim.action
    word = CLAIMED if claim.step is Step.FIRST else DONE
    if claim.action.state is ActionState.FAILED:
        word = REFUSED
    account = payer(asked.account)
    member = asked.account[len(account) :]
    return packed(
        word, claim.digest, asked.partition, account, asked.amount, asked.channel, asked.id, claim.money or "",
        claim.step, claim.attempt, asked.kind, member, claim.begun_ms, _short(asked[_ASKED:], _ASKED_DEFAULTS),
        _short(told, _TOLD_DEFAULTS), _short(claim.limits, NO_LIMITS), _short((claim.amount, claim.reason), (0, "")),
    )  # fmt: skip


def _short(fields: Sequence[Any], defaults: Sequence[Any]) -> Sequence[Any]:
    """Leave out what is as it is by default, at the end."""
    count = len(fields)
    while count and fields[count - 1] == defaults[count - 1]:
        count -= 1
    return fields[:count]


def read_claim(text: bytes) -> Claim:
    """Read a claim, also one of an earlier release; raises ValueError, TypeError where it is none."""
    fields = unpacked(text)
    if not isinstance(fields, tuple) or len(fields) not in {_OLD_FIELDS, _FIELDS}:
        raise ValueError("no claim")
    word, digest, partition, account, amount, channel, action_id, money, *rest = fields
    if not rest:
        asked = Asked(ActionKind.TOPUP, channel, action_id, partition, account, amount)
        return _settled_elsewhere(begun(asked, NO_LIMITS, 0)._replace(digest=digest), word, money)
    step, attempt, kind, member, begun_ms, more, (state, code, *told), limits, second = rest
    asked = Asked(ActionKind(kind), channel, action_id, partition, account + member, amount, *more)
    action = Action(asked, ActionState(state), Code(code), *told)
    later: dict[str, Any] = dict(zip(("amount", "reason"), second, strict=False))
    claim = Claim(
        action, digest, DayLimits(*limits), Step(step), attempt, money or (), begun_ms=begun_ms, **later
    )
    return _settled_elsewhere(claim, word, money)


def _settled_elsewhere(claim: Claim, word: int, money: Any) -> Claim:
    """A top-up that a server of an earlier release has confirmed: only the word and the money say so."""
    if word != DONE or claim.step is not Step.FIRST:
        return claim
    action = claim.action._replace(state=ActionState.COMPLETED, done_ms=claim.action.created_ms)
    return with_money(claim._replace(action=action, step=Step.NOTHING), tuple(money))


def with_money(claim: Claim, money: tuple[int, ...]) -> Claim:
    """Return a claim with the book's money as it was after it."""
    came_in, posted, pending, floor, *_ = money
    action = claim.action._replace(balance=came_in - posted, available=came_in - posted - pending - floor)
    return claim._replace(action=action, money=money[:5])
