"""A notice: one thing that happened which somebody outside may want to know, and the types that there are; pure.

Law: a notice is known by its id, and has the same id, type and facts however often it is derived from the same record.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ocs.clock import instant

Fact = str | int

TYPES: Final = {
    "topup.done": "money came in: channel, id, amount, balance",
    "topup.failed": "a top-up that a channel had asked for was refused: channel, id, amount, reason",
    "topup.suspended": "a recurring or automatic top-up failed again and again, its order is suspended: channel, id (the order's), amount, reason",
    "balance.adjusted": "an operator gave or took: channel, id, amount, balance",
    "balance.transferred": "money went to another subscriber, or came from one: channel, id, amount, balance",
    "balance.reserved": "a system outside holds money: channel, id, amount, balance",
    "balance.settled": "a reservation was posted, void or over: channel, id, amount (what was posted), balance",
    "balance.reversed": "a top-up or an adjustment was taken back: channel, id, amount, balance",
    "balance.failed": "an adjustment, a transfer or a reservation was refused: channel, id, amount, reason",
    "balance.refunded": "what was left was paid out: channel, id, amount, balance",
    "balance.lent": "emergency credit was given: channel, id, amount, balance",
    "balance.repaid": "emergency credit was paid back: channel, id, amount, balance",
    "balance.low": "the balance fell below a threshold: threshold, balance",
    "allowance.used": "so many per cent of an allowance are used: percent, used, amount, unit, product, until",
    "balance.ending": "the balance's life ends in so many days: ends, days",
    "product.ending": "a product ends in so many days, and does not renew: product, number, ends, days",
    "product.bought": "a product was bought: channel, id, product, number, price, until",
    "product.renewed": "a product's next period has begun: product, number, price, until",
    "product.cancelled": "a product will end with its period: product, number",
    "product.lapsed": "a product ended for want of credit: product, number",
    "product.ended": "a product came to its end: product, number",
    "bonus.given": "a top-up brought a bonus: product, number, until",
    "account.barred": "nothing is granted until it is unbarred",
    "account.unbarred": "services are granted again",
    "account.terminated": "the subscriber has ended",
    "session.ended": "a session ended: reason (normal, supervision, operator, restart), session, application",
    "alarm.records": "records of the stream are missing: partition, after, next, loss; for operators alone",
}
"""What is told of each type, beside id, time and account."""

ALARMS: Final = "alarm."
FACTS: Final = frozenset(
    {
        "after", "amount", "application", "balance", "channel", "currency", "days", "ends", "id", "loss", "name", "next", "number",
        "partition", "percent", "price", "product", "reason", "session", "threshold", "unit", "until", "used",
    }
)  # fmt: skip
"""Names that facts have."""


class Notice(NamedTuple):
    """One notice; ``account`` is the subscriber's path ("" where it is nobody's) in ``partition``, amounts in ``facts`` are decimal text."""

    id: str
    type: str
    time_ms: int
    account: str
    facts: Mapping[str, Fact]
    partition: int = 0

    def described(self) -> dict[str, Any]:
        """Describe it as webhooks tell it."""
        return {
            "id": self.id,
            "type": self.type,
            "timestamp": instant(self.time_ms, "milliseconds"),
            "data": {"account": self.account, **self.facts},
        }


def write_notice(notice: Notice) -> str:
    """Write a notice as the store keeps it."""
    return json.dumps(notice, separators=(",", ":"))


def read_notice(text: bytes | str) -> Notice:
    """Read a notice of the store; raises ValueError."""
    try:
        notice = Notice(*json.loads(text))
        known = isinstance(notice.id, str) and isinstance(notice.facts, dict)
    except TypeError as fault:
        raise ValueError(f"no notice: {fault}") from fault
    if not known:
        raise ValueError("no notice")
    return notice
