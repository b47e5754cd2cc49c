"""Bodies that work when pasted: they are the examples of the OpenAPI page and of API.md, and a test sends them."""

from typing import Any, Final

NUMBER: Final = "491700000001"
RECEIVER: Final = "491700000002"


def _number(number: str) -> dict[str, str]:
    return {"id": number}


TOPUP: Final[dict[str, Any]] = {
    "id": "till-7-0001",
    "amount": {"amount": 10, "units": "EUR"},
    "usageType": "monetary",
    "logicalResource": [_number(NUMBER)],
    "reason": "paid in cash",
}
ADJUST: Final[dict[str, Any]] = {
    "id": "goodwill-0001",
    "amount": {"amount": 2, "units": "EUR"},
    "usageType": "monetary",
    "logicalResource": [_number(NUMBER)],
    "adjustType": "oneTime",
    "reason": "goodwill after an outage",
}
TRANSFER: Final[dict[str, Any]] = {
    "id": "gift-0001",
    "amount": {"amount": 1, "units": "EUR"},
    "usageType": "monetary",
    "logicalResource": [_number(NUMBER)],
    "receiverLogicalResource": _number(RECEIVER),
    "costOwner": "originator",
    "reason": "a gift",
}
SAME_TRANSFER: Final[dict[str, Any]] = {
    "reason": "a gift",
    "logicalResource": [_number(NUMBER)],
    "receiverLogicalResource": _number(RECEIVER),
    "channel": {"id": "open"},
}
RESERVE: Final[dict[str, Any]] = {
    "id": "parking-0001",
    "amount": {"amount": 3, "units": "EUR"},
    "usageType": "monetary",
    "logicalResource": [_number(NUMBER)],
    "reason": "parking",
}
CANCEL: Final[dict[str, Any]] = {"status": "cancelled", "reason": "paid twice"}
COMPLETE: Final[dict[str, Any]] = {
    "status": "completed",
    "reason": "parked for an hour",
    "amount": {"amount": 2, "units": "EUR"},
}
BUCKET: Final[dict[str, Any]] = {
    "id": "sorry-0001",
    "usageType": "data",
    "remainingValue": {"amount": 1, "units": "GB"},
    "logicalResource": [_number(NUMBER)],
}
LISTENER: Final[dict[str, Any]] = {
    "callback": "https://example.com/listener",
    "query": "eventType=TopupBalanceCreateEvent,TopupBalanceCancelEvent",
}

__all__ = [
    "ADJUST",
    "BUCKET",
    "CANCEL",
    "COMPLETE",
    "LISTENER",
    "NUMBER",
    "RECEIVER",
    "RESERVE",
    "SAME_TRANSFER",
    "TOPUP",
    "TRANSFER",
]
