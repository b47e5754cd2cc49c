"""POST bucket: an operator gives an allowance, or money of restricted use, beyond what was sold. Beyond the definition.

Laws
1. What is given is a product of the catalogue that is marked ``given`` (ocs/rating/PRODUCTS.md): it says what it is good for, and how much
   and how long at most.
2. Once by (channel, id): the id is noted with whom and what it is for before anything is given; other content is 409.
"""

import hashlib
import json
from typing import Any

from ocs.balance.accounts import Account
from ocs.balance.holdings import Bought
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.prepay.buckets import usage_of_allowance
from ocs.http.prepay.desk import Prepay, named_by, own_id
from ocs.http.prepay.errors import Told, bad
from ocs.http.prepay.families import family_of
from ocs.http.prepay.places import BucketId
from ocs.http.prepay.quantities import UsageType, count_of, micros_of
from ocs.http.prepay.shapes import BucketCreate
from ocs.http.prepay.times import at_ms
from ocs.outcomes import Code
from ocs.rating.openings import bucket_id
from ocs.rating.products import UNIT_OF_ROW, Catalogue, Product


async def give(prepay: Prepay, change: Change, asked: BucketCreate, header: str | None) -> ExactAnswer:
    """Give once by (channel, id): 201 with the bucket."""
    name = own_id(asked.id, header)
    target = await prepay.places.target(named_by(None, asked.logical_resource, asked.party_account))
    account, profile = target.account, target.account.profile
    product = _product(prepay.catalogue, asked, profile.currency)
    quantity = asked.remaining_value
    if asked.usage_type is UsageType.MONETARY:
        amount = micros_of(quantity.amount, quantity.units, profile.currency, "remainingValue")
    else:
        amount = count_of(quantity.amount, quantity.units, asked.usage_type, "remainingValue")
    if amount <= 0:
        raise bad("notPositive", "remainingValue.amount: it has to be above zero")
    if asked.valid_for is not None and asked.valid_for.start_date_time is not None:
        raise bad("notServed", "validFor.startDateTime: what is given begins now; leave it out")
    until_ms = (
        at_ms(asked.valid_for.end_date_time) if asked.valid_for and asked.valid_for.end_date_time else 0
    )
    content = _content(asked, profile.path, amount, until_ms)
    await change.begins(
        "bucket.give",
        resource=f"{change.caller.channel}:{name}",
        account=profile.path,
        before={"product": product.key, "amount": amount},
    )
    if not await prepay.gifts.claim(change.caller.channel, name, content):
        raise Told(
            409,
            "conflict",
            "the id was used with other content; nothing was given. Use another id, or repeat what was sent first",
        )
    done = await prepay.gifts.give(
        account, product, amount, until_ms, f"{change.caller.channel}:{name}", content
    )
    change.made(after={"outcome": done.code.name, "replayed": done.replayed})
    return await _answered(prepay, account, done)


def _content(asked: BucketCreate, path: str, amount: int, until_ms: int) -> str:
    """Return what tells other content: what was asked for, not the version of a product that it means today."""
    named = asked.product[0].id if asked.product else ""
    said = (path, asked.usage_type, named, amount, until_ms, asked.name or "", asked.description or "")
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


async def _answered(prepay: Prepay, account: Account, done: Bought) -> ExactAnswer:
    if done.code == Code.LIMIT:
        raise bad(
            "limit", f"remainingValue, validFor: {done.why or 'the account holds as many buckets as it can'}"
        )
    if done.code != Code.SUCCESS:
        raise Told(409, "conflict", f"nothing was given: {done.code.name.lower().replace('_', ' ')}")
    again = await prepay.places.by_path(account.profile.path)
    row = bucket_id(done.number, 0)
    held = (again or account).own or (again or account).book
    start_ms = next((each.start_ms for each in held.rows if each.id == row), 0)
    bucket: dict[str, Any] = {}
    if start_ms:
        name = str(BucketId(account.profile.path, f"{row}-{start_ms}"))
        bucket = next(each for each in (await family_of(prepay, name)).buckets if each["id"] == name)
    if not bucket:
        raise Told(
            409,
            "conflict",
            "it was given before, and is used up or over by now; use another id to give once more",
        )
    return ExactAnswer(bucket, 201, {"Location": bucket["href"]})


def _product(catalogue: Catalogue, asked: BucketCreate, currency: str) -> Product:
    """Return the product that is given: the one that is named, or the only one of the usage type."""
    fitting = {
        each.name: each
        for each in catalogue.products.values()
        if each.given
        and each.currency == currency
        and catalogue.newest(each.name) is each
        and usage_of_allowance(UNIT_OF_ROW[each.allowances[0].unit], each.allowances[0]) is asked.usage_type
    }
    if asked.product:
        named = asked.product[0].id.partition("@")[0]
        if named not in fitting:
            raise bad(
                "unknownProduct",
                f"product[0].id: nothing of this name is given of {asked.usage_type}; there are {_names(fitting)}",
            )
        return fitting[named]
    if len(fitting) != 1:
        raise bad("unknownProduct", f"product: which one? of {asked.usage_type} there are {_names(fitting)}")
    return next(iter(fitting.values()))


def _names(found: dict[str, Product]) -> str:
    return ", ".join(sorted(found)) or "none"
