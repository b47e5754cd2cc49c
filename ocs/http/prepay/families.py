"""Whose buckets a list is about: the account that its filters name, or, in a small store, everybody."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ocs.api_limits import TMF_ACCOUNTS_MAX
from ocs.balance.accounts import Account
from ocs.http.prepay.buckets import buckets_of, used_by
from ocs.http.prepay.desk import Prepay
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.listing import Query
from ocs.http.prepay.places import Family, bucket_id


class Held(NamedTuple):
    """An account with its members, and all their buckets."""

    family: Family
    buckets: list[dict[str, Any]]

    def only(self, found: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
        """Return the one of a name; 404 where there is none."""
        for each in found:
            if each["id"] == name:
                return each
        raise _nobody()


def _nobody() -> Told:
    return Told(404, "notFound", "there is none of this id")


async def _held(prepay: Prepay, account: Account) -> Held:
    family = await prepay.places.family(account)
    now_ms = await prepay.now_ms(account.profile.partition)
    return Held(family, buckets_of(family, now_ms, prepay.catalogue))


async def family_of(prepay: Prepay, name: str) -> Held:
    """Return the account that a bucket's id names, with all its buckets; 404 where there is none, or no such bucket."""
    place = bucket_id(name)
    account = await prepay.places.by_path(place.path) if place is not None else None
    if account is None:
        raise _nobody()
    found = await _held(prepay, account)
    found.only(found.buckets, name)
    return found


async def families_of(prepay: Prepay, query: Query) -> list[Held]:
    """Return the accounts that a list's filters name, none where nobody is there; everybody's where they name nobody and there are few."""
    number, account, bucket = (
        query.only("logicalResource.id"),
        query.only("partyAccount.id"),
        query.only("id") or query.only("bucket.id"),
    )
    if number is not None:
        found = await prepay.places.by_number(number)
        if found is not None and account is not None and found.profile.account != account:
            found = None
    elif account is not None or bucket is not None:
        place = bucket_id((account or bucket or "").partition(":")[0])
        found = await prepay.places.by_path(place.account) if place is not None else None
    else:
        return await _everybody(prepay)
    return [] if found is None else [await _held(prepay, found)]


async def _everybody(prepay: Prepay) -> list[Held]:
    """Return all accounts; 400 where there are more than one list is for."""
    page = await prepay.directory.page("", TMF_ACCOUNTS_MAX)
    if page.following is not None:
        raise bad(
            "missing",
            "query: whose is it? there are too many to list; write logicalResource.id or partyAccount.id",
        )
    payers = {each.profile.path: each for each in page.accounts if not each.profile.member}
    return [await _held(prepay, payers[path]) for path in sorted(payers)]


async def buckets_listed(prepay: Prepay, query: Query) -> list[dict[str, Any]]:
    """Return the buckets that a list is about; of a number those that it may use."""
    found = await families_of(prepay, query)
    buckets = [each for held in found for each in held.buckets]
    number = query.only("logicalResource.id")
    if number is None:
        return buckets
    account = await prepay.places.by_number(number)
    return [] if account is None else used_by(account, buckets)
