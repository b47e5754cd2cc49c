"""What an operator changes of a subscriber: status, tariff, credit floor, cap, and its number and IMSI; all of it at once, once.

Laws
1. A change is claim -> act -> confirm. New identities are claimed, then one call writes status, floor and profile for the version that was
   read, then the identities are confirmed and old ones let go. Whoever died between two steps is finished by the same call again; what
   nobody repeats, the agenda tidies up.
2. The account is read before its new identities are claimed, and who takes a claim away raises the account's version first: a change that
   came too late meets STALE, and never writes an identity that it does not hold.
3. An identity that was given up names its subscriber until it is free: an IMSI at once, a number when the quarantine of the tariff has
   passed. "rest <key of the identity>:<path>" on the agenda says when; the end of a rest is written before the change.
4. What is so already stays so: the same change again changes nothing.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ocs.balance.accounts import Account, Accounts
from ocs.balance.identities import CLAIM_MS, intent_of
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts
from ocs.balance.profiles import identities_of, owned, read_place, write_place
from ocs.charging.plan import Profile
from ocs.limits import END_RETRY_MS
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code
from ocs.rating.tariff import Tariff
from ocs.records import Status

KIND = "rest "
"""How names of the agenda begin that are about one identity (law 3)."""

_TRIES = 4
_INTENT = "change"


class Wish(NamedTuple):
    """What a subscriber is to be; None: as it is. ``imsi`` "" takes its IMSI away.

    ``floor_micros`` (zero or negative) is for who pays; ``cap_micros`` (0: none) for a member of a shared account.
    """

    status: Status | None = None
    tariff: str | None = None
    floor_micros: int | None = None
    cap_micros: int | None = None
    msisdn: str | None = None
    imsi: str | None = None

    def profile(self, profile: Profile) -> Profile:
        """Return a profile as it is to be."""
        return profile._replace(
            tariff=profile.tariff if self.tariff is None else self.tariff,
            cap_micros=profile.cap_micros if self.cap_micros is None else self.cap_micros,
            msisdn=profile.msisdn if self.msisdn is None else self.msisdn,
            imsi=profile.imsi if self.imsi is None else self.imsi,
        )


class Changed(NamedTuple):
    """Result of a change: SUCCESS, EXISTS (``taken`` is the identity that is another's), UNKNOWN_SUBSCRIBER (there is none any more),

    CREDIT_LIMIT (the floor would take what is available below zero), LIMIT (a floor that no account may have). ``account`` is as it is then;
    ``changed`` whether this call has changed anything.
    """

    code: Code
    account: Account
    taken: SubscriberId | None = None
    changed: bool = False


class Changes:
    """Changes of the subscribers of one store."""

    __slots__ = ("_accounts", "_newest", "_now_ms", "_parts")

    def __init__(
        self,
        parts: Parts,
        accounts: Accounts,
        now_ms: Callable[[int], Awaitable[int]],
        newest: Callable[[str, int], Tariff | None],
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._now_ms = now_ms
        self._newest = newest

    async def change(self, account: Account, wish: Wish) -> Changed:
        """Let a subscriber be what is wished for. Raises StoreFault: the same call again goes on."""
        fresh: set[SubscriberId] = set()
        for _ in range(_TRIES):
            where = account.profile
            if account.ended:
                return Changed(Code.UNKNOWN_SUBSCRIBER, account)
            after = wish.profile(where)
            new = [each for each in _of(after) if each not in _of(where)]
            taken = await self._claimed(where, new, fresh)
            if taken is not None:
                return Changed(Code.EXISTS, account, taken)
            code, changed = await self._amended(account, after, wish)
            if code in {Code.SKEW, Code.EPOCH}:
                raise StoreFault(f"the store refused for now: {code.name}; try again")
            if code == Code.SUCCESS:
                await self._settled(where, after, new)
            elif code != Code.STALE:
                await self._give_back(where, new, fresh)
            found = await self._accounts.read(where.partition, where.path)
            if found is None:
                raise StoreFault("the account was changed and is not there")
            if code != Code.STALE:
                return Changed(code, found, None, changed)
            account = found
        raise StoreFault("the account changes faster than it can be read; try again")

    async def _claimed(
        self, where: Profile, new: list[SubscriberId], fresh: set[SubscriberId]
    ) -> SubscriberId | None:
        """Claim identities for a subscriber, those that were free are ``fresh``; the first that is another's, and then none is claimed.

        The agenda knows of the claim first: it lets go of what was claimed for nothing.
        """
        if not new:
            return None
        until_ms = await self._now_ms(where.partition) + CLAIM_MS
        for place, identity in enumerate(new):
            await self._note(where, identity, until_ms, "GT")
            if not await self._claim(where, identity, fresh):
                await self._give_back(where, new[:place], fresh)
                return identity
        return None

    async def _claim(self, where: Profile, identity: SubscriberId, fresh: set[SubscriberId]) -> bool:
        """Claim one identity; False where it is another's."""
        identities = self._accounts.identities
        text = identities.claim_text(where.partition, where.path, _INTENT, once=True)
        standing = await identities.claim(identity, text, _INTENT)
        if standing is None:
            fresh.add(identity)
            return True
        if read_place(standing) != (where.partition, where.path):
            return False
        if not await identities.swap(identity, standing, text):  # law 2: what stood there may be taken away
            raise StoreFault("another change has just claimed the identity; try again")
        return True

    async def _give_back(self, where: Profile, ids: list[SubscriberId], fresh: set[SubscriberId]) -> None:
        """Undo claims: what was free is free again, what rested goes on to rest."""
        await self._let_go(where, [each for each in ids if each in fresh])
        for identity in ids:
            if identity not in fresh:
                await self._accounts.identities.confirm(identity, where.partition, where.path)

    async def _amended(self, account: Account, after: Profile, wish: Wish) -> tuple[Code, bool]:
        """Write what is to be, for the version that was read; whether there was anything to write."""
        floor_micros = wish.floor_micros if wish.floor_micros != account.book.floor_micros else None
        status = wish.status if wish.status != account.status else None
        profile = after if after != account.profile else None
        if profile is None and status is None and floor_micros is None:
            return Code.SUCCESS, False
        await self._rest(account.profile, [each for each in _of(account.profile) if each not in _of(after)])
        code = await self._accounts.amend(
            account, status=status, profile=profile, floor_micros=floor_micros, as_read=True
        )
        return code, code == Code.SUCCESS

    async def _rest(self, where: Profile, old: list[SubscriberId]) -> None:
        """Write when identities that are given up are free."""
        for identity in old:
            now_ms = await self._now_ms(where.partition)
            await self._note(
                where, identity, now_ms + max(self._rest_ms(where, identity, now_ms), END_RETRY_MS)
            )

    def _rest_ms(self, where: Profile, identity: SubscriberId, now_ms: int) -> int:
        """Return how long an identity rests, by the tariff that its subscriber had."""
        tariff = self._newest(where.tariff, now_ms) if identity.kind == E164 else None
        return tariff.life.quarantine_ms if tariff is not None else 0

    async def _settled(self, before: Profile, after: Profile, new: list[SubscriberId]) -> None:
        """Confirm what a subscriber is named by, also what an earlier call has not come to, and let go at once what need not rest."""
        for identity in _of(after):
            named = await self._accounts.identities.confirm(identity, after.partition, after.path)
            if not named and identity in new:
                raise StoreFault(
                    "the identity was taken away meanwhile: this change took too long; try again"
                )
        now_ms = await self._now_ms(before.partition)
        old = [each for each in _of(before) if each not in _of(after)]
        await self._let_go(before, [each for each in old if not self._rest_ms(before, each, now_ms)])

    async def _let_go(self, where: Profile, ids: list[SubscriberId]) -> None:
        """Free identities that are not the subscriber's, at once where nobody is about to claim them anew."""
        for identity in ids:
            name = _name(identity, where.path)
            keys = self._parts.keys[where.partition]
            score = await self._parts.store.execute(keys.slot, "ZSCORE", keys.agenda, name)
            if score is not None:
                await self._free(where.partition, where.path, identity, int(score))

    # -- the agenda

    async def tend(self, partition: int, kind: str, path: str, score_ms: int) -> None:
        """Free an identity whose rest, or whose claim's time, is over. Raises StoreFault, and ValueError for a name that is none."""
        kind_of, _, value = kind.removeprefix(f"{KIND}id:").partition(":")
        identity = SubscriberId(kind_of, value)
        if not value or identity.key != kind.removeprefix(KIND):
            raise ValueError("the agenda has no such names")
        standing = await self._accounts.identities.standing(identity)
        claimed_ms = (
            self._accounts.identities.age_ms(standing) if standing and intent_of(standing)[0] else CLAIM_MS
        )
        if claimed_ms < CLAIM_MS:  # somebody is at it
            later_ms = await self._now_ms(partition) + CLAIM_MS - claimed_ms
            keys = self._parts.keys[partition]
            await self._parts.store.execute(
                keys.slot, "ZADD", keys.agenda, "XX", "GT", later_ms, f"{kind}:{path}"
            )
            return
        await self._free(partition, path, identity, score_ms)

    async def _free(self, partition: int, path: str, identity: SubscriberId, score_ms: int) -> None:
        """Free an identity that names a subscriber whose own it is not, unless its rest has another end by now (law 2).

        What stands there is marked first: who claims it meanwhile finds the mark gone, or puts its claim in the place of it.
        """
        identities, name = self._accounts.identities, _name(identity, path)
        standing = await identities.standing(identity)
        if standing is not None and read_place(standing) == (partition, path):
            mark = identities.claim_text(partition, path, _INTENT, once=True)
            if not await identities.swap(identity, standing, mark):
                return  # somebody is at it: the agenda comes again
            account = await self._accounts.read(partition, path)
            if account is not None and owned(account.profile, identity):
                await identities.swap(identity, mark, write_place(partition, path))
            else:
                await self._freed(partition, account, identity, mark, score_ms)
                return
        await self._accounts.strike(partition, name, score_ms)

    async def _freed(
        self, partition: int, account: Account | None, identity: SubscriberId, mark: str, score_ms: int
    ) -> None:
        identities, path = self._accounts.identities, read_place(mark.encode())[1]
        name, keys = _name(identity, path), self._parts.keys[partition]
        # read after the account: who gave it up meanwhile wrote the end of its rest before
        rests = await self._parts.store.execute(keys.slot, "ZSCORE", keys.agenda, name)
        code = Code.SUCCESS
        if rests is not None and int(rests) != score_ms:
            code = Code.STALE
        elif account is not None and not account.ended:
            code = await self._accounts.amend(account, as_read=True, told=False)
        if code in {Code.SUCCESS, Code.UNKNOWN_SUBSCRIBER} and await identities.swap(identity, mark, ""):
            await self._accounts.strike(partition, name, score_ms)
        elif code not in {Code.SUCCESS, Code.UNKNOWN_SUBSCRIBER}:
            await identities.swap(identity, mark, write_place(partition, path))

    async def _note(self, where: Profile, identity: SubscriberId, at_ms: int, *how: str) -> None:
        keys = self._parts.keys[where.partition]
        await self._parts.store.execute(
            keys.slot, "ZADD", keys.agenda, *how, at_ms, _name(identity, where.path)
        )


def _of(profile: Profile) -> list[SubscriberId]:
    return identities_of(profile.msisdn, profile.imsi)


def _name(identity: SubscriberId, path: str) -> str:
    return f"{KIND}{identity.key}:{path}"
