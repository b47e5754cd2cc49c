"""What subscribers hold of products: bought, renewed, cancelled, lapsed; and top-ups' bonuses (lives.py: how they end).

Laws
1. What belongs to one period of a product (its price, its buckets, what rolls over, the note in the profile) is one call of the
   store, made for the version of the account that was read: it happens once, or not at all.
2. A renewal that credit is short for is tried again within its grace: by the next request, by a top-up, by the agenda. Then the
   product lapses. Who is barred, or whose balance's life has ended, is short of credit so.
3. The agenda says when to look at a subscriber, never what to do: looking twice, or late, changes nothing but the time.
   A name goes off it only at the time that was read with it: what was bought meanwhile has said its own.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from ocs.balance.accounts import Account, Accounts
from ocs.balance.action_steps import bonus_cause
from ocs.balance.changes import KIND, Changes
from ocs.balance.link import StoreFault
from ocs.balance.lives import Lives, NewestTariff
from ocs.balance.parts import Parts
from ocs.balance.renewals import limit_of, own_book, renewed
from ocs.balance.wallets import made
from ocs.charging.plan import Profile
from ocs.clock import Clock
from ocs.limits import AGENDA_AT_ONCE, RENEWAL_RETRY_MS
from ocs.outcomes import Code
from ocs.rating.openings import NUMBER_MAX, Held, Opening, bonus_opening, given_opening, opening
from ocs.rating.products import Catalogue, Product
from ocs.rating.wallet import Due
from ocs.records import Status

_TRIES = 4
_RENEWALS_MAX = 64
"""Renewals of one subscriber in one go; the agenda comes again."""


class Bought(NamedTuple):
    """Result of a purchase: the code, whether it was a repetition, and its price (of CREDIT_LIMIT: what it would be).

    ``number`` is that of the instance, ``until_ms`` the end of its first period. ``why`` tells what a LIMIT is about.
    """

    code: Code
    replayed: bool = False
    price_micros: int = 0
    number: int = 0
    until_ms: int = 0
    why: str = ""


class Holdings:
    """Products of the accounts of one store."""

    __slots__ = (
        "_accounts",
        "_clock",
        "_newest",
        "_parts",
        "bonuses_not_given",
        "catalogue",
        "changes",
        "lives",
    )

    def __init__(
        self, parts: Parts, accounts: Accounts, clock: Clock, catalogue: Catalogue, newest: NewestTariff
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._clock = clock
        self._newest = newest
        self.catalogue = catalogue
        self.lives = Lives(parts, accounts, self.now_ms, newest)
        self.changes = Changes(parts, accounts, self.now_ms, newest)
        self.bonuses_not_given = 0
        """Bonuses that an account had no room for, counted at every try."""

    async def now_ms(self, partition: int) -> int:
        """Return the time that a partition's calls carry."""
        return self._clock.now_ms() + (await self._parts.epoch(partition)).offset_ms

    async def buy(self, account: Account, product: Product, name: str) -> Bought:
        """Buy a product: SUCCESS, CREDIT_LIMIT, CONFLICT (the name is another purchase's), LIMIT, UNKNOWN_SUBSCRIBER.

        A ``name`` counts once for each subscriber: repeated it is answered as at first, whatever is held by then. Two subscribers may
        use the same. Raises StoreFault; the same call again goes on.
        """
        if product.given:
            return Bought(Code.LIMIT, why=f"{product.key} is not sold; operators give it")
        done = await self._open_new(
            account, product, f"bought {name}", lambda held: opening(product, held, held.start_ms)
        )
        if done.code == Code.SUCCESS and not done.replayed:
            await self._accounts.tell(account.profile.partition, account.profile.path)
        return done

    async def give(
        self, account: Account, product: Product, amount: int, until_ms: int, name: str, asked: str = ""
    ) -> Bought:
        """Give so much of a product that is given, until an instant (0: as long as it lasts), once by a name for each subscriber.

        ``asked`` is what was asked for, in whatever words, and tells other content: the product that it means may have a newer version at its
        repetition. "": this product, in any version, so much of it, until then.

        SUCCESS, CONFLICT (the name gave something else), LIMIT (``why``), UNKNOWN_SUBSCRIBER. Raises StoreFault; the same call again goes on.
        """
        done = await self._open_new(
            account,
            product,
            f"given {name}",
            lambda held: given_opening(product, held, amount, until_ms),
            may_crowd=True,
            content=asked or f"{product.name} {amount} {until_ms}",
        )
        if done.code == Code.SUCCESS and not done.replayed:
            await self._accounts.tell(account.profile.partition, account.profile.path)
        return done

    async def _open_new(
        self,
        account: Account,
        product: Product,
        cause: str,
        begin: Callable[[Held], Opening],
        *,
        may_crowd: bool = False,
        content: str = "",
    ) -> Bought:
        content = content or product.key
        for _ in range(_TRIES):
            profile = account.profile
            earlier = await self._accounts.opened(account, cause, content)
            if earlier is not None:
                return Bought(*earlier)
            now_ms = await self.now_ms(profile.partition)
            standing = self._standing(profile.products, now_ms)
            held = Held(account.book.version, product.key, now_ms, 0)  # openings.py, law 1
            if refusal := self._refusal(profile, product, held, now_ms, may_crowd=may_crowd):
                return Bought(Code.LIMIT, why=refusal)
            try:
                opened = begin(held)
            except ValueError as over:
                return Bought(Code.LIMIT, why=str(over))
            until_ms = opened.period[1]
            after = profile._replace(products=(*standing, held._replace(until_ms=until_ms)))
            done = await self._accounts.open_rows(
                account, opened.rows, opened.price_micros, cause, own=own_book(profile, product), profile=after,
                due_ms=self._due_ms(after, now_ms), content=content, told=(held.number, until_ms),
                limit=self._limit(profile, now_ms),
            )  # fmt: skip
            if done.code == Code.SUCCESS:
                return Bought(*done)
            if done.code != Code.STALE:
                return Bought(done.code, done.replayed, opened.price_micros)
            again = await self._accounts.read(profile.partition, profile.path)
            if again is None:
                return Bought(Code.UNKNOWN_SUBSCRIBER)
            account = again
        raise StoreFault("the account changes faster than it can be read; try again")

    def _refusal(
        self, profile: Profile, product: Product, held: Held, now_ms: int, *, may_crowd: bool
    ) -> str:
        if product.currency != profile.currency:
            return f"{product.key} is in {product.currency}, the account in {profile.currency}"
        if product.shared and profile.member:
            return f"{product.key} is shared: the account buys it, not a member"
        if held.number > NUMBER_MAX:
            return "the account has bought as many products as it can"
        if may_crowd:
            return ""
        tariff = self._newest(profile.tariff, now_ms)
        standing = profile._replace(
            products=tuple(self._standing(profile.products, now_ms)),
            shared=tuple(self._standing(profile.shared, now_ms)),
        )
        service = made(standing, tariff, self.catalogue).crowded(product) if tariff is not None else None
        return f"too many allowances for {service} at once; cancel one first" if service else ""

    async def cancel(self, account: Account, number: int) -> Code:
        """Let a product end with its period: SUCCESS, UNKNOWN_SESSION (it is not held), UNKNOWN_SUBSCRIBER."""
        for _ in range(_TRIES):
            held = [each for each in account.profile.products if each.number == number]
            if not held:
                return Code.UNKNOWN_SESSION
            kept = [
                each._replace(renews=False) if each in held else each for each in account.profile.products
            ]
            code = await self._noted(account, kept, f"cancelled {held[0].product_key} {number}")
            if code == Code.SUCCESS:
                await self._accounts.tell(account.profile.partition, account.profile.path)
            if code != Code.STALE:
                return code
            again = await self._accounts.read(account.profile.partition, account.profile.path)
            if again is None:
                return Code.UNKNOWN_SUBSCRIBER
            account = again
        raise StoreFault("the account changes faster than it can be read; try again")

    async def read(self, partition: int, path: str) -> Account | None:
        """Return a subscriber by its place."""
        return await self._accounts.read(partition, path)

    async def renew(self, partition: int, path: str, *, tells: bool = True) -> Account | None:
        """Open what is due of a subscriber, and clear away what has ended; the subscriber as it is then, None when there is none.

        Its open sessions are told (``tells``) unless something else will. Raises StoreFault.
        """
        account = first = await self._accounts.read(partition, path)
        for _ in range(_RENEWALS_MAX):
            if account is None or account.ended:
                break
            now_ms = await self.now_ms(partition)
            due = self.due(account.profile, now_ms)
            if not (await self._renew_first(account, due, now_ms) or await self._cleared(account, now_ms)):
                break
            account = await self._accounts.read(partition, path)
        if tells and account is not None and first is not None and account.book.version != first.book.version:
            await self._accounts.tell(partition, path)
        return account

    async def _renew_first(self, account: Account, due: Sequence[Due], now_ms: int) -> bool:
        """Renew the first that credit is enough for, or let it lapse; whether there was one."""
        for each in due:
            if await self._renew_one(account, each, now_ms):
                return True
        return False

    def due(self, profile: Profile, now_ms: int) -> tuple[Due, ...]:
        """Return what is due of a subscriber's own products."""
        tariff = self._newest(profile.tariff, now_ms)
        own = profile._replace(shared=())
        return () if tariff is None else made(own, tariff, self.catalogue).due(now_ms)

    async def _renew_one(self, account: Account, due: Due, now_ms: int) -> bool:
        """Renew one product, or let it lapse; whether the account has changed (by this call or by another)."""
        profile, held = account.profile, due.held
        opened, own, after, cause = renewed(profile, due, self._standing(profile.products, now_ms), now_ms)
        code = Code.CREDIT_LIMIT
        if _may_pay(account, now_ms):
            code, *_ = await self._accounts.open_rows(
                account, opened.rows, opened.price_micros, cause, rolled=opened.rolled, own=own, profile=after,
                due_ms=self._due_ms(after, now_ms), limit=self._limit(profile, now_ms),
            )  # fmt: skip
        if code == Code.CREDIT_LIMIT and now_ms >= due.lapses_ms:
            kept = [each for each in after.products if each.number != held.number]
            code = await self._noted(account, kept, f"lapsed {held.product_key} {held.number}")
        return code in {Code.SUCCESS, Code.STALE}

    def _limit(self, profile: Profile, now_ms: int) -> list[int]:
        """Return what a member may spend of its account, products too."""
        tariff = self._newest(profile.tariff, now_ms) if profile.cap_micros else None
        return [] if tariff is None else limit_of(made(profile, tariff, self.catalogue).cap(now_ms))

    async def _cleared(self, account: Account, now_ms: int) -> bool:
        """Take what has ended out of the profile, so that it crowds nothing; whether the account has changed."""
        held = account.profile.products
        kept = self._standing(held, now_ms)
        if len(kept) == len(held):
            return False
        ended = " ".join(f"{each.product_key} {each.number}" for each in held if each not in kept)
        return await self._noted(account, kept, f"ended {ended}") in {Code.SUCCESS, Code.STALE}

    async def _noted(self, account: Account, kept: Sequence[Held], cause: str) -> Code:
        """Change what the profile says is held, for the version of it that was read."""
        after = account.profile._replace(products=tuple(kept))
        now_ms = await self.now_ms(after.partition)
        code, *_ = await self._accounts.open_rows(
            account, (), 0, cause, profile=after, due_ms=self._due_ms(after, now_ms)
        )
        return code

    def _standing(self, held: Sequence[Held], now_ms: int) -> list[Held]:
        """Return what is not over: what was bought once, or cancelled, goes with its period. What the catalogue does not know stays."""
        return [each for each in held if each.until_ms > now_ms or self._renews(each, unknown=each.renews)]

    def _renews(self, held: Held, *, unknown: bool = False) -> bool:
        product = self.catalogue.product(held.product_key)
        return product.recurring and held.renews if product is not None else unknown

    def _due_ms(self, profile: Profile, now_ms: int) -> int:
        """Return when there is something to do for a subscriber next; 0: nothing.

        A renewal that is overdue is tried again later; what only ends is looked at once, at its end.
        """
        ends = [each.until_ms for each in profile.products if each.until_ms > now_ms]
        if any(each.until_ms <= now_ms and self._renews(each) for each in profile.products):
            ends.append(now_ms + RENEWAL_RETRY_MS)
        return min(ends, default=0)

    # -- actions (action_steps.py, Brings)

    async def extends_ms(self, partition: int, account: str, amount_micros: int) -> int:
        """Return how long a top-up makes the balance last, by the tariff's life."""
        found = await self._accounts.read(partition, account)
        tariff = None
        if found is not None:
            tariff = self._newest(found.profile.tariff, await self.now_ms(partition))
        return tariff.life.extend_ms(amount_micros) if tariff is not None else 0

    async def ending(self, partition: int, path: str) -> None:
        """Say until when a number rests before its subscriber is terminated (lives.py, law 2)."""
        await self.lives.ending(partition, path)

    async def ended(self, partition: int, path: str) -> None:
        """Free the number of who was terminated, where it does not rest."""
        await self.lives.ended(partition, path)

    async def follow(self, partition: int, account: str, amount_micros: int, name: str) -> None:
        """Give the bonus of a top-up, once by its name, and open what waited for money. Raises StoreFault: ask again.

        A bonus is never refused for crowding: of the sources of a service those beyond the first wait their turn (wallet.py, law 3).
        One that cannot be given all the same is counted.
        """
        found = await self._accounts.read(partition, account)
        if found is None:
            return
        bonus = self.catalogue.bonus(amount_micros, found.profile.currency)
        if bonus is not None and bonus.worth_micros(amount_micros):
            given = await self._open_new(
                found,
                bonus.product,
                bonus_cause(name),
                lambda held: bonus_opening(bonus, held, amount_micros),
                may_crowd=True,
            )
            # CONFLICT: an earlier version of the bonus was given under this name
            self.bonuses_not_given += given.code not in {Code.SUCCESS, Code.CONFLICT}
        await self.renew(partition, account, tells=False)  # the top-up tells, once for all that it brings
        await self._renew_members(partition, account)

    async def _renew_members(self, partition: int, account: str) -> None:
        """Open what members waited for money with: who is tried again within the hour anyway, so many; the agenda has the others."""
        paths = await self._accounts.members(partition, account)
        if not paths:
            return
        keys, soon_ms = self._parts.keys[partition], await self.now_ms(partition) + RENEWAL_RETRY_MS
        scores = await self._parts.store.execute(keys.slot, "ZMSCORE", keys.agenda, *paths)
        waiting = sorted(
            (int(score), path)
            for score, path in zip(scores, paths, strict=True)
            if score is not None and int(score) <= soon_ms
        )
        for _, path in waiting[:AGENDA_AT_ONCE]:
            with suppress(ValueError, TypeError):  # one that cannot be read, which the agenda tells
                await self.renew(partition, path, tells=False)

    # -- the agenda

    async def look_again(self, partition: int, path: str, at_ms: int) -> None:
        """Say when to look at what a subscriber holds."""
        keys = self._parts.keys[partition]
        await self._parts.store.execute(keys.slot, "ZADD", keys.agenda, at_ms, path)

    async def put_off(self, partition: int, name: str, at_ms: int) -> None:
        """Let a name of the agenda wait; one that has gone, or has a later time by now, is left alone."""
        keys = self._parts.keys[partition]
        await self._parts.store.execute(keys.slot, "ZADD", keys.agenda, "XX", "GT", at_ms, name)

    async def tend(self, partition: int, name: str, score_ms: int) -> None:
        """Do what is due under a name of the agenda (lives.py, law 1) that was read with this time. Raises StoreFault."""
        kind, _, path = name.rpartition(":")
        if kind:
            ends = self.changes if kind.startswith(KIND) else self.lives
            await ends.tend(partition, kind, path, score_ms)
            return
        for _ in range(_TRIES):
            account = await self.renew(partition, path)
            next_ms = 0
            if account is not None and not account.ended:
                next_ms = self._due_ms(account.profile, await self.now_ms(partition))
            if account is None or not next_ms:  # what was bought meanwhile has another time
                await self._accounts.strike(partition, path, score_ms)
                return
            await self.look_again(partition, path, next_ms)
            after = await self._accounts.read(partition, path)
            if after is None or after.profile.version == account.profile.version:
                return
            score_ms = next_ms  # what was changed meanwhile had said when; we wrote over it, and look again


def _may_pay(account: Account, now_ms: int) -> bool:
    """Tell whether an account pays for renewals: neither it nor its member is barred, and the balance's life has not ended."""
    book = account.book
    barred = Status.BARRED in {book.status, (account.own or book).status}
    return not barred and not 0 < book.until_ms <= now_ms
