"""Accounts for operators and top-up channels: open, amend, top up, read; everything outside the hot path.

Laws
1. Whatever crosses partitions is claim -> act -> confirm, each step idempotent, so that dying between two of them leaves
   something that the next try, or the sweeper, finishes.
2. A top-up is an action (actions.py): its id is unique per channel over all accounts. The same content gets the same answer, other content a
   conflict.
3. Money that is not acknowledged may still have arrived (StoreFault): ask again with the same id.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ocs.balance.actions import Actions, Asked, Brings
from ocs.balance.functions import function
from ocs.balance.identities import Identities
from ocs.balance.keys import Keys, home
from ocs.balance.link import StoreFault
from ocs.balance.parts import Parts, unpacked
from ocs.balance.profiles import identities_of, payer, read_place, read_profile, write_profile
from ocs.balance.stored_book import ENDLESS, Book, read_book
from ocs.charging.plan import Profile
from ocs.clock import Clock
from ocs.limits import TOPUP_KEPT_MS, TOPUP_MICROS_MAX
from ocs.names import SubscriberId
from ocs.outcomes import Code, Note
from ocs.rating.openings import OpenedRow, Rolled
from ocs.records import ActionKind, Status

_MEMBER_LETTERS = 5
_KEEP = -2
"""Of an end of life: as it is (account.lua, amend)."""
_KEEP_FLOOR = 1
"""Of a credit floor: as it is."""
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Account(NamedTuple):
    """A subscriber: who it is, the book of the account that pays, and of a member of a shared account its own.

    ``owed_micros`` is what the account owes for emergency credit.
    """

    profile: Profile
    book: Book
    own: Book | None = None
    owed_micros: int = 0

    @property
    def ended(self) -> bool:
        """Tell whether it is terminated; a member ends with who pays for it."""
        return Status.TERMINATED in {self.book.status, (self.own or self.book).status}

    @property
    def status(self) -> Status:
        """Return what the subscriber itself is; whether its payer is barred is another matter."""
        return Status.TERMINATED if self.ended else (self.own or self.book).status

    @property
    def refundable_micros(self) -> int:
        """Return what one that has ended is owed still: what a refund would pay now (closing.py, law 4); a member has no money."""
        if not self.ended or self.own is not None:
            return 0
        return max(0, self.book.balance_micros - self.book.pending_micros - self.owed_micros)


class NewSubscriber(NamedTuple):
    """A subscriber to be created; ``floor_micros`` is zero or negative, ``until_ms`` where its balance's life ends (stored_book.py)."""

    msisdn: str
    imsi: str
    tariff: str
    kind: str
    currency: str
    floor_micros: int
    until_ms: int = ENDLESS


class RowsOpened(NamedTuple):
    """Result of opening buckets: the code, whether they were there already, and what was paid for them, then or now.

    ``number`` and ``until_ms`` are what was ``told`` of them (``open_rows``).
    """

    code: Code
    replayed: bool = False
    price_micros: int = 0
    number: int = 0
    until_ms: int = 0


class Listener(Protocol):
    """Who hears what has changed for a subscriber's open sessions (sessions/reauthorise.py)."""

    async def changed(self, partition: int, path: str, *, ended: bool = False) -> None:
        """Hear of a subscriber that has changed, or has ended; raises nothing that would hide the change."""


class ToppedUp(NamedTuple):
    """Result of a top-up: the code, whether it was a repetition, and the book's money after it."""

    code: Code
    replayed: bool
    balance_micros: int
    available_micros: int


class Accounts:
    """The accounts of one store."""

    __slots__ = ("_clock", "_parts", "actions", "brings", "identities", "listener")

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self.identities = Identities(parts, clock, self.read)
        self.brings: Brings | None = None
        """None: a top-up brings its money alone."""
        self.listener: Listener | None = None
        self.actions = Actions(parts, clock, self)

    async def find(self, identity: SubscriberId) -> Account | None:
        """Return the account that an identity names, or None; raises StoreFault."""
        place = await self.identities.standing(identity)
        return None if place is None else await self.read(*read_place(place))

    async def read(self, partition: int, path: str) -> Account | None:
        """Return a subscriber by its place (profiles.py)."""
        keys, account = self._parts.keys[partition], payer(path)
        names = [keys.profile(path), keys.book(account)]
        if path != account:
            names += [keys.profile(account), keys.book(path)]
        *texts, owed = await self._parts.store.execute(keys.slot, "MGET", *names, keys.owed(account))
        if None in texts:
            return None
        book = read_book(texts[1])
        own = read_book(texts[3]) if path != account else None
        profile = read_profile(texts[0], path, partition, book.version, *texts[2:3])
        return Account(profile, book, own, int(owed or 0))

    async def create(
        self,
        new: NewSubscriber,
        credit_micros: int = 0,
        shared: Account | None = None,
        cap_micros: int = 0,
        content: str = "",
    ) -> tuple[Code, Account]:
        """Create a subscriber with an account and its opening credit: SUCCESS, or EXISTS when number or IMSI is taken.

        The identities are claimed first (set if absent, with what they are meant for), then account and credit come in
        one call. With ``shared``, it is a member of that account, in its partition, and may spend ``cap_micros`` of it in a month (0: all).
        A create that died in between is finished by the next create of the same identities for the same payer; others wait
        CLAIM_MS, after which what it claimed is free. With ``content`` it is kept what was asked for (``asked_for``). Raises StoreFault;
        the same call again goes on.
        """
        intent = f"{new.msisdn}|{new.imsi}|{shared.profile.account if shared is not None else ''}"
        if shared is None:
            partition, account = home(new.msisdn, len(self._parts.keys)), _account_name()
        else:
            partition = shared.profile.partition
            account = f"{shared.profile.account}/{_account_name()[:_MEMBER_LETTERS]}"
        taken_here: list[SubscriberId] = []
        for identity in identities_of(new.msisdn, new.imsi):
            text = self.identities.claim_text(partition, account, intent)
            standing = await self.identities.claim(identity, text, intent)
            if standing is None:
                taken_here.append(identity)
                continue
            found = await self.read(*read_place(standing))
            if found is not None:
                await self.identities.release(taken_here, account)
                return Code.EXISTS, found
            partition, account = read_place(
                standing
            )  # left behind by a create of the same identities: finish it
        name, _, member = account.partition("/")
        profile = Profile(
            name,
            partition,
            1,
            new.msisdn,
            new.imsi,
            new.tariff,
            new.kind,
            new.currency,
            member,
            (),
            cap_micros,
        )
        return await self._open(profile, new, credit_micros, shared, content)

    async def _open(
        self, profile: Profile, new: NewSubscriber, credit_micros: int, shared: Account | None, content: str
    ) -> tuple[Code, Account]:
        if shared is not None:
            code = await self.join(shared, profile, content)
            if code == Code.UNKNOWN_SUBSCRIBER:
                await self.identities.release(identities_of(new.msisdn, new.imsi), profile.path)
                return code, shared
        else:
            code = await self._open_account(profile, new, credit_micros, content)
        if code not in {Code.SUCCESS, Code.EXISTS}:
            raise StoreFault(f"opening the account was refused: {code.name}")
        return await self._opened(profile, new)

    async def _open_account(
        self, profile: Profile, new: NewSubscriber, credit_micros: int, content: str
    ) -> Code:
        keys = self._parts.keys[profile.partition]
        names = [keys.part, keys.book(profile.account), keys.profile(profile.account), keys.stream]
        names.append(_created_marker(keys, profile.path))
        reply = await self._parts.call(
            profile.partition, "open", names, profile.account, new.floor_micros, write_profile(profile), credit_micros,
            new.until_ms, content, TOPUP_KEPT_MS if content else 0,
        )  # fmt: skip
        return Code(reply[0])

    async def _opened(self, profile: Profile, new: NewSubscriber) -> tuple[Code, Account]:
        """Let the identities name what was opened, where they were claimed for it; EXISTS when something else stands there."""
        for identity in identities_of(new.msisdn, new.imsi):
            if not await self.identities.confirm(identity, profile.partition, profile.path):
                raise StoreFault("another create has taken the identity meanwhile: this one took too long")
        found = await self.read(profile.partition, profile.path)
        if found is None:
            raise StoreFault("the account was opened and is not there")
        same = write_profile(found.profile) == write_profile(profile)
        same = same and (bool(profile.member) or found.book.floor_micros == new.floor_micros)
        return Code.SUCCESS if same else Code.EXISTS, found

    async def amend(
        self,
        account: Account,
        *,
        status: Status | None = None,
        profile: Profile | None = None,
        until_ms: int | None = None,
        floor_micros: int | None = None,
        as_read: bool = False,
        told: bool = True,
    ) -> Code:
        """Change a subscriber's status or profile, its account's credit floor (zero or negative), or where its balance's life ends.

        Running sessions meet it at their next request, and are told (``told``). A floor that is higher than it was and would take what is
        available below zero is CREDIT_LIMIT: it would be a debt that nobody has asked for; lower it may always be.

        The status of a member of a shared account is its own. With ``as_read`` it is STALE where the account's version, or the end of
        its life, is another by now than ``account`` says; a profile is always written for the version that was read.
        """
        if floor_micros is not None and floor_micros > 0:
            return Code.LIMIT
        where = account.profile
        keys = self._parts.keys[where.partition]
        names = [keys.part, keys.book(where.account), keys.profile(where.path), keys.stream]
        if where.member:
            names.append(keys.book(where.path))
        reply = await self._parts.call(
            where.partition, "amend", names, where.account, where.member, int(status or 0),
            write_profile(profile) if profile is not None else "", _KEEP if until_ms is None else until_ms,
            account.book.version if as_read or profile is not None else 0, account.book.until_ms if as_read else _KEEP,
            _KEEP_FLOOR if floor_micros is None else floor_micros,
        )  # fmt: skip
        if reply[0] == Code.SUCCESS and told:
            await self.tell(where.partition, where.path, ended=status is Status.TERMINATED)
        return Code(reply[0])

    async def tell(self, partition: int, path: str, *, ended: bool = False) -> None:
        """Tell who listens that something has changed for a subscriber, so that its open sessions need not wait for it."""
        if self.listener is not None:
            await self.listener.changed(partition, path, ended=ended)

    async def asked_for(self, account: Account) -> str | None:
        """Return what a subscriber was created from (``create``, content), as long as a top-up's id is kept; None where it is not kept."""
        where = account.profile
        keys = self._parts.keys[where.partition]
        text = await self._parts.store.execute(keys.slot, "GET", _created_marker(keys, where.path))
        return None if text is None else str(unpacked(text))

    async def join(self, shared: Account, profile: Profile, content: str = "") -> Code:
        """Open a member of a shared account, in its partition: SUCCESS, EXISTS, UNKNOWN_SUBSCRIBER. Its identities are not set here.

        It is listed first (``members``), so that no member is missing there.
        """
        keys = self._parts.keys[shared.profile.partition]
        await self._parts.store.execute(keys.slot, "SADD", keys.members(profile.account), profile.path)
        names = (
            keys.part, keys.book(profile.account), keys.profile(profile.path), keys.stream, keys.book(profile.path),
            _created_marker(keys, profile.path),
        )  # fmt: skip
        reply = await self._parts.call(
            shared.profile.partition, "join", names, profile.account, profile.member, write_profile(profile), content,
            TOPUP_KEPT_MS if content else 0,
        )  # fmt: skip
        return Code(reply[0])

    async def members(self, partition: int, account: str) -> list[str]:
        """Return the paths of all that were, or were to be, members of an account; of one that has ended none comes any more."""
        keys = self._parts.keys[partition]
        found = await self._parts.store.execute(keys.slot, "SMEMBERS", keys.members(account))
        return sorted(each.decode() for each in found)

    async def open_rows(
        self,
        account: Account,
        rows: Sequence[OpenedRow],
        price_micros: int,
        cause: str,
        *,
        rolled: Sequence[Rolled] = (),
        own: int = 0,
        profile: Profile | None = None,
        due_ms: int = 0,
        content: str = "",
        told: tuple[int, int] = (0, 0),
        limit: Sequence[int] = (),
    ) -> RowsOpened:
        """Open buckets against a price, once, all or nothing; with ``own`` 1 in a member's own book.

        ``limit`` is what a member may spend (renewals.py, limit_of): more is CREDIT_LIMIT too.
        ``profile`` is the subscriber's profile from then on; ``due_ms`` when something is due next for it (0: nothing). With ``content``,
        ``cause`` is a name that counts once for each subscriber, kept as long as a top-up's: a repetition gets the number and the end that
        were ``told`` the first time, other content under the name is a CONFLICT.
        SUCCESS, CREDIT_LIMIT (the price is more than is available), STALE (the account was changed meanwhile: read it again), LIMIT
        (too many buckets), UNKNOWN_SUBSCRIBER; raises StoreFault, also where the store refuses for now.
        """
        where = account.profile
        keys = self._parts.keys[where.partition]
        names = [keys.part, keys.book(where.account), keys.profile(where.path), keys.stream, keys.agenda]
        names.append(keys.brought(where.path, cause))
        if where.member:
            names.append(keys.book(where.path))
        reply = await self._parts.call(
            where.partition, "rows", names, where.account, where.member, account.book.version, cause, price_micros,
            write_profile(profile) if profile is not None else "", [[*each, own] for each in rows],
            [[*each, own] for each in rolled], due_ms, _digest(where.path, content) if content else 0,
            TOPUP_KEPT_MS if content else 0, list(limit), list(told),
        )  # fmt: skip
        code = Code(reply[0])
        if code in {Code.SKEW, Code.EPOCH}:
            raise StoreFault(f"the store refused for now: {code.name}; ask again with the same id")
        if len(reply) < 3:
            return RowsOpened(code)
        return RowsOpened(code, bool(reply[1] & Note.REPLAY), reply[2], *(reply[3] if reply[3:] else ()))

    async def opened(self, account: Account, cause: str, content: str) -> RowsOpened | None:
        """Return what became of a name that counts once (``open_rows``): SUCCESS, CONFLICT for other content, None: not used yet."""
        where = account.profile
        keys = self._parts.keys[where.partition]
        text = await self._parts.store.execute(keys.slot, "GET", keys.brought(where.path, cause))
        if text is None:
            return None
        digest, price_micros, *told = unpacked(text)
        code = Code.SUCCESS if digest == _digest(where.path, content) else Code.CONFLICT
        return RowsOpened(code, True, int(price_micros), *(told[0] if told else ()))

    async def terminate(self, account: Account, *, rests: bool = False, as_read: bool = False) -> Code:
        """End a subscriber; its book stays, for the audit. Its identities are free again, unless they are to rest."""
        code = await self.amend(account, status=Status.TERMINATED, as_read=as_read)
        if not rests and code != Code.STALE:
            await self.release(account)
        return code

    async def strike(self, partition: int, member: str, score_ms: int) -> bool:
        """Take a member off a partition's agenda, unless it has another time there by now than was read."""
        keys = self._parts.keys[partition]
        reply = await self._parts.store.execute(
            keys.slot, "FCALL", function("strike"), 1, keys.agenda, member, score_ms
        )
        return bool(reply)

    async def release(self, account: Account) -> None:
        """Set the identities of a subscriber free."""
        where = account.profile
        await self.identities.release(identities_of(where.msisdn, where.imsi), where.path)

    async def topup(self, account: Account, amount_micros: int, channel: str, topup_id: str) -> ToppedUp:
        """Add money once per (channel, id): SUCCESS, CONFLICT (id used with other content), LIMIT, UNKNOWN_SUBSCRIBER.

        One that was refused leaves its id free.
        """
        if not 0 < amount_micros <= TOPUP_MICROS_MAX:
            return ToppedUp(Code.LIMIT, replayed=False, balance_micros=0, available_micros=0)
        where = account.profile
        asked = Asked(ActionKind.TOPUP, channel, topup_id, where.partition, where.account, amount_micros)
        done = await self.actions.do_again(asked)
        if done.code != Code.SUCCESS or done.action is None:
            return ToppedUp(done.code, replayed=False, balance_micros=0, available_micros=0)
        return ToppedUp(done.code, done.replayed, done.action.balance, done.action.available)

    async def learn_all(self) -> None:
        """Learn every partition's epoch, so that the store's restarts are on record even where nobody charges."""
        for partition in range(len(self._parts.keys)):
            if self._parts.known(partition) is None:
                await self._parts.epoch(partition)


def _digest(account: str, content: int | str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{account} {content}".encode(), digest_size=6).digest())


def _created_marker(keys: Keys, path: str) -> str:
    """Return the key of what a subscriber was created from."""
    return keys.credit("created", path)


def _account_name() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))
