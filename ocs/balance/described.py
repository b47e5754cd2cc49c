"""A subscriber, its money, its buckets and what it holds, as commands and the API show them: one description, so that both say the same."""

from collections.abc import Iterable
from typing import Any

from ocs.balance.accounts import Account
from ocs.balance.holdings import Bought
from ocs.balance.stored_book import UNUSED, Row
from ocs.clock import instant
from ocs.money import format_amount
from ocs.rating.counters import MEMBER, counter_id
from ocs.rating.openings import Held, bucket_id
from ocs.rating.products import UNIT_OF_ROW, Catalogue

MONEY_UNIT = UNIT_OF_ROW["money"]
UNITS = {1: "octets", 2: "seconds", 3: "events", MONEY_UNIT: "money"}
"""What a bucket counts, by the unit of its row."""


def described(account: Account) -> dict[str, Any]:
    """Describe a subscriber; amounts are decimal text in its account's currency."""
    profile, book = account.profile, account.book
    own = account.own if account.own is not None else book
    return {
        "msisdn": profile.msisdn,
        "imsi": profile.imsi,
        "account": profile.account,
        "member": profile.member or None,
        "status": account.status.name.lower(),
        **({"barred": profile.barred or "none"} if profile.bar_epoch else {}),
        "tariff": profile.tariff,
        "kind": profile.kind,
        "currency": profile.currency,
        "balance": format_amount(book.balance_micros),
        "available": format_amount(book.available_micros),
        "reserved": format_amount(book.pending_micros),
        "credit_floor": format_amount(book.floor_micros),
        "sessions_open": own.sessions_open,
        "active_until": until(book.until_ms),
        "refundable": format_amount(account.refundable_micros) if account.refundable_micros else None,
    }


def facts_of(account: Account) -> dict[str, object]:
    """Say how a subscriber stands, for the audit log: states and amounts, no number and no IMSI."""
    profile, book = account.profile, account.book
    found: dict[str, object] = {
        "status": account.status.name.lower(),
        "tariff": profile.tariff,
        "balance": format_amount(book.balance_micros),
        "credit_floor": format_amount(book.floor_micros),
    }
    if profile.bar_epoch:
        found |= {"barred": profile.barred or "none", "bar_epoch": profile.bar_epoch}
    return found | {"cap": format_amount(profile.cap_micros)} if profile.member else found


def purchase_facts(done: Bought) -> dict[str, object]:
    """Say what came of a purchase, for the audit log."""
    found: dict[str, object] = {"outcome": done.code.name, "replayed": done.replayed}
    return (
        found | {"number": done.number, "price": format_amount(done.price_micros)} if done.number else found
    )


def until(until_ms: int) -> str | None:
    """Tell where the life of a balance ends; None: never."""
    return "not used yet" if until_ms == UNUSED else instant(until_ms) if until_ms else None


def balance_of(account: Account, now_ms: int, catalogue: Catalogue) -> dict[str, Any]:
    """Describe an account's money as INTERFACE promises it, with the buckets that hold now; a member's own come first."""
    profile, book = account.profile, account.book
    return {
        "msisdn": profile.msisdn,
        "account": profile.account,
        **_cap(account, now_ms),
        "currency": profile.currency,
        "balance": format_amount(book.balance_micros),
        "available": format_amount(book.available_micros),
        "reserved": format_amount(book.pending_micros),
        "credit_floor": format_amount(book.floor_micros),
        **({"owed": format_amount(account.owed_micros)} if account.owed_micros else {}),
        **({"refundable": format_amount(account.refundable_micros)} if account.refundable_micros else {}),
        "buckets": _buckets(account, now_ms, catalogue),
    }


def holdings_of(account: Account, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Describe the products that a subscriber itself holds."""
    return [
        {
            "number": each.number,
            "product": each.product_key,
            "since": instant(each.start_ms),
            "until": instant(each.until_ms),
            "renews": each.renews and _recurring(catalogue, each.product_key),
        }
        for each in account.profile.products
    ]


def bucket_name(row_id: int, held: Iterable[Held], catalogue: Catalogue) -> str:
    """Return what people call a bucket: the product's name and the allowance's (openings.py, law 1)."""
    for each in held:
        product = catalogue.product(each.product_key)
        for place, allowance in enumerate(product.allowances if product is not None else ()):
            for rolled in (False, True):
                if bucket_id(each.number, place, rolled=rolled) == row_id:
                    return f"{each.product_key} {allowance.name}{' (rolled over)' if rolled else ''}"
    return str(row_id)


def _recurring(catalogue: Catalogue, key: str) -> bool:
    product = catalogue.product(key)
    return product is not None and product.recurring


def _buckets(account: Account, now_ms: int, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Describe the buckets of both books that hold at an instant; one of money in decimal text."""
    profile = account.profile
    listed = [
        (row, profile.shared if account.own is not None else profile.products) for row in account.book.rows
    ]
    if account.own is not None:  # of the account's, a member uses what is shared
        shared = {
            bucket_id(each.number, place, rolled=rolled)
            for each in profile.shared
            if (product := catalogue.product(each.product_key)) is not None and product.shared
            for place in range(len(product.allowances))
            for rolled in (False, True)
        }
        listed = [
            *((row, profile.products) for row in account.own.rows),
            *((row, held) for row, held in listed if row.id in shared),
        ]
    return [
        {
            "id": f"{row.id}-{row.start_ms}",
            "name": bucket_name(row.id, held, catalogue),
            "unit": UNITS[row.unit],
            "remaining": _amount(row, row.amount - row.used),
            "reserved": _amount(row, row.pending),
            "valid_until": instant(row.until_ms),
        }
        for row, held in listed
        if not row.is_counter and row.start_ms <= now_ms < row.until_ms
    ]


def _amount(row: Row, count: int) -> str | int:
    return format_amount(count) if row.unit == MONEY_UNIT else count


def _cap(account: Account, now_ms: int) -> dict[str, str]:
    """Describe what a member may spend in the month, and what is left of it; nothing where there is no cap."""
    cap_micros = account.profile.cap_micros
    if account.own is None or not cap_micros:
        return {}
    spent = sum(
        row.used + row.pending
        for row in account.own.rows
        if row.id == counter_id(MEMBER) and row.start_ms <= now_ms < row.until_ms
    )
    return {"cap": format_amount(cap_micros), "cap_left": format_amount(max(0, cap_micros - spent))}
