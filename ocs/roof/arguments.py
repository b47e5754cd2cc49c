"""What people type, brought to the words of the house; what cannot be read ends the command with a usage error."""

from ocs.limits import BOOK_MICROS_MAX, TOPUP_ID_OCTETS_MAX, TOPUP_MICROS_MAX
from ocs.money import AmountError, format_amount, parse_amount
from ocs.names import SubscriberId, e164, imsi
from ocs.roof.ends import Ended, Exit


def read_msisdn(text: str) -> SubscriberId:
    """Read a number: digits, with or without a plus."""
    found = e164(text)
    if found is None:
        raise Ended(Exit.USAGE, f"not a number: {text[:40]!r}; write 3 to 15 digits, such as 491700000001")
    return found


def read_imsi(text: str) -> str:
    """Read an IMSI; empty text is none."""
    if not text:
        return ""
    found = imsi(text)
    if found is None:
        raise Ended(Exit.USAGE, f"not an IMSI: {text[:40]!r}; write up to 15 digits, such as 262010000000001")
    return found.value


def read_amount(text: str, name: str) -> int:
    """Read an amount in micro-units."""
    try:
        return parse_amount(text)
    except AmountError as fault:
        raise Ended(Exit.USAGE, f"{name}: {fault}") from fault


def read_credit(text: str) -> int:
    """Read a top-up: above zero and at most what one top-up may be."""
    micros = read_amount(text, "AMOUNT")
    if not 0 < micros <= TOPUP_MICROS_MAX:
        raise Ended(
            Exit.USAGE, f"AMOUNT: {text} is not above 0 and at most {format_amount(TOPUP_MICROS_MAX)}"
        )
    return micros


def read_opening_credit(text: str) -> int:
    """Read what an account is opened with: nothing, or at most what one top-up may be."""
    micros = read_amount(text, "--credit")
    if not 0 <= micros <= TOPUP_MICROS_MAX:
        raise Ended(Exit.USAGE, f"--credit: {text} is not between 0 and {format_amount(TOPUP_MICROS_MAX)}")
    return micros


def read_floor(text: str) -> int:
    """Read a credit floor: zero or negative (a credit limit of 50.00 is a floor of -50.00)."""
    micros = read_amount(text, "--credit-floor")
    if not -BOOK_MICROS_MAX <= micros <= 0:
        raise Ended(
            Exit.USAGE,
            f"--credit-floor: {text} has to be zero or negative: a credit limit of 50.00 is -50.00",
        )
    return micros


def read_topup_id(text: str) -> str:
    """Read a top-up's id: visible text without spaces."""
    if not text or len(text.encode()) > TOPUP_ID_OCTETS_MAX or not text.isprintable() or " " in text:
        raise Ended(
            Exit.USAGE,
            f"--id: write 1 to {TOPUP_ID_OCTETS_MAX} visible characters without spaces: the name of this top-up",
        )
    return text
