"""Whose balance is meant: by a bucket's id, a number or an account, which have to agree where several are named.

Laws
1. An account's money is the bucket of the account's own name. An allowance is "<account>.<row>-<start>", of a member's own book
   "<account>.<member>.<row>-<start>": no id has a stroke.
2. Who is not there is one answer (None below, 400 or 404 above), however it was named.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from ocs.api_limits import TMF_ACCOUNTS_KEPT_MAX
from ocs.balance.accounts import Account
from ocs.balance.keys import Keys
from ocs.balance.parts import Parts
from ocs.balance.stored_book import Row
from ocs.http.prepay.errors import bad
from ocs.names import SubscriberId, e164

_ACCOUNT: Final = re.compile(r"[a-z0-9]{1,32}")
_BUCKET: Final = re.compile(r"([a-z0-9]{1,32})(?:\.([a-z0-9]{1,32}))?\.([0-9]{1,15}-[0-9]{1,15})")


_WHERE: Final = ("bucket.id", "logicalResource[0].id", "partyAccount.id")


class Accounts(Protocol):
    """Who reads accounts (ocs/balance/accounts.py)."""

    async def find(self, identity: SubscriberId) -> Account | None:
        """Return whom an identity names."""

    async def read(self, partition: int, path: str) -> Account | None:
        """Return a subscriber by its place."""

    async def members(self, partition: int, account: str) -> list[str]:
        """Return the paths of an account's members."""


class BucketId(NamedTuple):
    """A bucket's id taken apart: ``path`` is whose book it is in (Profile.path), ``row`` "" for money."""

    path: str
    row: str = ""

    @property
    def account(self) -> str:
        """Return the account."""
        return self.path.partition("/")[0]

    def __str__(self) -> str:
        """Return the id as clients know it."""
        name = self.path.replace("/", ".")
        return f"{name}.{self.row}" if self.row else name


def bucket_id(text: str) -> BucketId | None:
    """Read a bucket's id; None for what is none."""
    if _ACCOUNT.fullmatch(text):
        return BucketId(text)
    found = _BUCKET.fullmatch(text)
    if found is None:
        return None
    account, member, row = found.groups()
    return BucketId(f"{account}/{member}" if member else account, row)


class Family(NamedTuple):
    """An account, and the members that share it."""

    payer: Account
    members: tuple[Account, ...] = ()

    @property
    def everybody(self) -> tuple[Account, ...]:
        """Return the account and its members."""
        return (self.payer, *self.members)


class Named(NamedTuple):
    """What a client names something by; each may be left out."""

    bucket: str | None = None
    number: str | None = None
    account: str | None = None


def names(named: Named, account: Account, row: str = "") -> bool:
    """Tell whether all that a client has named is this subscriber's, as it is now, and this bucket of it ("" money)."""
    profile = account.profile
    if named.bucket is not None:
        bucket = bucket_id(named.bucket)
        if bucket is None or (bucket.account, bucket.row) != (profile.account, row):
            return False
    if named.number is not None:
        identity = e164(named.number)
        if identity is None or identity.value != profile.msisdn:
            return False
    return named.account is None or named.account in {profile.account, profile.path}


class Target(NamedTuple):
    """Whose balance it is: the subscriber that was named, and the row ("" money)."""

    account: Account
    row: str = ""

    @property
    def stored_row(self) -> Row | None:
        """Return the row in the subscriber's own book; None for money, and where there is no such row."""
        book = self.account.own or self.account.book
        return next(
            (row for row in book.rows if self.row == f"{row.id}-{row.start_ms}" and not row.is_counter), None
        )

    @property
    def bucket(self) -> BucketId:
        """Return the bucket's id."""
        profile = self.account.profile
        return BucketId(profile.path if self.row else profile.account, self.row)


class Places:
    """Finds accounts by their names; where one lives is remembered, since no account ever moves."""

    __slots__ = ("_accounts", "_partitions", "_parts")

    def __init__(self, parts: Parts, accounts: Accounts) -> None:
        self._parts = parts
        self._accounts = accounts
        self._partitions: dict[str, int] = {}

    async def by_number(self, number: str) -> Account | None:
        """Return whom a number names. 400 for what is no number."""
        identity = e164(number)
        if identity is None:
            raise bad(
                "badNumber", "logicalResource.id: no number; write 3 to 15 digits, with or without a plus"
            )
        return await self._accounts.find(identity)

    async def by_path(self, path: str) -> Account | None:
        """Return a subscriber by its account's name and, behind a stroke, its member's."""
        account = path.partition("/")[0]
        if not _ACCOUNT.fullmatch(account):
            return None
        partition = self._partitions.get(account)
        if partition is None:
            partition = await self._partition(account)
        return None if partition is None else await self._accounts.read(partition, path)

    async def _partition(self, account: str) -> int | None:
        """Ask every partition for an account; the calls leave together."""

        async def has(keys: Keys) -> int:
            return int(await self._parts.store.execute(keys.slot, "EXISTS", keys.book(account)))

        found = await asyncio.gather(*map(has, self._parts.keys))
        if 1 not in found:
            return None
        if len(self._partitions) >= TMF_ACCOUNTS_KEPT_MAX:
            self._partitions.clear()
        self._partitions[account] = found.index(1)
        return self._partitions[account]

    async def family(self, account: Account) -> Family:
        """Return the whole account that a subscriber belongs to."""
        profile = account.profile
        payer = account
        if profile.member:
            found = await self._accounts.read(profile.partition, profile.account)
            payer = found if found is not None else account
        paths = await self._accounts.members(profile.partition, profile.account)
        members = await asyncio.gather(*(self._accounts.read(profile.partition, each) for each in paths))
        return Family(payer, tuple(each for each in members if each is not None))

    async def many(self, places: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Account]:
        """Return subscribers by their places, each read once; who is gone is left out."""
        wanted = list(dict.fromkeys(places))
        found = await asyncio.gather(*(self._accounts.read(*each) for each in wanted))
        return {place: account for place, account in zip(wanted, found, strict=True) if account is not None}

    async def target(self, named: Named, where: Sequence[str] = _WHERE) -> Target:
        """Return whose balance is meant; 400 where nothing is named, nobody is there, or the names disagree.

        ``where`` are the attributes that name bucket, number and account, for messages.
        """
        of_bucket, of_number, of_account = where
        if named == Named():
            raise bad(
                "missing", f"{of_number}: whose balance is it? write {of_bucket}, {of_number} or {of_account}"
            )
        bucket = bucket_id(named.bucket) if named.bucket is not None else None
        if named.bucket is not None and bucket is None:
            raise bad("unknownBucket", f"{of_bucket}: there is no such bucket")
        found: list[Account] = []
        if bucket is not None:
            found.append(
                _there(
                    await self.by_path(bucket.path), "unknownBucket", f"{of_bucket}: there is no such bucket"
                )
            )
        if named.number is not None:
            found.append(
                _there(
                    await self.by_number(named.number),
                    "unknownSubscriber",
                    f"{of_number}: no subscriber has this number",
                )
            )
        if named.account is not None:
            found.append(
                _there(
                    await self.by_path(named.account),
                    "unknownAccount",
                    f"{of_account}: there is no such account",
                )
            )
        if len({each.profile.account for each in found}) > 1:
            raise bad(
                "targetsDisagree",
                f"{of_bucket}, {of_number}, {of_account}: they name different accounts; name one alone",
            )
        if bucket is not None and bucket.row:
            return Target(found[0], bucket.row)
        # a number says more than its account: of a shared one, who it is
        return Target(found[1] if bucket is not None and named.number is not None else found[0])


def _there(account: Account | None, code: str, text: str) -> Account:
    if account is None:
        raise bad(code, text)
    return account
