"""The settings of what channels and operators do with balances: what a transfer costs, and how much a channel may move."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from ocs.balance.lending import LendingTerms
from ocs.limits import TOPUP_MICROS_MAX
from ocs.money import AmountError, format_amount, parse_amount
from ocs.roof.sections import Section


def _amount(text: str) -> str:
    try:
        micros = parse_amount(text)
    except AmountError as fault:
        raise ValueError(str(fault)) from None
    if not 0 <= micros <= 10**6 * TOPUP_MICROS_MAX:
        raise ValueError(f"{text} is below zero, or no amount of a day; write one such as 500.00, or 0.00")
    return text


def _fee(text: str) -> str:
    if parse_amount(_amount(text)) > TOPUP_MICROS_MAX:
        raise ValueError(f"{text} is above {format_amount(TOPUP_MICROS_MAX)}; write no more, such as 0.25")
    return text


AmountText = Annotated[str, AfterValidator(_amount)]


class Bounds(Section):
    """How much a channel may move with one kind of action: at once, in a day (UTC), and how often in a day; zero: no bound."""

    each: AmountText = "0.00"
    day: AmountText = "0.00"
    number: Annotated[int, Field(ge=0, le=10**9)] = 0


class ChannelBounds(Section):
    """The bounds of one channel, by kind of action."""

    topup: Bounds = Bounds()
    adjust: Bounds = Bounds()
    transfer: Bounds = Bounds()
    reserve: Bounds = Bounds()


class DayBounds(Section):
    """How much may come in for one subscriber in a day (UTC), over all channels, and how often; zero: no bound."""

    day: AmountText = "0.00"
    number: Annotated[int, Field(ge=0, le=10**9)] = 0


class SubscriberBounds(Section):
    """The bounds of each subscriber, by kind of action."""

    topup: DayBounds = DayBounds()


ChannelName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]


class Actions(ChannelBounds):
    """What channels and operators do with balances; the bounds are every channel's that has none of its own."""

    transfer_fee: Annotated[str, AfterValidator(_fee)] = "0.00"
    emergency_amount: Annotated[str, AfterValidator(_fee)] = "0.00"
    emergency_fee: Annotated[str, AfterValidator(_fee)] = "0.00"
    emergency_below: Annotated[str, AfterValidator(_fee)] = "0.00"
    subscriber: SubscriberBounds = SubscriberBounds()
    channels: Annotated[dict[ChannelName, ChannelBounds], Field(max_length=1_000)] = {}  # noqa: RUF012 - pydantic copies it

    @model_validator(mode="after")
    def _lends_to_somebody(self) -> Actions:
        if parse_amount(self.emergency_amount) and not parse_amount(self.emergency_below):
            raise ValueError("emergency_below: with 0.00 nobody is lent anything; write such as 1.00")
        return self

    @property
    def lending(self) -> LendingTerms:
        """Return what emergency credit is."""
        return LendingTerms(
            *map(parse_amount, (self.emergency_amount, self.emergency_fee, self.emergency_below))
        )
