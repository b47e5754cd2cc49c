"""Vouchers redeemed, looked up and blocked. VOUCHERS.md.

Laws
1. Redeeming is claim -> top up under the claim's id -> confirm, each step idempotent: what died between two of them is finished by the next
   try of the same id, or by ``finish_left``.
2. A voucher that a top-up has claimed is free again only after that action has FAILED, which it is for good (actions.py, law 2): whoever still
   drives it is told the same, though what was refused might be done by now.
3. A voucher is told to be used, never by whom. A code that was never made, and one of a batch that was never active, are answered alike, by as
   many calls, and both count as a wrong try.
4. Locks are judged before a code is looked at. Tries that are under way when a lock falls are still answered.
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple

from ocs.api_limits import VOUCHER_CLAIM_MS, VOUCHER_CLAIM_MS_MAX
from ocs.balance.accounts import Account, Accounts
from ocs.balance.actions import ActionKind, Asked, check_name
from ocs.balance.keys import Keys, home
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, ScriptFault, unpacked
from ocs.balance.voucher_batches import (
    Batches,
    BatchRefused,
    NoBatch,
    VoucherState,
    read_serial,
    refuse_if_away,
    serial_of,
)
from ocs.balance.voucher_codes import NAME_OCTETS, name_of, read_code
from ocs.clock import Clock
from ocs.outcomes import Code

_TRIES: Final = 8
_LEFT_AT_ONCE: Final = 100
_NOBODYS: Final = "-"


class Why(IntEnum):
    """Why a voucher was not redeemed. The numbers up to CURRENCY are those of functions/vouchers.lua."""

    NONE = 0
    UNKNOWN = 1  # no such code, or none that anybody was to have yet
    NOT_YET = 2
    EXPIRED = 3
    SUSPENDED = 4
    CANCELLED = 5
    BLOCKED = 6
    USED = 7
    UNDER_WAY = 8  # another redemption of it is
    CURRENCY = 9
    LOCKED = 10
    LIMIT = 11  # the account cannot hold so much
    SUBSCRIBER = 12  # none, or terminated
    CONFLICT = 13  # the id was used for something else
    UNREADABLE = 14  # no code at all


TEXTS: Final = {
    Why.UNKNOWN: "no voucher has this code",
    Why.NOT_YET: "the voucher is not valid yet",
    Why.EXPIRED: "the voucher has expired",
    Why.SUSPENDED: "the voucher is suspended for now",
    Why.CANCELLED: "the voucher was cancelled",
    Why.BLOCKED: "the voucher is blocked",
    Why.USED: "the voucher was used",
    Why.UNDER_WAY: "the voucher is being redeemed; ask again with the id of that redemption",
    Why.CURRENCY: "the voucher is in another currency than the account",
    Why.LOCKED: "too many wrong codes were tried",
    Why.LIMIT: "the account cannot hold so much; the voucher is free",
    Why.SUBSCRIBER: "there is no such subscriber, or it has ended; the voucher is free",
    Why.CONFLICT: "the id was used for something else; the voucher is free",
    Why.UNREADABLE: "not a voucher's code: it is 12 to 24 digits",
}
"""Each reason in words for people."""

_CODES: Final = {
    Why.LIMIT: Code.LIMIT,
    Why.SUBSCRIBER: Code.UNKNOWN_SUBSCRIBER,
    Why.LOCKED: Code.BARRED,
    Why.CURRENCY: Code.UNRATED,
}
_REFUSED: Final = {Code.LIMIT: Why.LIMIT, Code.UNKNOWN_SUBSCRIBER: Why.SUBSCRIBER}


class Lock(NamedTuple):
    """So many wrong codes within a window lock for a time; 0 tries: no lock."""

    tries: int
    window_ms: int
    lock_ms: int


class Redeemed(NamedTuple):
    """What became of a redemption.

    SUCCESS with the amount, the channel and id that the top-up has, the voucher's serial, and the book's money after it (of a repetition that
    is asked for after 30 days: the book's of now). Else ``why``; ``until_ms`` where codes are locked from now on, and until when.
    """

    code: Code
    replayed: bool = False
    amount_micros: int = 0
    balance_micros: int = 0
    available_micros: int = 0
    why: Why = Why.NONE
    until_ms: int = 0
    id: str = ""
    serial: str = ""
    channel: str = ""


class Voucher(NamedTuple):
    """One voucher as operators see it; who has it and since when where it is claimed or used."""

    serial: str
    state: VoucherState
    partition: int = 0
    account: str = ""
    channel: str = ""
    id: str = ""
    at_ms: int = 0


class _Claim(NamedTuple):
    """A voucher that a top-up has."""

    name: str
    batch: int
    serial: str
    state: VoucherState
    amount_micros: int
    partition: int
    account: str
    channel: str
    id: str
    at_ms: int


class Vouchers:
    """The vouchers of a store. All methods raise StoreFault: ask again; of a redemption with the same id."""

    __slots__ = (
        "_accounts",
        "_batches",
        "_by_channel",
        "_by_subscriber",
        "_clock",
        "_parts",
        "_passed",
        "faults",
        "finished",
    )

    def __init__(
        self,
        parts: Parts,
        accounts: Accounts,
        clock: Clock,
        batches: Batches,
        by_subscriber: Lock,
        by_channel: Lock,
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._clock = clock
        self._batches = batches
        self._by_subscriber = by_subscriber
        self._by_channel = by_channel
        self._passed: dict[int, int] = {}
        self.finished = 0
        """Redemptions that ``finish_left`` has brought to their end."""
        self.faults = 0
        """Claims that it could not read or finish, at every try."""

    async def redeem(self, account: Account, code: str, channel: str, topup_id: str = "") -> Redeemed:
        """Redeem a voucher once: the same id, voucher and subscriber get the same answer again. Raises SecretFault, StoreFault.

        Without an id the voucher is the identity, for the same subscriber on any channel. A member's is its payer's money. Raises ValueError
        for a channel that can have no action, before anything is looked at.
        """
        check_name(channel, topup_id or "its own")
        where = account.profile
        if account.ended:
            return _refused(Why.SUBSCRIBER)
        if until_ms := await self._locked_until_ms(where.partition, where.path, channel):
            return _refused(Why.LOCKED, until_ms)
        text = read_code(code)
        if text is None:
            return _refused(Why.UNREADABLE)
        # without a secret there was never a voucher: as if there were one that nobody has
        known = await self._batches.judge_secret()
        name = name_of(self._batches.secret.octets(text)) if known else _NOBODYS
        claim = await self._claim(account, name, channel, topup_id)
        if isinstance(claim, _Claim):
            return await self._complete(claim)
        until_ms = await self._wrong(where.partition, where.path, channel) if claim is Why.UNKNOWN else 0
        return _refused(claim, until_ms)

    async def _claim(self, account: Account, name: str, channel: str, topup_id: str) -> _Claim | Why:
        """Take a voucher for a top-up, or find that this top-up has it."""
        where, keys = account.profile, self._keys(name)
        for _ in range(_TRIES):
            text = await self._parts.store.execute(keys.slot, "GET", keys.voucher(name))
            _, batch, number, frees, *_ = unpacked(text) if text is not None else (0, 0, 0, 0)
            serial = serial_of(batch, number)
            own = "" if topup_id else f"voucher-{serial}" + (f"-{frees}" if frees else "")
            reply = await self._parts.call(
                keys.partition, "voucher_claim", _names(keys, name, batch), batch, frees, channel, topup_id or own,
                int(bool(own)), where.partition, where.account, where.currency, name,
            )  # fmt: skip
            refuse_if_away(reply)
            if reply[0] == Code.CONFLICT:
                return Why(reply[1])
            if reply[0] == Code.SUCCESS:
                _, state, amount_micros, holder, at_ms = reply
                return _Claim(
                    name, batch, serial, VoucherState(state), amount_micros, where.partition, where.account, holder.decode(),
                    topup_id or own, at_ms,
                )  # fmt: skip
        raise StoreFault("the voucher changes faster than it can be read; try again")

    async def _complete(self, claim: _Claim) -> Redeemed:
        """Bring in the money of a claim, once, and confirm it; or set the voucher free where it never will (law 2)."""
        if claim.state is VoucherState.USED:
            return await self._again(claim)
        if self._now_ms(await self._parts.epoch(claim.partition)) - claim.at_ms > VOUCHER_CLAIM_MS_MAX:
            return _refused(Why.UNDER_WAY)  # the top-up's marks may have gone: ocs audit names it
        asked = Asked(
            ActionKind.TOPUP, claim.channel, claim.id, claim.partition, claim.account, claim.amount_micros, mark=claim.serial
        )  # fmt: skip
        done = await self._accounts.actions.do(asked)
        if done.code == Code.SUCCESS and done.action is not None:
            await self._end(claim, used=True)
            return Redeemed(
                done.code, done.replayed, claim.amount_micros, done.action.balance, done.action.available,
                id=claim.id, serial=claim.serial, channel=claim.channel,
            )  # fmt: skip
        await self._end(claim, used=False)  # law 2: what has failed once is never done
        return _refused(_REFUSED.get(done.code, Why.CONFLICT))

    async def _end(self, claim: _Claim, *, used: bool) -> None:
        reply = await self._parts.call(
            self._keys(claim.name).partition, "voucher_end", _names(self._keys(claim.name), claim.name, claim.batch),
            claim.channel, claim.id, claim.account, int(used), claim.name,
        )  # fmt: skip
        refuse_if_away(reply)
        if used and reply[0] != Code.SUCCESS:
            raise StoreFault(f"voucher {claim.serial} is not what its top-up has claimed; run ocs audit")

    async def _again(self, claim: _Claim) -> Redeemed:
        """Return the answer of a redemption that was done before; nothing moves."""
        action = await self._accounts.actions.find(claim.channel, claim.id)
        money = (0, 0)
        if action is not None:
            money = action.balance, action.available
        elif (found := await self._accounts.read(claim.partition, claim.account)) is not None:
            money = found.book.balance_micros, found.book.available_micros
        return Redeemed(
            Code.SUCCESS, True, claim.amount_micros, *money, id=claim.id, serial=claim.serial, channel=claim.channel
        )  # fmt: skip

    # -- wrong codes

    def _tries(self, partition: int, path: str, channel: str) -> list[tuple[Keys, str, Lock]]:
        keys, at = self._parts.keys, home(f"tries:{channel}", len(self._parts.keys))
        both = (
            (keys[partition], keys[partition].tries(f"subscriber:{path}"), self._by_subscriber),
            (keys[at], keys[at].tries(f"channel:{channel}"), self._by_channel),
        )
        return [each for each in both if each[2].tries]

    async def _locked_until_ms(self, partition: int, path: str, channel: str) -> int:
        """Return until when codes are locked, 0: they are not."""
        locked = 0
        for keys, key, _ in self._tries(partition, path, channel):
            text = await self._parts.store.execute(keys.slot, "GET", key)
            until_ms = unpacked(text)[2] if text is not None else 0
            if until_ms and until_ms > self._now_ms(await self._parts.epoch(keys.partition)):
                locked = max(locked, until_ms)
        return locked

    async def _wrong(self, partition: int, path: str, channel: str) -> int:
        """Count a wrong code; until when it locks, 0: it does not."""
        locked = 0
        for keys, key, lock in self._tries(partition, path, channel):
            reply = await self._parts.call(keys.partition, "voucher_wrong", (keys.part, key), *lock)
            refuse_if_away(reply)
            locked = max(locked, reply[1])
        return locked

    # -- single vouchers

    async def find(self, serial: str) -> Voucher:
        """Return a voucher by its serial number; raises NoBatch."""
        batch, number, name = await self._name(serial)
        keys = self._keys(name)
        text = await self._parts.store.execute(keys.slot, "GET", keys.voucher(name))
        rest: list[Any]
        state, *rest = unpacked(text) if text is not None else (0, 0, 0, 0)
        if rest[:2] != [batch, number]:
            raise NoBatch("no voucher has this serial number")
        standing = Voucher(serial_of(batch, number), VoucherState(state))
        if not rest[3:]:
            return standing
        channel, topup_id, partition, account, at_ms = rest[3:]
        return standing._replace(
            partition=partition, account=account, channel=channel, id=topup_id, at_ms=at_ms
        )

    async def turn(self, serial: str, *, blocked: bool) -> Voucher:
        """Block a voucher, or let it be free again; again is no error. Raises NoBatch; BatchRefused where it was used, or is being redeemed."""
        batch, number, name = await self._name(serial)
        keys = self._keys(name)
        to = VoucherState.BLOCKED if blocked else VoucherState.FREE
        reply = await self._parts.call(
            keys.partition, "voucher_turn", _names(keys, name, batch)[:3], batch, number, int(to)
        )
        refuse_if_away(reply)
        if reply[0] == Code.UNKNOWN_SESSION:
            raise NoBatch("no voucher has this serial number")
        if reply[0] == Code.CONFLICT:
            state = VoucherState(reply[1]).name.lower()
            raise BatchRefused(
                f"voucher {serial_of(batch, number)} is {state}; only a free one can be blocked"
            )
        return await self.find(serial)

    async def _name(self, serial: str) -> tuple[int, int, str]:
        """Return the batch, number and name of a voucher; raises NoBatch."""
        batch_id, number = read_serial(serial)
        batch = await self._batches.find(batch_id)
        if not 1 <= number <= batch.size:
            raise NoBatch(f"batch {batch_id} has the numbers 1 to {batch.size}")
        chunk, place = divmod(number - 1, batch.chunk)
        keys = self._parts.keys[home(f"serials:{batch_id}:{chunk}", len(self._parts.keys))]
        octets = await self._parts.store.execute(
            keys.slot, "GETRANGE", keys.serials(batch_id, chunk), place * NAME_OCTETS, (place + 1) * NAME_OCTETS - 1
        )  # fmt: skip
        if len(octets) != NAME_OCTETS:
            raise NoBatch("no voucher has this serial number any more")
        return batch_id, number, name_of(octets)

    # -- what was left behind

    async def finish_left(self) -> int:
        """Finish the redemptions whose caller died; how many. What cannot be read or reached is counted in ``faults``."""
        finished = 0
        for keys in self._parts.keys:
            try:
                finished += await self._finish_in(keys)
            except StoreFault:
                self.faults += 1
        self.finished += finished
        return finished

    async def _finish_in(self, keys: Keys) -> int:
        now_ms, finished = self._now_ms(await self._parts.epoch(keys.partition)), 0
        passed = self._passed.pop(keys.partition, 0)
        names = await self._parts.store.execute(
            keys.slot, "ZRANGEBYSCORE", keys.voucher_claims, now_ms - VOUCHER_CLAIM_MS_MAX, now_ms - VOUCHER_CLAIM_MS,
            "LIMIT", passed, _LEFT_AT_ONCE,
        )  # fmt: skip
        for each in names:
            name = each.decode()
            try:
                ended = await self._finish(keys, name)
            except (
                ScriptFault,
                ValueError,
                TypeError,
                LookupError,
                ArithmeticError,
            ):  # whatever a garbled one does
                self.faults += 1
                ended = False
            except StoreFault:
                self.faults += 1
                continue
            finished += ended
            passed += not ended
        if len(names) == _LEFT_AT_ONCE:  # the next look is behind those that never end
            self._passed[keys.partition] = passed
        return finished

    async def _finish(self, keys: Keys, name: str) -> bool:
        voucher, copy = await self._read(keys, name)
        state, batch, number, _, channel, topup_id, partition, account, at_ms = voucher
        if state != VoucherState.CLAIMED:
            return False
        await self._complete(
            _Claim(
                name, batch, serial_of(batch, number), VoucherState.CLAIMED, copy[2], partition, account, channel, topup_id, at_ms
            )
        )  # fmt: skip
        return True

    async def _read(self, keys: Keys, name: str) -> tuple[Any, Any]:
        """Read a voucher that somebody has, and its batch's copy; raises ValueError, TypeError where they are not there."""
        text = await self._parts.store.execute(keys.slot, "GET", keys.voucher(name))
        voucher = unpacked(text)
        return voucher, unpacked(await self._parts.store.execute(keys.slot, "GET", keys.vouchers(voucher[1])))

    def _keys(self, name: str) -> Keys:
        return self._parts.keys[home(name, len(self._parts.keys))]

    def _now_ms(self, part: Any) -> int:
        return int(self._clock.now_ms() + part.offset_ms)


def _names(keys: Keys, name: str, batch: int) -> tuple[str, str, str, str]:
    return keys.part, keys.voucher(name), keys.vouchers(batch), keys.voucher_claims


def _refused(why: Why, until_ms: int = 0) -> Redeemed:
    return Redeemed(_CODES.get(why, Code.CONFLICT), why=why, until_ms=until_ms)
