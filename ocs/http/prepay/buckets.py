"""Buckets as TMF654 shows them: an account's money, its allowances and restricted money, and those of its members.

Laws
1. The figures are the book's own: what remains, and what of it running sessions hold (``reservedValue``).
2. A bucket of a shared account's money, and what its products share, names the numbers of all who may use it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

from ocs.balance.accounts import Account
from ocs.balance.described import bucket_name
from ocs.balance.stored_book import Row
from ocs.clock import instant
from ocs.http.prepay import quantities
from ocs.http.prepay.places import BucketId, Family
from ocs.http.prepay.quantities import MONEY_ROW, UsageType
from ocs.rating.openings import Held, bucket_id
from ocs.rating.products import UNIT_OF_ROW, Allowance, Catalogue
from ocs.records import Status

BASE: Final = "/tmf-api/prepayBalanceManagement/v4"
_ROW_USAGE: Final = {1: UsageType.DATA, 2: UsageType.VOICE, 3: UsageType.OTHER, MONEY_ROW: UsageType.MONETARY}


_SAFE: Final = "!$&'()*+,;=:@"
"""What may stand in a segment of a path as it is, beside letters, digits, - . _ and ~ (RFC 3986 section 3.3)."""


def href(kind: str, name: str) -> str:
    """Return where a resource is."""
    return f"{BASE}/{kind}/{quote(name, safe=_SAFE)}"


def number_ref(account: Account) -> dict[str, Any]:
    """Refer to a subscriber's number."""
    return {"id": account.profile.msisdn, "@referredType": "Msisdn"}


def account_ref(account: Account) -> dict[str, Any]:
    """Refer to an account, with what it is now."""
    status = account.book.status.name.lower()
    return {"id": account.profile.account, "status": status, "@referredType": "PrepayAccount"}


def bucket_ref(bucket: BucketId) -> dict[str, Any]:
    """Refer to a bucket."""
    return {"id": str(bucket), "href": href("bucket", str(bucket)), "@referredType": "Bucket"}


def buckets_of(family: Family, now_ms: int, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Describe all buckets of an account: its money first, then what it holds, then what its members hold for themselves."""
    return [
        _money(family, now_ms),
        *_rows(family.payer, family.payer.book.rows, family, now_ms, catalogue),
        *(
            each
            for member in family.members
            for each in _rows(member, member.own.rows if member.own is not None else (), family, now_ms, catalogue)
        ),
    ]  # fmt: skip


def used_by(account: Account, found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave those buckets that a number may use."""
    number = account.profile.msisdn
    return [each for each in found if any(ref["id"] == number for ref in each["logicalResource"])]


def _money(family: Family, now_ms: int) -> dict[str, Any]:
    payer, profile, book = family.payer, family.payer.profile, family.payer.book
    name = profile.account
    made: dict[str, Any] = {
        "id": name,
        "href": href("bucket", name),
        "@type": "Bucket",
        "name": "balance",
        "isShared": bool(family.members),
        "usageType": UsageType.MONETARY,
        "remainingValue": quantities.money(book.balance_micros, profile.currency),
        "reservedValue": quantities.money(book.pending_micros, profile.currency),
        "remainingValueName": quantities.text(book.balance_micros, MONEY_ROW, profile.currency),
        "status": _status(payer, book.until_ms, now_ms),
        "logicalResource": [number_ref(each) for each in family.everybody],
        "partyAccount": account_ref(payer),
    }
    if book.until_ms > 0:
        made["validFor"] = {"endDateTime": instant(book.until_ms, "auto")}
    return made


def _status(account: Account, until_ms: int, now_ms: int) -> str:
    if account.ended or 0 < until_ms <= now_ms:
        return "expired"
    return "suspended" if account.status == Status.BARRED else "active"


def _rows(
    owner: Account, rows: Sequence[Row], family: Family, now_ms: int, catalogue: Catalogue
) -> Iterator[dict[str, Any]]:
    profile = owner.profile
    for row in rows:
        if row.is_counter or row.start_ms > now_ms:
            continue
        held, allowance, rolled = _of(row, profile.products, catalogue)
        bucket = BucketId(profile.path, f"{row.id}-{row.start_ms}")
        product = catalogue.product(held.product_key) if held is not None else None
        shared = not profile.member and (product is None or product.shared) and bool(family.members)
        made: dict[str, Any] = {
            "id": str(bucket),
            "href": href("bucket", str(bucket)),
            "@type": "Bucket",
            "name": bucket_name(row.id, profile.products, catalogue),
            "isShared": shared,
            "usageType": usage_of_allowance(row.unit, allowance),
            "remainingValue": quantities.units(row.amount - row.used, row.unit, profile.currency),
            "reservedValue": quantities.units(row.pending, row.unit, profile.currency),
            "remainingValueName": quantities.text(row.amount - row.used, row.unit, profile.currency),
            "status": _status(owner, row.until_ms, now_ms),
            "validFor": {
                "startDateTime": instant(row.start_ms, "auto"),
                "endDateTime": instant(row.until_ms, "auto"),
            },
            "confirmationDate": instant(row.start_ms, "auto"),
            "logicalResource": [number_ref(each) for each in (family.everybody if shared else (owner,))],
            "partyAccount": account_ref(family.payer),
        }
        if rolled:
            made["description"] = "rolled over from the period before"
        if held is not None:
            made["product"] = [{"id": held.product_key, "@referredType": "Product"}]
        yield made


def _of(
    row: Row, products: Iterable[Held], catalogue: Catalogue
) -> tuple[Held | None, Allowance | None, bool]:
    """Return the instance that a row is of, its allowance, and whether it was rolled over; None where the catalogue does not say."""
    for held in products:
        product = catalogue.product(held.product_key)
        for place, allowance in enumerate(product.allowances if product is not None else ()):
            for rolled in (False, True):
                if bucket_id(held.number, place, rolled=rolled) == row.id:
                    return held, allowance, rolled
    return None, None, False


def usage_of_allowance(row_unit: int, allowance: Allowance | None) -> UsageType:
    """Return what a row is for: by its unit, and events are messages where the allowance is good for nothing else."""
    if (
        allowance is not None
        and row_unit == UNIT_OF_ROW["events"]
        and {each.service for each in allowance.uses} == {"sms"}
    ):
        return UsageType.SMS
    return _ROW_USAGE[row_unit]
