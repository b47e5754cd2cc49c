"""Where subscribers end: balances whose life is over, numbers that rest, members whose payer has ended.

Laws
1. The agenda has names of these kinds: a path says when to look at what is held (the store writes it together with the profile),
   "life:<path>" when to look at the end of a balance, "rest:<path>" when the number of who has ended is free.
2. The end of the rest is written before the subscriber is terminated, and the number is free only once it has passed as it stands
   there by then. Dying between two steps leaves a number that rests, never one that nobody frees, nor one that is free too soon.
3. A balance is terminated as it was read: where a top-up has moved its end meanwhile, it is looked at again.
4. Members end with who pays for them, and their numbers rest as long as the payer's.
"""

from collections.abc import Awaitable, Callable

from ocs.balance.accounts import Account, Accounts
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.limits import END_RETRY_MS, RENEWAL_RETRY_MS
from ocs.outcomes import Code
from ocs.rating.tariff import Tariff
from ocs.records import Status

NewestTariff = Callable[[str, int], Tariff | None]

_TRIES = 4
_MEMBERS_AT_ONCE = 1_000
_LIFE, _REST = "life", "rest"


async def note_life(parts: Parts, account: Account, at_ms: int) -> None:
    """Put the end of a balance's life on the agenda, unless it is there."""
    profile = account.profile
    keys = parts.keys[profile.partition]
    await parts.store.execute(keys.slot, "ZADD", keys.agenda, "NX", at_ms, f"{_LIFE}:{profile.path}")


class Lives:
    """Ends of the subscribers of one store."""

    __slots__ = ("_accounts", "_newest", "_now_ms", "_parts")

    def __init__(
        self, parts: Parts, accounts: Accounts, now_ms: Callable[[int], Awaitable[int]], newest: NewestTariff
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._now_ms = now_ms
        self._newest = newest

    async def terminate(self, account: Account, *, as_read: bool = False) -> Code:
        """End a subscriber: SUCCESS, UNKNOWN_SUBSCRIBER, and with ``as_read`` STALE (accounts.py, amend). Raises StoreFault.

        Its number rests for the quarantine of its tariff, then it is free.
        """
        if account.ended:
            return Code.UNKNOWN_SUBSCRIBER
        profile = account.profile
        now_ms = await self._now_ms(profile.partition)
        rest_ms, free_ms = await self._rest(account, now_ms)
        code = await self._accounts.terminate(account, rests=True, as_read=as_read)
        if code in {Code.SKEW, Code.EPOCH}:
            raise StoreFault(f"the store refused for now: {code.name}; try again")
        if code == Code.SUCCESS and not rest_ms:
            await self._free(account, now_ms)
            await self._accounts.strike(profile.partition, f"{_REST}:{profile.path}", free_ms)
        return code

    async def _rest(self, account: Account, now_ms: int) -> tuple[int, int]:
        """Put the end of the rest of a number on the agenda; how long it rests, and when it is free at the latest."""
        profile = account.profile
        tariff = self._newest(profile.tariff, now_ms)
        rest_ms = tariff.life.quarantine_ms if tariff is not None else 0
        free_ms = now_ms + max(rest_ms, END_RETRY_MS)
        keys = self._parts.keys[profile.partition]
        await self._parts.store.execute(keys.slot, "ZADD", keys.agenda, free_ms, f"{_REST}:{profile.path}")
        return rest_ms, free_ms

    async def ending(self, partition: int, path: str) -> None:
        """Say until when a number rests, before an action terminates its subscriber with a refund. Raises StoreFault."""
        account = await self._accounts.read(partition, path)
        if account is not None and not account.ended:
            await self._rest(account, await self._now_ms(partition))

    async def ended(self, partition: int, path: str) -> None:
        """Free the number of who an action has terminated, where it does not rest; else the agenda does in its time. Raises StoreFault."""
        account = await self._accounts.read(partition, path)
        now_ms = await self._now_ms(partition)
        if account is None or not account.ended:
            return
        tariff = self._newest(account.profile.tariff, now_ms)
        if tariff is None or not tariff.life.quarantine_ms:
            await self._free(account, now_ms)

    async def tend(self, partition: int, kind: str, path: str, score_ms: int) -> None:
        """Do what is due under a name of the agenda that was read with this time. Raises StoreFault."""
        if kind == _LIFE:
            await self._tend_life(partition, path, score_ms)
        elif kind == _REST:
            await self._tend_rest(partition, path, score_ms)
        else:
            raise ValueError(f"the agenda has no names of kind {kind!r}")

    async def _tend_life(self, partition: int, path: str, score_ms: int) -> None:
        """Terminate a balance that is over, or say when to look at it again."""
        name = f"{_LIFE}:{path}"
        for _ in range(_TRIES):
            account = await self._accounts.read(partition, path)
            now_ms = await self._now_ms(partition)
            over_ms = self._over_ms(account, now_ms) if account is not None else 0
            if over_ms > now_ms:
                keys = self._parts.keys[partition]
                await self._parts.store.execute(keys.slot, "ZADD", keys.agenda, "XX", "GT", over_ms, name)
                return
            if account is None or not over_ms or await self.terminate(account, as_read=True) != Code.STALE:
                await self._accounts.strike(partition, name, score_ms)
                return
        raise StoreFault("the account changes faster than it can be read; try again")

    def _over_ms(self, account: Account, now_ms: int) -> int:
        """Return when life and grace of a balance are over, or when to look again where that is not known yet; 0: never."""
        until_ms = account.book.until_ms
        if account.ended or account.profile.member or not until_ms:
            return 0
        tariff = self._newest(account.profile.tariff, now_ms)
        if tariff is None:
            return now_ms + RENEWAL_RETRY_MS
        life = tariff.life
        if until_ms < 0:  # not used yet: it cannot be over before this
            return now_ms + max(life.first_ms + life.grace_ms, RENEWAL_RETRY_MS)
        return until_ms + life.grace_ms

    async def _tend_rest(self, partition: int, path: str, score_ms: int) -> None:
        """Free the number of who has ended, and of its members, once its rest is over."""
        name = f"{_REST}:{path}"
        account = await self._accounts.read(partition, path)
        if account is None or not account.ended:  # who wanted to end it died before
            await self._accounts.strike(partition, name, score_ms)
            return
        # read after the status: who has ended it meanwhile wrote the end of its rest before
        rests_ms, payer_rests_ms = await self._rests_ms(account)
        now_ms = await self._now_ms(partition)
        if rests_ms is None or max(rests_ms, payer_rests_ms) > now_ms:
            return
        await self._free(account, now_ms)
        await self._accounts.strike(partition, name, rests_ms)

    async def _rests_ms(self, account: Account) -> tuple[int | None, int]:
        """Return until when a number rests, None: not at all; and of a member that ended with its payer the same of that, else 0."""
        profile = account.profile
        keys = self._parts.keys[profile.partition]
        names = [f"{_REST}:{each}" for each in (profile.path, profile.account)]
        own, payer = await self._parts.store.execute(keys.slot, "ZMSCORE", keys.agenda, *names)
        with_payer = account.own is not None and account.own.status is not Status.TERMINATED
        return None if own is None else int(own), int(payer or 0) if with_payer else 0

    async def _free(self, account: Account, now_ms: int) -> None:
        """Free a number; those of its members are put on the agenda, which frees them in turn."""
        profile = account.profile
        members = [] if profile.member else await self._accounts.members(profile.partition, profile.account)
        for start in range(0, len(members), _MEMBERS_AT_ONCE):
            keys, chunk = self._parts.keys[profile.partition], members[start : start + _MEMBERS_AT_ONCE]
            pairs = [each for path in chunk for each in (now_ms, f"{_REST}:{path}")]
            await self._parts.store.execute(keys.slot, "ZADD", keys.agenda, "NX", *pairs)
        await self._accounts.release(account)
