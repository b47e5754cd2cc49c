"""Actions: every movement of money that is not a network element's charge, each exactly once by (channel, id).

Laws
1. Claim, act, confirm: each step is idempotent, so that dying between two of them leaves something that the next try, or the sweeper
   (``resume``), finishes. The claim holds all that is needed for it.
2. What a step was refused is remembered with it: whoever tries it again is refused too, so that two who drive one action agree.
3. Money that is not acknowledged may still have moved (StoreFault): ask again with the same id, or look (``find``).
"""

from typing import Final, Protocol

from ocs.balance import action_lists as lists
from ocs.balance.action_steps import Brings, Result, Steps, bucket_of
from ocs.balance.asked import (
    KINDS,
    NEWEST,
    NO_LIMITS,
    Action,
    ActionState,
    Asked,
    DayLimits,
    Done,
    Listed,
    Page,
)
from ocs.balance.claims import Claim, Step, begun, read_claim, with_money, write_claim
from ocs.balance.keys import Keys, home
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, ScriptFault
from ocs.balance.profiles import payer, read_profile
from ocs.balance.stored_session import read_session
from ocs.clock import Clock
from ocs.limits import ACTION_CONTENT_CHARS_MAX, ACTION_REASON_CHARS_MAX, TOPUP_KEPT_MS, TOPUP_MICROS_MAX
from ocs.outcomes import Code, Note
from ocs.records import ActionKind, SessionState, reservation

__all__ = [
    "KINDS", "NEWEST", "NO_LIMITS", "Action", "ActionKind", "ActionState", "Actions", "Asked", "Brings", "DayLimits", "Done", "Hears",
    "Listed", "Page",
]  # fmt: skip

_TRIES: Final = 16
_CERTAIN_MS: Final = TOPUP_KEPT_MS - 3_600_000
"""Age up to which the marks of a step are surely there, where it was done: beyond it nobody can tell, and it is left to a human."""


class Hears(Protocol):
    """What actions need of the accounts of their store (accounts.py)."""

    brings: Brings | None

    async def tell(self, partition: int, path: str, *, ended: bool = False) -> None:
        """Tell a subscriber's running sessions that something has changed; raises nothing that would hide the change."""


class Actions:
    """The actions of one store; ``Accounts.actions`` is one. All methods raise StoreFault: ask again with the same id."""

    __slots__ = ("_clock", "_hears", "_parts", "_steps")

    def __init__(self, parts: Parts, clock: Clock, hears: Hears) -> None:
        self._parts = parts
        self._clock = clock
        self._hears = hears
        self._steps = Steps(parts)

    async def do(self, asked: Asked, limits: DayLimits = NO_LIMITS) -> Done:
        """Do an action once.

        SUCCESS; CONFLICT without an action: the id belongs to other content (or, in the action's own ``code``, never). What it fails with is kept
        and told again: LIMIT (beyond ``limits`` or the range of the store), CREDIT_LIMIT (less is available, held or own), UNKNOWN_SUBSCRIBER
        (none, or terminated; of a transfer either side: ``why``), BARRED (who gives, reserves or borrows is barred or at its life's end), EXISTS
        (emergency credit is owed already), UNRATED (no such bucket). Raises ValueError for what cannot be asked at all (asked.py; a transfer to another
        currency), before anything is claimed.
        """
        return await self._do(asked, limits)

    async def do_again(self, asked: Asked, limits: DayLimits = NO_LIMITS) -> Done:
        """Do an action once, as ``do``; but an id whose action has failed is free again, also for other content."""
        return await self._do(asked, limits, again=True)

    async def _do(self, asked: Asked, limits: DayLimits, *, again: bool = False) -> Done:
        _check(asked)
        if asked.kind is ActionKind.TRANSFER and (again or await self._is_new(asked)):
            await self._check_currencies(asked)
        created_ms = await self._now_ms(asked.partition)
        if limits.of_a_day:
            limits = limits._replace(day=limits.day or str(created_ms // 86_400_000))
        claim = begun(asked, limits, created_ms)
        text = write_claim(claim)
        for _ in range(_TRIES):
            standing, is_new = await self._claimed(claim, text)
            if is_new:
                return await self._drive(text, claim)
            known = read_claim(standing)
            if again and known.action.state is ActionState.FAILED:
                claim = claim._replace(attempt=known.attempt + 1)
                text = write_claim(claim)
                if await self._turn(claim, standing, text) is None:
                    return await self._drive(text)
                continue
            if known.digest != claim.digest:
                return Done(Code.CONFLICT)
            if known.step is Step.NOTHING:
                return Done(known.action.code, True, await self._as_it_stands(known.action))
            done = await self._drive(standing)
            if known.step is Step.FIRST:
                return done
        raise StoreFault("the action changes faster than it can be read; ask again with the same id")

    async def find(self, channel: str, action_id: str) -> Action | None:
        """Return an action by its id; None: there is none, or it is older than 30 days."""
        text = await lists.claim_of(self._parts, channel, action_id)
        return await self._as_it_stands(read_claim(text).action) if text is not None else None

    async def cancel(self, channel: str, action_id: str, reason: str = "") -> Done:
        """Reverse a top-up or a positive adjustment of money or bucket, whole; or void a reservation. With a top-up goes what is left of its bonus
        (``action.bonus_back``), and the time it gave.

        SUCCESS (again too); CREDIT_LIMIT: less is left (``action.left``), it stays COMPLETED; UNKNOWN_SUBSCRIBER: terminated since; UNRATED: the bucket
        is gone; UNKNOWN_SESSION with an action: the reservation's time came first, it is EXPIRED; CONFLICT with the action: its state or kind has
        nothing to cancel; UNKNOWN_SESSION without an action: there is none.
        """
        for _ in range(_TRIES):
            text = await lists.claim_of(self._parts, channel, action_id)
            if text is None:
                return Done(Code.UNKNOWN_SESSION)
            claim = read_claim(text)
            if claim.step is not Step.NOTHING:
                done = await self._drive(text)
                if claim.step is Step.CANCEL:
                    return done
                continue
            if claim.action.state is ActionState.CANCELLED:
                return Done(Code.SUCCESS, True, claim.action)
            if not _may_cancel(claim.action):
                return Done(Code.CONFLICT, False, await self._as_it_stands(claim.action))
            done_or_none = await self._begin(claim, text, Step.CANCEL, 0, reason)
            if done_or_none is not None:
                return done_or_none
        raise StoreFault("the action changes faster than it can be read; ask again with the same id")

    async def complete(self, channel: str, action_id: str, amount: int, reason: str = "") -> Done:
        """Post a reservation, 0 <= amount <= what it holds, and release the rest.

        SUCCESS (the same amount again too); LIMIT: more than is held, it stays HELD; UNKNOWN_SESSION with an action: its time came first, it is EXPIRED;
        CONFLICT with the action: completed with another amount,
        void, expired, or no reservation; UNKNOWN_SESSION without an action: there is none.
        """
        if amount < 0:
            raise ValueError("a reservation is completed with an amount of 0 or more")
        for _ in range(_TRIES):
            text = await lists.claim_of(self._parts, channel, action_id)
            if text is None:
                return Done(Code.UNKNOWN_SESSION)
            claim = read_claim(text)
            if claim.step is not Step.NOTHING:
                await self._drive(text)
                continue
            action = claim.action
            if action.asked.kind is not ActionKind.RESERVE or action.state is not ActionState.HELD:
                same = action.asked.kind is ActionKind.RESERVE and action.settled == amount
                same = same and action.state is ActionState.COMPLETED
                return Done(Code.SUCCESS if same else Code.CONFLICT, same, action)
            if amount > action.asked.amount:
                return Done(Code.LIMIT, False, action._replace(left=action.asked.amount))
            done_or_none = await self._begin(claim, text, Step.COMPLETE, amount, reason)
            if done_or_none is not None:
                return done_or_none
        raise StoreFault("the action changes faster than it can be read; ask again with the same id")

    async def of_account(self, partition: int, account: str, page: Page = NEWEST) -> Listed:
        """List the actions that moved money of an account (of a transfer: at both ends), of the last 30 days; a member's are its payer's."""
        keys = self._parts.keys[partition]
        now_ms = await self._now_ms(partition)
        return await self._listed(
            await lists.listed(self._parts, lists.of_account(keys, account, page), page, now_ms)
        )

    async def of_channel(self, channel: str, page: Page = NEWEST) -> Listed:
        """List the actions that a channel has claimed in the last 30 days, failed ones and those under way too."""
        now_ms = await self._now_ms(home(channel, len(self._parts.keys)))
        return await self._listed(
            await lists.listed(self._parts, lists.of_channel(self._parts, channel, page), page, now_ms)
        )

    async def resume(self, channel: str, action_id: str) -> bool:
        """Finish an action whose caller died (the sweeper); whether there was something to do."""
        text = await lists.claim_of(self._parts, channel, action_id)
        claim = read_claim(text) if text is not None else None
        if text is None or claim is None or claim.step is Step.NOTHING:
            return False
        await self._drive(text)
        return True

    # ---------------------------------------------------------------- claim, act, confirm

    async def _now_ms(self, partition: int) -> int:
        return self._clock.now_ms() + (await self._parts.epoch(partition)).offset_ms

    async def _claimed(self, claim: Claim, text: bytes) -> tuple[bytes, bool]:
        """Claim an id; what stands under it, and whether that is this claim."""
        asked, keys = claim.action.asked, self._home(claim)
        names = (
            keys.claim(asked.channel, asked.id), _left_list(keys, claim), keys.asked(asked.channel, asked.kind),
        )  # fmt: skip
        _code, standing, note = await self._parts.bare(
            keys.partition, "claim", names, self._clock.now_ms(), claim.name, claim.action.created_ms, TOPUP_KEPT_MS,
            texts=(text,),
        )  # fmt: skip
        return standing, note != Note.REPLAY

    async def _begin(self, claim: Claim, text: bytes, step: Step, amount: int, reason: str) -> Done | None:
        """Begin another step of an action that stands; None where it is another by now."""
        now_ms = await self._now_ms(claim.action.asked.partition)
        next_claim = claim._replace(
            step=step, attempt=claim.attempt + 1, amount=amount, reason=_reason(reason), begun_ms=now_ms
        )
        after = write_claim(next_claim)
        if await self._turn(next_claim, text, after) is not None:
            return None
        return await self._drive(after)

    async def _turn(self, claim: Claim, known: bytes, after: bytes, kept_ms: int = 0) -> bytes | None:
        """Put the next text of a claim in the place of the one that was read; what stands there where that is another by now."""
        asked, keys = claim.action.asked, self._home(claim)
        names = (keys.claim(asked.channel, asked.id), _left_list(keys, claim))
        code, standing = await self._parts.bare(
            keys.partition, "turn", names, self._clock.now_ms(), claim.name, kept_ms, texts=(known, after)
        )
        return None if code == Code.SUCCESS else standing

    def _home(self, claim: Claim) -> Keys:
        return self._parts.keys[home(claim.name, len(self._parts.keys))]

    async def _drive(self, text: bytes, claim: Claim | None = None) -> Done:
        """Do what is under way of an action, and confirm it; the caller, the next one who asks, and the sweeper do the same.

        ``claim`` is what the text says, where that is known already.
        """
        claim = claim or read_claim(text)
        asked = claim.action.asked
        now_ms = await self._now_ms(asked.partition)
        if claim.begun_ms and now_ms - claim.begun_ms > _CERTAIN_MS:
            raise ScriptFault(f"{claim.name} is under way for too long to be finished: look at its account")
        result = await self._act(claim)
        after = _settled(claim, result, now_ms)
        kept_ms = TOPUP_KEPT_MS
        if after.action.state is ActionState.HELD:
            kept_ms += max(0, after.action.until_ms - now_ms)
        for _ in range(_TRIES):
            standing = await self._turn(claim, text, write_claim(after), kept_ms)
            if not standing:
                break
            now = read_claim(standing)
            if (now.attempt, now.step) != (claim.attempt, claim.step):
                after = now  # another has confirmed it
                break
            text = standing
        if result.code == Code.SUCCESS:
            await self._tell(asked)
        return Done(result.code, result.replayed, after.action)

    async def _act(self, claim: Claim) -> Result:
        if claim.step is not Step.FIRST:
            return await self._steps.act(claim, self._hears.brings)
        counted = await self._steps.counted(claim)
        if counted.code != Code.SUCCESS:
            return counted
        result = await self._steps.act(claim, self._hears.brings)
        if result.code != Code.SUCCESS:
            await self._steps.uncount(claim)
        return result

    async def _tell(self, asked: Asked) -> None:
        if asked.kind is ActionKind.REFUND:
            await self._hears.tell(asked.partition, asked.account, ended=True)
            return
        await self._hears.tell(asked.partition, payer(asked.account))
        if asked.kind is ActionKind.TRANSFER:
            await self._hears.tell(asked.receiver_partition, payer(asked.receiver))

    async def _is_new(self, asked: Asked) -> bool:
        """Tell whether an id has no action yet: what is known is answered as it stands, whatever may be asked by now."""
        return await lists.claim_of(self._parts, asked.channel, asked.id) is None

    async def _check_currencies(self, asked: Asked) -> None:
        """Refuse a transfer between accounts of different currencies; raises ValueError."""
        found = set()
        for partition, path in ((asked.partition, asked.account), (asked.receiver_partition, asked.receiver)):
            keys, account = self._parts.keys[partition], payer(path)
            text = await self._parts.store.execute(keys.slot, "GET", keys.profile(account))
            if text is not None:  # else the step itself says that there is none
                found.add(read_profile(text, account, partition, 0).currency)
        if len(found) > 1:
            raise ValueError(f"a transfer is within one currency, not from {' to '.join(sorted(found))}")

    # ---------------------------------------------------------------- reading

    async def _listed(self, found: Listed) -> Listed:
        return found._replace(actions=tuple([await self._as_it_stands(each) for each in found.actions]))

    async def _as_it_stands(self, action: Action) -> Action:
        """Return an action; of a reservation whose time has come, its account knows that first."""
        if action.state is not ActionState.HELD:
            return action
        asked = action.asked
        keys, name = self._parts.keys[asked.partition], reservation(asked.channel, asked.id)
        text = await self._parts.store.execute(keys.slot, "GET", keys.session(name))
        now_ms = await self._now_ms(asked.partition)
        held = text is not None and now_ms < action.until_ms
        if text is not None and held and read_session(text, name, asked.partition).state is SessionState.OPEN:
            return action
        return action._replace(state=ActionState.EXPIRED)


def _left_list(keys: Keys, claim: Claim) -> str:
    """Return the key of the list from which the sweeper takes what is under way: earlier releases know that of top-ups alone.

    They would finish a voucher's too, but its record would not name the voucher.
    """
    asked = claim.action.asked
    plain = asked.kind is ActionKind.TOPUP and claim.step is Step.FIRST and not asked.mark
    return keys.claims if plain else keys.actions


def _may_cancel(action: Action) -> bool:
    asked = action.asked
    if asked.kind is ActionKind.RESERVE:
        return action.state is ActionState.HELD
    came_in = asked.kind is ActionKind.TOPUP or (asked.kind is ActionKind.ADJUST and asked.amount > 0)
    return came_in and action.state is ActionState.COMPLETED


def _settled(claim: Claim, result: Result, now_ms: int) -> Claim:
    """Return a claim after what was under way has come to a result."""
    action, kind = claim.action, claim.action.asked.kind
    if result.code != Code.SUCCESS:
        if claim.step is Step.FIRST:
            told = action._replace(
                state=ActionState.FAILED, code=result.code, done_ms=now_ms, left=result.left, why=result.why
            )
        elif kind is ActionKind.RESERVE and result.code == Code.UNKNOWN_SESSION:
            told = action._replace(state=ActionState.EXPIRED, done_ms=action.until_ms)
        else:
            told = action._replace(left=result.left)
        return claim._replace(action=told, step=Step.NOTHING)
    state = ActionState.CANCELLED if claim.step is Step.CANCEL else ActionState.COMPLETED
    if claim.step is Step.FIRST and kind is ActionKind.RESERVE:
        state = ActionState.HELD
    after = with_money(claim, result.money)
    told = after.action._replace(
        state=state, done_ms=now_ms, settled=result.settled, owed_micros=result.owed_micros, left=0,
        bonus_back=result.bonus[0], bonus_used=result.bonus[1],
    )  # fmt: skip
    if result.bucket is not None:
        told = told._replace(balance=result.bucket[0], available=result.bucket[1])
    return after._replace(action=told, step=Step.NOTHING)


def _reason(reason: str) -> str:
    if len(reason) > ACTION_REASON_CHARS_MAX:
        raise ValueError(f"a reason has at most {ACTION_REASON_CHARS_MAX} characters")
    return reason


def check_name(channel: str, action_id: str) -> None:
    """Refuse what cannot name an action; raises ValueError."""
    if not action_id or not channel or ":" in channel:
        raise ValueError("an action has an id, and a channel without a colon")


def _check(asked: Asked) -> None:
    """Refuse what cannot be asked at all; raises ValueError."""
    _reason(asked.reason)
    kind, amount = asked.kind, asked.amount
    if kind not in KINDS:
        raise ValueError(f"{kind.name} is no action of its own")
    check_name(asked.channel, asked.id)
    if len(asked.content) > ACTION_CONTENT_CHARS_MAX:
        raise ValueError(f"the content of an action has at most {ACTION_CONTENT_CHARS_MAX} characters")
    least = {ActionKind.ADJUST: -TOPUP_MICROS_MAX, ActionKind.REFUND: 0}.get(kind, 1)
    most = 2**50 if asked.bucket else TOPUP_MICROS_MAX
    if not (-most if asked.bucket else least) <= amount <= most or (kind is ActionKind.ADJUST and not amount):
        raise ValueError(f"{amount} is no amount of {kind.name}: it goes up to {most}")
    if asked.bucket:
        if kind is not ActionKind.ADJUST:
            raise ValueError("only an adjustment is of a bucket")
        bucket_of(asked.bucket)
    if asked.is_due and (kind is not ActionKind.ADJUST or asked.bucket):
        raise ValueError("only an adjustment of money is due")
    if not 0 <= asked.fee_micros <= TOPUP_MICROS_MAX or (asked.fee_by_receiver and asked.fee_micros > amount):
        raise ValueError("a fee is 0 or more, and a receiver's no more than the amount")
    if asked.fee_micros and kind not in {ActionKind.TRANSFER, ActionKind.EMERGENCY}:
        raise ValueError(f"{kind.name} has no fee")
    if kind is ActionKind.TRANSFER:
        same = (asked.receiver_partition, payer(asked.receiver)) == (asked.partition, payer(asked.account))
        if not asked.receiver or asked.receiver_partition < 0 or same:
            raise ValueError("a transfer has a receiver, who is not the giver")
    if kind is ActionKind.RESERVE and not (asked.until_ms or asked.lasts_ms > 0):
        raise ValueError("a reservation has an end")
