"""Payments as they are asked for, and what is refused of them (pure).

Laws
1. A payment is known by its provider and the provider's own id. Its content is all that it says: the same again has the same digest.
2. Money comes in whole cents, above zero, in the currency of the account. What is not so is refused, and the fault says where.
3. Numbers in a payer's text are read as he may have written them: in any case, with a blank where his bank broke the line.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from ocs.care.customers.shapes import conflict, wrong
from ocs.limits import PAYMENT_MICROS_MAX, PAYMENT_TEXT_CHARS_MAX, PAYMENT_WISHES_MAX, PAYMENT_WORDS_MAX
from ocs.money import format_amount
from postpaid_bridge.allocation import Wish
from postpaid_bridge.tax import CENT_MICROS

__all__ = [
    "Received",
    "Return",
    "checked",
    "checked_return",
    "digest",
    "numbers_in",
    "wishes_of",
    "wishes_text",
]

_NAME = re.compile(r"[!-~]{1,64}")
_OWN_ID = re.compile(r"[ -~]{1,128}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class Received(NamedTuple):
    """A payment that came in. ``billing_account`` is a row's id (None: to be found), ``day`` the day from which the money is ours."""

    provider: str
    own_id: str
    amount_micros: int
    currency: str
    day: date
    billing_account: int | None = None
    method: str = "transfer"
    payer: str = ""
    iban: str = ""
    text: str = ""
    wishes: tuple[Wish, ...] = ()


class Return(NamedTuple):
    """Money of a payment that went back: by the bank (a charge-back; ``fee_micros`` is its price, ``is_passed_on`` to the payer), or by us
    (a refund). ``amount_micros`` None: all that is left of it.
    """

    provider: str
    own_id: str
    payment: int
    day: date
    amount_micros: int | None = None
    fee_micros: int = 0
    is_passed_on: bool = True
    reason: str = ""
    by: str = ""


def checked(asked: Received) -> Received:
    """Return a payment in its one form. Raises CustomerFault (wrong)."""
    _named(asked.provider, asked.own_id)
    _amount("amount", asked.amount_micros)
    if not _CURRENCY.fullmatch(asked.currency):
        raise wrong("currency", "no currency", "write its three letters (ISO 4217), such as EUR")
    if len(asked.wishes) > PAYMENT_WISHES_MAX:
        raise wrong("bills", f"more than {PAYMENT_WISHES_MAX}", "name fewer in one payment")
    for each in asked.wishes:
        if each.amount_micros is not None:
            _amount("bills", each.amount_micros)
    if sum(each.amount_micros or 0 for each in asked.wishes) > asked.amount_micros:
        raise wrong("bills", "their amounts add up to more than the payment", "name what it is enough for")
    cut = PAYMENT_TEXT_CHARS_MAX
    return asked._replace(
        payer=_clean(asked.payer)[:140],
        iban="".join(asked.iban.split()).upper()[:34],
        text=_clean(asked.text)[:cut],
    )


def checked_return(asked: Return) -> Return:
    """Return a charge-back or refund in its one form. Raises CustomerFault (wrong)."""
    _named(asked.provider, asked.own_id)
    if asked.amount_micros is not None:
        _amount("amount", asked.amount_micros)
    if asked.fee_micros:
        _amount("fee", asked.fee_micros)
    return asked._replace(reason=_clean(asked.reason)[:200], by=_clean(asked.by)[:64])


def _named(provider: str, own_id: str) -> None:
    if not _NAME.fullmatch(provider):
        raise wrong("provider", "no name of a provider", "write 1 to 64 visible ASCII characters")
    if not _OWN_ID.fullmatch(own_id):
        raise wrong("id", "no id", "write 1 to 128 printable ASCII characters")


def _amount(where: str, micros: int) -> None:
    if micros <= 0:
        raise wrong(where, "not above zero", "write what was paid, such as 10.00")
    if micros > PAYMENT_MICROS_MAX:
        raise wrong(where, f"more than {format_amount(PAYMENT_MICROS_MAX)}", "look at its unit")
    if micros % CENT_MICROS:
        raise wrong(where, "more precise than the cent", "write at most two decimals")


def _clean(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def digest(asked: Received | Return) -> str:
    """Return the SHA-256 of the content."""
    text = json.dumps(asked, default=date.isoformat, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def repeated(kept: str, asked: Received | Return) -> None:
    """Raise CustomerFault (conflict) where other content stands under the same id (law 1)."""
    if kept != digest(asked):
        raise conflict(
            "id",
            "it was used for other content",
            "repeat a payment unchanged, or give another one another id",
        )


def wishes_text(wishes: Iterable[Wish]) -> str:
    """Write what a payer named, to be kept."""
    return json.dumps([list(each) for each in wishes], separators=(",", ":"))


def wishes_of(text: str) -> tuple[Wish, ...]:
    """Read it again."""
    found: list[list[Any]] = json.loads(text)
    return tuple(Wish(*each) for each in found)


def numbers_in(text: str) -> Sequence[str]:
    """Return what may be a number in a payer's text, in capitals: words with a digit, and such that a blank broke apart (law 3)."""
    broken = re.split(r"[\s,;:()\[\]+*?]+", text.upper())[:PAYMENT_WORDS_MAX]
    both = [one + other for one, other in pairwise(broken)]
    parts = [part for each in broken for part in re.split(r"[/.]", each)]
    words = [each.strip(".-/#") for each in (*broken, *parts, *both)]
    found = dict.fromkeys(each for each in words if any(c.isdigit() for c in each))
    return [each for each in found if 4 <= len(each) <= 32]
