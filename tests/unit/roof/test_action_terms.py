"""What the settings say of actions: fees, and bounds by channel and kind."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ocs.balance.actions import NO_LIMITS, ActionKind, Asked, DayLimits
from ocs.roof.action_sections import Actions
from ocs.roof.prepay import Terms

BOUND = {"topup": {"each": "50.00", "day": "500.00", "number": 20}}


def asked(channel: str, kind: ActionKind = ActionKind.TOPUP, bucket: str = "") -> Asked:
    return Asked(kind, channel, "a", 0, "account", 1, bucket)


def test_nothing_is_bounded_and_a_transfer_is_free_where_nothing_is_said() -> None:
    terms = Terms(Actions())
    assert all(terms.limits(asked("till", kind)) == NO_LIMITS for kind in ActionKind)
    assert terms.fee_micros(1, "EUR") == 0


def test_a_channel_with_bounds_of_its_own_has_those_and_the_others_have_the_usual_ones() -> None:
    terms = Terms(
        Actions.model_validate(
            BOUND | {"channels": {"bank": {"topup": {"each": "999.00"}}}, "transfer_fee": "0.25"}
        )
    )
    assert terms.limits(asked("till")) == DayLimits(50_000_000, 500_000_000, 20)
    assert terms.limits(asked("till", ActionKind.TRANSFER)) == NO_LIMITS
    assert terms.limits(asked("bank")) == DayLimits(999_000_000)
    assert terms.fee_micros(1, "EUR") == 250_000


def test_allowances_are_bounded_by_number_alone() -> None:
    terms = Terms(Actions(adjust={"each": "5.00", "number": 3}))  # type: ignore[arg-type]
    assert terms.limits(asked("till", ActionKind.ADJUST, "32-1")) == DayLimits(number=3)


def test_a_subscribers_day_bounds_top_ups_of_channels_and_not_what_was_paid_before() -> None:
    actions = Actions.model_validate({"subscriber": {"topup": {"day": "100.00", "number": 5}}})
    both = Terms(actions, of_subscribers=True)
    assert both.limits(asked("till")) == DayLimits(account_amount=100_000_000, account_number=5)
    assert both.limits(asked("till", ActionKind.ADJUST)) == NO_LIMITS
    assert Terms(actions).limits(asked("till")) == NO_LIMITS  # of standing orders


@pytest.mark.parametrize(
    "wrong",
    [
        {"transfer_fee": "-1.00"},
        {"transfer_fee": "10000.01"},
        {"topup": {"each": "much"}},
        {"channels": {"Big Till": {}}},
        {"subscriber": {"topup": {"each": "5.00"}}},
    ],
)
def test_bounds_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Actions(**wrong)  # type: ignore[arg-type]
