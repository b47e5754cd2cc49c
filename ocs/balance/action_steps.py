"""What each kind of action does to an account: the store's calls of a step, each of which is done or refused once for an attempt.

A step of one account is one call. A transfer has two, and a third that gives back: what the receiver's partition has refused it refuses for good,
so that money is either received or given back, whoever tries.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from ocs.balance.asked import Asked
from ocs.balance.claims import Claim, Step
from ocs.balance.keys import Keys, home
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, unpacked
from ocs.balance.profiles import payer, write_place
from ocs.limits import RESERVED_MS_MAX, TOPUP_KEPT_MS
from ocs.outcomes import Code, Note
from ocs.rating.sources import COUNTER_IDS
from ocs.records import BONUS, ActionKind, reservation

DAY_KEPT_MS: Final = 3 * 24 * 3_600_000
"""How long it is kept what a channel did on a day: no calendar has a day that is not over by then."""
_REMEMBERED_MS: Final = 300_000
"""How long a reservation that has ended stands beside its account; its claim says longer what became of it."""
_START_MS_MAX: Final = 2**48
"""A row begins before it: the store has six octets for that (words.lua, BOOK_ROW_FORMAT)."""
AVAILABLE, OWN, BALANCE = 1, 2, 3
"""What is to be left of an account's money (moves.lua, left_of)."""


class Result(NamedTuple):
    """What a step came to: its code, whether it was done before, the book's money after it, what is owed, and what there was at most.

    ``bucket`` is what remains of a bucket, and what of that is free; ``settled`` and ``bonus`` as in Action (what was taken back, what was used).
    """

    code: Code
    replayed: bool = False
    money: tuple[int, ...] = ()
    owed_micros: int = 0
    left: int = 0
    settled: int = 0
    bucket: tuple[int, int] | None = None
    why: str = ""
    bonus: tuple[int, int] = (0, 0)


class Brings(Protocol):
    """What a top-up brings besides its money, and what belongs to an end (holdings.py); all may be asked again after a crash."""

    async def extends_ms(self, partition: int, account: str, amount_micros: int) -> int:
        """Return how long the balance lasts from now on at least; 0: it changes nothing."""

    async def follow(self, partition: int, account: str, amount_micros: int, name: str) -> None:
        """Do what follows from money that came in: the bonus, once by the top-up's name, and renewals that waited for it."""

    async def ending(self, partition: int, path: str) -> None:
        """Prepare the end of a subscriber: until when its number rests."""

    async def ended(self, partition: int, path: str) -> None:
        """Do what follows from an end: the number is free where it does not rest."""


class _Move(NamedTuple):
    """What a call of ``moving`` is to do beside what the claim says (moves.lua, M_...)."""

    credit: int = 0
    post: int = 0
    basis: int = 0
    active: bool = False
    always: bool = False
    owes: int = 0
    bucket: tuple[int, int] = (0, 0)
    delta: int = 0
    counterpart: str = ""


class _Count(NamedTuple):
    """A day on which an action is counted: where, under which name, and what may be there at most (0: no limit)."""

    partition: int
    key: str
    field: str
    amount: int
    number: int
    why: str


class Steps:
    """Acts for claims on the accounts of one store."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def act(self, claim: Claim, brings: Brings | None) -> Result:
        """Do what is under way of an action. Raises StoreFault: ask again."""
        asked = claim.action.asked
        if claim.step is Step.CANCEL:
            return await self._reverse(claim)
        if claim.step is Step.COMPLETE:
            return await self._settle(claim, claim.amount, "settled")
        if asked.kind is ActionKind.TOPUP:
            return await self._top_up(claim, brings)
        if asked.kind is ActionKind.TRANSFER:
            return await self._transfer(claim)
        if asked.kind is ActionKind.RESERVE:
            return await self._hold(claim)
        if asked.kind is ActionKind.REFUND:
            return await self._close(claim, brings)
        if asked.kind is ActionKind.EMERGENCY:
            move = _Move(asked.amount, active=True, owes=asked.amount + asked.fee_micros)
            return await self._move(claim, asked.kind, "done", move)
        if asked.is_due:
            move = _Move(max(0, asked.amount), max(0, -asked.amount), always=True)
            return await self._move(claim, asked.kind, "done", move)
        return await self._adjust(claim, asked.amount, AVAILABLE, asked.kind, "done")

    # ---------------------------------------------------------------- limits

    async def counted(self, claim: Claim) -> Result:
        """Count an action on the days of its channel and its account, once: SUCCESS, or LIMIT; then it is counted on neither."""
        asked, limits = claim.action.asked, claim.limits
        size = abs(asked.amount)
        if limits.each and size > limits.each:
            return Result(Code.LIMIT, left=limits.each, why="beyond what one action of the channel may be")
        for count in _counts(claim, self._parts.keys):
            reply = await self._count(claim, count, back=False)
            if reply[0] != Code.SUCCESS:
                await self.uncount(claim)  # of what was refused nothing was counted
                return Result(Code.LIMIT, left=reply[1], why=count.why)
        return Result(Code.SUCCESS)

    async def uncount(self, claim: Claim) -> None:
        """Give back what was counted."""
        for count in _counts(claim, self._parts.keys):
            await self._count(claim, count, back=True)

    async def _count(self, claim: Claim, count: "_Count", *, back: bool) -> Sequence[int]:
        asked = claim.action.asked
        reply: Sequence[int] = await self._parts.bare(
            count.partition, "count", (count.key,), count.field, claim.attempt, abs(asked.amount), count.amount, count.number,
            DAY_KEPT_MS, int(back),
        )  # fmt: skip
        return reply

    # ---------------------------------------------------------------- the kinds

    async def _top_up(self, claim: Claim, brings: Brings | None) -> Result:
        asked = claim.action.asked
        account, keys = payer(asked.account), self._parts.keys[asked.partition]
        extend_ms = 0
        if brings is not None:
            extend_ms = await brings.extends_ms(asked.partition, account, asked.amount)
        names = (
            keys.part, keys.book(account), keys.credit(asked.channel, asked.id), keys.stream,
            keys.acted(account, asked.kind), keys.owed(account), keys.lives(account),
        )  # fmt: skip
        reply = await self._parts.call(
            asked.partition, "credit", names, account, asked.channel, asked.id, claim.digest, asked.amount,
            TOPUP_KEPT_MS, extend_ms, claim.attempt, claim.action.created_ms, claim.name,
            *([asked.mark] if asked.mark else []),
        )  # fmt: skip
        result = _result(reply)
        if result.code == Code.SUCCESS and brings is not None:
            # before the claim is confirmed: whoever finishes it does this too
            await brings.follow(asked.partition, account, asked.amount, claim.name)
        return result

    async def _adjust(self, claim: Claim, amount: int, basis: int, kind: ActionKind, step: str) -> Result:
        bucket = claim.action.asked.bucket
        if bucket:
            return await self._move(claim, kind, step, _Move(bucket=bucket_of(bucket), delta=amount))
        if kind is ActionKind.REVERSAL:  # as for a top-up
            return await self._move(claim, kind, step, _Move(amount, basis=basis))
        return await self._move(claim, kind, step, _Move(max(0, amount), max(0, -amount), basis))

    async def _reverse(self, claim: Claim) -> Result:
        asked = claim.action.asked
        if asked.kind is ActionKind.RESERVE:
            return await self._settle(claim, 0, "settled")
        if asked.kind is ActionKind.TOPUP:
            return await self._take_back(claim)
        result = await self._adjust(claim, -asked.amount, BALANCE, ActionKind.REVERSAL, "reversed")
        return result._replace(settled=asked.amount if result.code == Code.SUCCESS else 0)

    async def _take_back(self, claim: Claim) -> Result:
        """Reverse a top-up: what came in goes back, it was never spent, and with it what is left of what it brought."""
        asked = claim.action.asked
        account, keys = payer(asked.account), self._parts.keys[asked.partition]
        names = (
            *self._names(keys, claim, "reversed"), keys.lives(account), keys.brought(account, bonus_cause(claim.name)),
            keys.agenda,
        )  # fmt: skip
        move = _Move(-asked.amount, basis=BALANCE)
        told = self._told(claim, account, ActionKind.REVERSAL, move, claim.reason)
        reply = await self._parts.call(asked.partition, "reversing", names, told)
        result = _result(reply)
        if result.code != Code.SUCCESS:
            return result
        _, _, _, _, _, *bonus = unpacked(reply[1])
        back, used = bonus or (0, 0)  # it was reversed by an earlier release
        return result._replace(settled=asked.amount, bucket=None, bonus=(back, used))

    async def _transfer(self, claim: Claim) -> Result:
        asked = claim.action.asked
        giver, receiver = (
            write_place(asked.partition, payer(asked.account)),
            write_place(asked.receiver_partition, payer(asked.receiver)),
        )
        given = asked.amount + (0 if asked.fee_by_receiver else asked.fee_micros)
        kept = asked.fee_micros if asked.fee_by_receiver else 0
        out = _Move(post=given, basis=OWN, active=True, counterpart=receiver)
        first = await self._move(claim, asked.kind, "given", out)
        if first.code != Code.SUCCESS:
            return first._replace(why="the giver")
        move = _Move(asked.amount, kept, counterpart=giver)
        second = await self._move(
            claim, asked.kind, "received", move, (asked.receiver_partition, payer(asked.receiver))
        )
        if second.code == Code.SUCCESS:
            return first._replace(settled=asked.amount - kept)
        back = _Move(post=-given, always=True, counterpart=receiver)
        third = await self._move(claim, asked.kind, "given back", back)
        if third.code != Code.SUCCESS:
            raise StoreFault(f"money that was not received cannot be given back: {third.code.name}")
        return third._replace(code=second.code, why="the receiver")

    async def _hold(self, claim: Claim) -> Result:
        action, asked = claim.action, claim.action.asked
        if not 0 < action.until_ms - action.created_ms <= RESERVED_MS_MAX:
            return Result(Code.LIMIT, why="it would end too late, or has ended")
        account, keys = payer(asked.account), self._parts.keys[asked.partition]
        names = self._names(keys, claim, "held") + _session(keys, asked)
        told = self._told(claim, account, asked.kind, _Move(), asked.reason)
        route = f"{asked.channel.replace(' ', '_')} reserved"
        reply = await self._parts.call(
            asked.partition, "hold", names, told, asked.amount, action.until_ms, reservation(asked.channel, asked.id), route
        )  # fmt: skip
        return _result(reply)

    async def _settle(self, claim: Claim, amount: int, step: str) -> Result:
        asked = claim.action.asked
        account, keys = payer(asked.account), self._parts.keys[asked.partition]
        names = self._names(keys, claim, step) + _session(keys, asked)
        told = self._told(claim, account, asked.kind, _Move(), claim.reason)
        reply = await self._parts.call(
            asked.partition, "settling", names, told, amount, reservation(asked.channel, asked.id), _REMEMBERED_MS
        )  # fmt: skip
        result = _result(reply)
        return result._replace(settled=amount) if result.code == Code.SUCCESS else result

    async def _close(self, claim: Claim, brings: Brings | None) -> Result:
        asked = claim.action.asked
        account, keys = payer(asked.account), self._parts.keys[asked.partition]
        if brings is not None:
            await brings.ending(asked.partition, asked.account)
        names = (*self._names(keys, claim, "closed"), keys.profile(asked.account))
        if asked.account != account:
            names += (keys.book(asked.account),)
        told = self._told(claim, account, asked.kind, _Move(), asked.reason, asked.account)
        reply = await self._parts.call(asked.partition, "closing", names, told, asked.amount or -1)
        if reply[0] == Code.SUCCESS and brings is not None:
            await brings.ended(asked.partition, asked.account)
        result = _result(reply)
        return result._replace(settled=unpacked(reply[1])[5]) if result.code == Code.SUCCESS else result

    # ---------------------------------------------------------------- calls

    async def _move(
        self, claim: Claim, kind: ActionKind, step: str, move: _Move, place: tuple[int, str] | None = None
    ) -> Result:
        asked = claim.action.asked
        partition, account = place or (asked.partition, payer(asked.account))
        keys = self._parts.keys[partition]
        names = self._names(keys, claim, step, account)
        path = account
        if move.bucket[0] and asked.account != account:
            path = asked.account
            names += (keys.book(path),)
        reason = claim.reason if claim.step is Step.CANCEL else asked.reason
        told = self._told(claim, account, kind, move, reason, path)
        return _result(await self._parts.call(partition, "moving", names, told))

    @staticmethod
    def _names(keys: Keys, claim: Claim, step: str, account: str = "") -> tuple[str, ...]:
        """Return the keys that every step of an action has."""
        asked = claim.action.asked
        account = account or payer(asked.account)
        return (
            keys.part, keys.book(account), keys.moved(step, asked.channel, asked.id), keys.stream,
            keys.acted(account, asked.kind), keys.owed(account),
        )  # fmt: skip

    @staticmethod
    def _told(
        claim: Claim, account: str, kind: ActionKind, move: _Move, reason: str, path: str = ""
    ) -> list[str | int]:
        """Return a step as the library takes it (moves.lua, M_...)."""
        asked, member = claim.action.asked, path.partition("/")[2]
        return [
            account, member, asked.channel, asked.id, move.counterpart, reason, int(kind), claim.digest, claim.attempt,
            claim.action.created_ms, TOPUP_KEPT_MS, claim.name, move.credit, move.post, move.basis, int(move.active),
            int(move.always), move.owes, *move.bucket, move.delta,
        ]  # fmt: skip


def _counts(claim: Claim, keys: Sequence[Keys]) -> list[_Count]:
    """Return the days on which an action is counted."""
    asked, limits = claim.action.asked, claim.limits
    found = []
    if limits.amount or limits.number:
        at = keys[home(asked.channel, len(keys))]
        key = at.day(asked.channel, asked.kind, limits.day)
        why = "beyond what the channel may do on one day"
        found.append(_Count(at.partition, key, f"id {asked.id}", limits.amount, limits.number, why))
    if limits.account_amount or limits.account_number:
        at, account = keys[asked.partition], payer(asked.account)
        key, most = at.days(account, asked.kind, limits.day), (limits.account_amount, limits.account_number)
        why = "beyond what may come in for the subscriber on one day"
        found.append(_Count(at.partition, key, f"id {claim.name}", *most, why))
    return found


def bonus_cause(name: str) -> str:
    """Return the cause under which a top-up's bonus is opened, by the name of its claim."""
    return f"{BONUS}{name}"


def bucket_of(text: str) -> tuple[int, int]:
    """Read a bucket's id as it is shown, "<id>-<start>"; raises ValueError, of a counter's too: what it counts is nobody's to move."""
    row_id, dash, start_ms = text.partition("-")
    if not (dash and row_id.isdecimal() and start_ms.isdecimal()):
        raise ValueError(f"{text!r} names no bucket: its id is two numbers with a dash between")
    if not (0 < int(row_id) < COUNTER_IDS and int(start_ms) < _START_MS_MAX):
        raise ValueError(f"{text!r} names no bucket")
    return int(row_id), int(start_ms)


def _session(keys: Keys, asked: Asked) -> tuple[str, ...]:
    return keys.session(reservation(asked.channel, asked.id)), keys.due, keys.open


def _result(reply: Sequence[Any]) -> Result:
    """Read what a step replies; raises StoreFault where the store refuses for now."""
    code, text, note, owed, left = reply
    if code in {Code.SKEW, Code.EPOCH}:
        raise StoreFault(f"the store refused for now: {Code(code).name}; ask again with the same id")
    figures: tuple[int, ...] = unpacked(text) if text else ()
    bucket = (figures[5], figures[6]) if len(figures) > 6 else None
    return Result(Code(code), bool(int(note) & Note.REPLAY), figures[:5], int(owed), int(left), bucket=bucket)
