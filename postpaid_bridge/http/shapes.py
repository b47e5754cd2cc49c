"""The shapes of TMF678 and TMF635 v4.0.0 (tests/contract/tmf) as far as they are shown here; they document answers and name what lists filter by."""

from typing import Annotated

from pydantic import Field

from ocs.http.prepay.shapes import (
    Instant,
    Money,
    Name,
    Number,
    PartyRef,
    Quantity,
    Ref,
    Shape,
    Text,
    TimePeriod,
)


class Document(Shape):
    """A document of a bill: where it is fetched, its kind and its size."""

    id: Name
    href: Text | None = None
    name: Text | None = None
    description: Text | None = None
    attachment_type: Text | None = None
    mime_type: Text | None = None
    url: Text | None = None
    size: Quantity | None = None


class TaxItem(Shape):
    """A rate of tax with its amount."""

    tax_category: Text
    tax_rate: Number
    tax_amount: Money


class CustomerBill(Shape):
    """A published bill."""

    id: Name
    href: Text
    bill_no: Text
    bill_date: Instant
    category: Text
    run_type: Text
    state: Text
    last_update: Instant
    payment_due_date: Instant | None = None
    amount_due: Money
    tax_excluded_amount: Money
    tax_included_amount: Money
    tax_item: list[TaxItem]
    billing_account: Ref
    billing_period: TimePeriod
    payment_method: Ref
    related_party: list[Ref]
    bill_document: list[Document]


class Characteristic(Shape):
    """Something of a use that the definition has no attribute for."""

    name: Name
    value: Text
    value_type: Text | None = None


class Rated(Shape):
    """What a use costs."""

    is_billed: bool
    rating_date: Instant
    rating_amount_type: Text
    usage_rating_tag: Text
    bucket_value_converted_in_amount: Money
    product_ref: Ref


class Usage(Shape):
    """A use."""

    id: Name
    href: Text
    usage_date: Instant
    usage_type: Text
    description: Text | None = None
    status: Text
    usage_characteristic: list[Characteristic]
    rated_product_usage: list[Rated]
    related_party: list[PartyRef]


class DeliveryShown(Shape):
    """A delivery of a document."""

    id: Annotated[int, Field(description="Its number.")]
    channel: Text
    state: Text
    tries: int
    why: Text
    next: Instant
    sent: Instant | None


class DeliveriesShown(Shape):
    """All deliveries of a bill's document, and the document's own state."""

    document: Text
    reason: Text
    deliveries: list[DeliveryShown]
