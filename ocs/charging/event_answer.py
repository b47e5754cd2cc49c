"""What the answer to a one-time event has beside its head (RFC 8506 section 6, TS 32.299 clause 6.4.3); pure.

A debit is answered with its units, an enquiry with its result, a refund with its Result-Codes alone. Refund-Information goes out in services
of 3GPP contexts only: a strict decoder of RFC 8506 reads its M-bit as 5001 (CLIENTS 20).
"""

from collections.abc import Callable
from typing import Final

from ocs.charging.amounts import money
from ocs.charging.ask import CHECK_BALANCE, DIRECT_DEBITING, PRICE_ENQUIRY, Ask, AskedService
from ocs.charging.event import write_refund_information
from ocs.charging.granted import GRANTED
from ocs.charging.outcome import Charged
from ocs.diameter.codec import writer
from ocs.diameter.writers import encode_avps
from ocs.outcomes import RESULT_CODES, Code

_ENOUGH_CREDIT, _NO_CREDIT = 0, 1
"""Check-Balance-Result (RFC 8506 section 8.6)."""

_check_balance_result = writer("Check-Balance-Result")
_service = writer("Multiple-Services-Credit-Control")
_refund_information = writer("Refund-Information")
_requested_action = writer("Requested-Action")
_failed_avp = writer("Failed-AVP")
_error_message = writer("Error-Message")

_RESULTS: Final = {code: writer("Result-Code")(result) for code, result in RESULT_CODES.items()}

Name = Callable[[AskedService], bytes]
"""Encodes what names a service, as the request did."""


def written(ask: Ask, code: Code, charged: Charged, name: Name, *, vendor: bool = True) -> list[bytes]:
    """Write what an event's answer tells; ``code`` is the command's, ``vendor`` says whether the client reads AVPs of 3GPP."""
    assert ask.event is not None
    action = ask.event.action
    if code == Code.LIMIT:
        return [
            _failed_avp(_requested_action(action)),
            _error_message("no debit has that much left to be refunded"),
        ]
    if action == CHECK_BALANCE:
        return [_balance(charged)] if code == Code.SUCCESS else []
    if action == PRICE_ENQUIRY:
        return [_cost(charged)] if code == Code.SUCCESS else []
    debits = action == DIRECT_DEBITING
    if not ask.multiple:
        (one,) = charged.services
        return [GRANTED[one.unit](one.granted, charged)] if debits and one.granted else []
    token = b""
    if debits and vendor and ask.context.endswith("@3gpp.org"):
        token = _refund_information(write_refund_information(ask))
    parts = []
    for asked, one in zip(ask.services, charged.services, strict=True):
        units = GRANTED[one.unit](one.granted, charged) if debits and one.granted else b""
        parts.append(_service(units + name(asked) + _RESULTS[one.code] + (token if units else b"")))
    return parts


def _balance(charged: Charged) -> bytes:
    enough = all(each.code == Code.SUCCESS for each in charged.services)
    return _check_balance_result(_ENOUGH_CREDIT if enough else _NO_CREDIT)


def _cost(charged: Charged) -> bytes:
    return encode_avps(
        {"Cost-Information": money(sum(each.money_micros for each in charged.costs), charged.currency)}
    )
