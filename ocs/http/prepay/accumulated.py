"""Sums over an account's buckets, one for each usage type that it has (AccumulatedBalance); computed, never stored."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from ocs.http.prepay.buckets import href, number_ref
from ocs.http.prepay.places import Family
from ocs.http.prepay.quantities import UsageType

SEPARATOR = ":"
"""Between account and usage type in an id; neither has one."""


def accumulated_of(family: Family, buckets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sum what remains in buckets that are active or suspended; what is expired is no balance."""
    by_usage: dict[str, list[dict[str, Any]]] = {}
    for each in buckets:
        if each["status"] != "expired" or each["id"] == family.payer.profile.account:
            by_usage.setdefault(str(each["usageType"]), []).append(each)
    return [
        _sum(family, usage, by_usage[usage]) for usage in map(str, UsageType) if usage in by_usage
    ]  # fmt: skip


def _sum(family: Family, usage: str, buckets: list[dict[str, Any]]) -> dict[str, Any]:
    account = family.payer.profile.account
    name = f"{account}{SEPARATOR}{usage}"
    units = buckets[0]["remainingValue"]["units"]
    remaining, reserved = (
        sum((each[value]["amount"] for each in buckets), Decimal(0)) for value in ("remainingValue", "reservedValue")
    )  # fmt: skip
    return {
        "id": name,
        "href": href("accumulatedBalance", name),
        "@type": "AccumulatedBalance",
        "name": usage,
        "description": f"{remaining:f} {units}, of which {reserved:f} {units} are reserved",
        "bucket": [{"id": each["id"], "href": each["href"], "@referredType": "Bucket"} for each in buckets],
        "logicalResource": number_ref(family.payer),
        "partyAccount": buckets[0]["partyAccount"],
        "totalBalance": {"amount": remaining, "units": units},
    }


def read_id(text: str) -> tuple[str, str] | None:
    """Take an id apart: account and usage type; None for what is none."""
    account, separator, usage = text.partition(SEPARATOR)
    return (account, usage) if separator and usage in set(map(str, UsageType)) else None
