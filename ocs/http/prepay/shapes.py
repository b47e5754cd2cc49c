"""The shapes of TMF654 v4.0.0 (tests/contract/tmf), as bodies are read and as answers are documented.

Laws
1. Names, types and enums are the definition's. What is read refuses attributes that the definition does not name.
2. Three things are wider than the definition where a body is read: it may carry the channel's own `id`; one of bucket, logicalResource
   and partyAccount is enough to name whose balance it is; and `channel` may be left out, since the key says it.
3. Answers are written by functions, not by these models: of what is answered the models are the documentation, and the contract test judges.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    WithJsonSchema,
)

from ocs.api_limits import TMF_TEXT_CHARS_MAX
from ocs.http.prepay.quantities import UsageType
from ocs.limits import ACTION_REASON_CHARS_MAX


class ActionStatus(StrEnum):
    """State of an action (ActionStatusType)."""

    CREATED = "created"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class BucketStatus(StrEnum):
    """State of a bucket (BucketStatusType)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"


class CostOwner(StrEnum):
    """Who pays for a transfer (CostOwnerType)."""

    ORIGINATOR = "originator"
    RECEIVER = "receiver"


class AdjustType(StrEnum):
    """What an adjustment is (AdjustType)."""

    RECURRING = "recurring"
    ONE_TIME = "oneTime"


class RecurringPeriod(StrEnum):
    """How often a recurring top-up comes (RecurringPeriodType)."""

    WEEKLY = "weekly"
    FORTNIGHTLY = "fortnightly"
    MONTHLY = "monthly"


def _visible(text: str) -> str:
    if any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise ValueError("it has characters that are no text; leave them out")
    return text


def _exact(value: Any) -> Any:
    """Take a number as it was read: never text, never true."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("a number of JSON, such as 10.00")  # noqa: TRY004 - pydantic takes no TypeError
    return value


def _instant(value: Any) -> Any:
    """Take a time of RFC 3339; one without its distance from UTC would be another one elsewhere."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            if found.tzinfo is not None and MIN_YEAR <= found.year <= MAX_YEAR and "T" in value.upper():
                return found
        except ValueError:
            pass
    raise ValueError("no time; write it with its distance from UTC, such as 2026-12-01T00:00:00Z")


NUMBER_MAX: Final = 10**16
"""Of any quantity, as the page says it; what is more is refused by what it is an amount of."""
_VISIBLE: Final = Field(json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f]*$"})
MIN_YEAR, MAX_YEAR = 1970, 2999
"""Beyond them lies no time of a balance, and what other calendars cannot hold."""
Text = Annotated[str, Field(max_length=TMF_TEXT_CHARS_MAX), AfterValidator(_visible), _VISIBLE]
Reason = Annotated[str, Field(max_length=ACTION_REASON_CHARS_MAX), AfterValidator(_visible), _VISIBLE]
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_visible), _VISIBLE]
Number = Annotated[
    Decimal,
    BeforeValidator(_exact),
    WithJsonSchema({"type": "number", "format": "float", "minimum": -NUMBER_MAX, "maximum": NUMBER_MAX}),
]
Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]
ID_FORM: Final = r"^[!-.0-9;-~]{1,64}$"
"""A channel's own id: 1 to 64 printable ASCII characters without blank, colon and stroke."""
OwnId = Annotated[str, Field(pattern=ID_FORM, description="The channel's own id; a repetition with it is done once.")]  # fmt: skip


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(each.capitalize() for each in rest)


class Shape(BaseModel):
    """An object of the definition; every one of them may say its type."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, alias_generator=_camel, populate_by_name=True, frozen=True
    )

    base_type: Text | None = Field(None, alias="@baseType")
    schema_location: Text | None = Field(None, alias="@schemaLocation")
    type: Text | None = Field(None, alias="@type")


class Ref(Shape):
    """A reference to something by its id."""

    id: Name
    href: Text | None = None
    name: Text | None = None
    referred_type: Text | None = Field(None, alias="@referredType")


class AccountRef(Ref):
    """An account (PartyAccountRef)."""

    description: Text | None = None
    status: Text | None = None


class PartyRef(Ref):
    """Somebody who has to do with it (RelatedParty); its kind has to be said."""

    role: Text | None = None
    referred_type: Text = Field(alias="@referredType")


class Quantity(Shape):
    """So much of a unit. An amount that is left out is refused: the definition's 1 would be a guess."""

    amount: Number
    units: Name


class Money(Shape):
    """Money of a transfer's cost (Money of the definition)."""

    unit: Name
    value: Number


class TimePeriod(Shape):
    """From when till when."""

    end_date_time: Instant | None = None
    start_date_time: Instant | None = None


class ActionCreate(Shape):
    """What every action that is asked for may say."""

    id: OwnId | None = None
    description: Text | None = None
    reason: Reason | None = None
    bucket: Ref | None = None
    channel: Ref | None = None
    logical_resource: Annotated[list[Ref], Field(min_length=1, max_length=1)] | None = None
    product: Annotated[list[Ref], Field(max_length=8)] | None = None
    requestor: PartyRef | None = None
    usage_type: UsageType
    valid_for: TimePeriod | None = None


class TopupBalanceCreate(ActionCreate):
    """A top-up that is asked for (TopupBalance_Create)."""

    amount: Quantity | None = None
    is_auto_topup: StrictBool | None = None
    number_of_periods: Annotated[StrictInt, Field(ge=1, le=1_000)] | None = None
    voucher: Name | None = None
    balance_topup: PartyRef | None = None
    party_account: AccountRef | None = None
    payment_method: Ref | None = None
    recurring_period: RecurringPeriod | None = None


class AdjustBalanceCreate(ActionCreate):
    """An adjustment that is asked for (AdjustBalance_Create)."""

    amount: Quantity
    adjust_type: AdjustType | None = None
    party_account: AccountRef | None = None


class ReserveBalanceCreate(ActionCreate):
    """A reservation that is asked for (ReserveBalance_Create)."""

    amount: Quantity
    party_account: AccountRef | None = None


class TransferBalanceCreate(ActionCreate):
    """A transfer that is asked for (TransferBalance_Create)."""

    amount: Quantity
    reason: Reason
    logical_resource: Annotated[list[Ref], Field(min_length=1, max_length=1)]
    receiver_logical_resource: Ref
    receiver_bucket: Ref | None = None
    receiver_bucket_usage_type: UsageType | None = None
    receiver_product: Ref | None = None
    receiver: PartyRef | None = None
    cost_owner: CostOwner | None = None
    transfer_cost: Money | None = None


class BucketCreate(Shape):
    """An allowance, or restricted money, that an operator gives. The definition has no such operation: its attributes are Bucket's."""

    id: OwnId | None = None
    description: Text | None = None
    name: Text | None = None
    logical_resource: Annotated[list[Ref], Field(min_length=1, max_length=1)] | None = None
    party_account: AccountRef | None = None
    product: Annotated[list[Ref], Field(min_length=1, max_length=1)] | None = None
    remaining_value: Quantity
    usage_type: UsageType
    valid_for: TimePeriod | None = None


class Update(Shape):
    """What a PATCH may say: the state that is wanted and why. Other attributes of the resource may come along as they are."""

    model_config = ConfigDict(
        extra="allow", hide_input_in_errors=True, alias_generator=_camel, populate_by_name=True, frozen=True
    )

    status: ActionStatus
    reason: Reason | None = None


class ReserveUpdate(Update):
    """A PATCH of a reservation; ``amount`` posts that much of it."""

    reason: Reason
    amount: Quantity | None = None


class TransferUpdate(Shape):
    """A PATCH of a transfer (TransferBalance_Update): it has no state to set, and a transfer that was made changes nothing else."""

    model_config = ConfigDict(
        extra="allow", hide_input_in_errors=True, alias_generator=_camel, populate_by_name=True, frozen=True
    )

    reason: Reason
    receiver_logical_resource: Ref
    channel: Ref
    logical_resource: Annotated[list[Ref], Field(min_length=1)]


# -- what is answered


class _Answered(Shape):
    id: str
    href: str


class _Action(_Answered):
    confirmation_date: datetime | None = None
    description: str | None = None
    reason: str | None = None
    requested_date: datetime | None = None
    amount: Quantity | None = None
    bucket: Ref | None = None
    channel: Ref | None = None
    logical_resource: list[Ref] | None = None
    party_account: AccountRef | None = None
    product: list[Ref] | None = None
    related_party: list[PartyRef] | None = None
    requestor: PartyRef | None = None
    status: ActionStatus | None = None
    usage_type: UsageType | None = None
    valid_for: TimePeriod | None = None


class TopupBalance(_Action):
    """A top-up (TopupBalance)."""

    is_auto_topup: bool | None = None
    number_of_periods: int | None = None
    voucher: str | None = None
    balance_topup: PartyRef | None = None
    payment_method: Ref | None = None
    recurring_period: RecurringPeriod | None = None


class AdjustBalance(_Action):
    """An adjustment (AdjustBalance)."""

    adjust_type: AdjustType | None = None


class ReserveBalance(_Action):
    """A reservation (ReserveBalance)."""


class TransferBalance(_Action):
    """A transfer (TransferBalance)."""

    cost_owner: CostOwner | None = None
    receiver: PartyRef | None = None
    receiver_bucket: Ref | None = None
    receiver_bucket_usage_type: UsageType | None = None
    receiver_logical_resource: Ref | None = None
    receiver_product: Ref | None = None
    transfer_cost: Money | None = None


class BalanceActionHistory(_Action):
    """An action of any kind, as it was (BalanceActionHistory)."""

    is_auto_topup: bool | None = None
    number_of_periods: int | None = None
    voucher: str | None = None
    adjust_type: AdjustType | None = None
    balance_topup: PartyRef | None = None
    cost_owner: CostOwner | None = None
    payment_method: Ref | None = None
    receiver: PartyRef | None = None
    receiver_bucket: Ref | None = None
    receiver_bucket_usage_type: UsageType | None = None
    receiver_logical_resource: Ref | None = None
    receiver_product: Ref | None = None
    recurring_period: RecurringPeriod | None = None
    transfer_cost: Money | None = None


class Bucket(_Answered):
    """A bucket (Bucket): an account's money, or an allowance."""

    confirmation_date: datetime | None = None
    description: str | None = None
    is_shared: bool | None = None
    name: str | None = None
    remaining_value_name: str | None = None
    requested_date: datetime | None = None
    logical_resource: list[Ref] | None = None
    party_account: AccountRef | None = None
    product: list[Ref] | None = None
    related_party: list[PartyRef] | None = None
    remaining_value: Quantity | None = None
    reserved_value: Quantity | None = None
    status: BucketStatus | None = None
    usage_type: UsageType | None = None
    valid_for: TimePeriod | None = None


class AccumulatedBalance(_Answered):
    """The sum of an account's buckets of one usage type (AccumulatedBalance)."""

    description: str | None = None
    name: str | None = None
    bucket: list[Ref] | None = None
    logical_resource: Ref | None = None
    party_account: AccountRef | None = None
    product: list[Ref] | None = None
    related_party: list[PartyRef] | None = None
    total_balance: Quantity | None = None


class EventSubscriptionInput(BaseModel):
    """A listener that wants to be told (EventSubscriptionInput)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    callback: Annotated[str, Field(min_length=1, max_length=1_024)]
    query: Annotated[str, Field(max_length=1_024)] | None = None


class EventSubscription(BaseModel):
    """A listener that is told (EventSubscription)."""

    id: str
    callback: str
    query: str | None = None
