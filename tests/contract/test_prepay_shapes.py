"""Our shapes of TMF654, and the routes that we serve, against the definition: nothing of ours that it does not know, nothing of it left out unsaid."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel

from ocs.http.access import Access
from ocs.http.app import Health, application
from ocs.http.prepay import shapes
from ocs.http.prepay.buckets import BASE
from ocs.http.prepay.quantities import UsageType
from ocs.http.prepay.routes import router
from tests.contract.tmf_shapes import HERE, Definition, Operation

DEFINITION = Definition.read("TMF654")
WRITTEN: dict[str, Any] = json.loads(next(HERE.glob("TMF654*.json")).read_text(encoding="utf-8"))[
    "definitions"
]

NOT_SERVED = {
    Operation(
        each.method, each.path
    ): "what a listener serves; our events are judged against its bodies (test_prepay_events.py)"
    for each in DEFINITION.operations
    if each.path.startswith("/listener/")
}
BEYOND = {
    Operation(
        "POST", "/bucket"
    ): "an operator gives an allowance; the issue asks for it, the definition has none"
}

ANSWERED: dict[str, type[BaseModel]] = {
    "Bucket": shapes.Bucket,
    "TopupBalance": shapes.TopupBalance,
    "AdjustBalance": shapes.AdjustBalance,
    "TransferBalance": shapes.TransferBalance,
    "ReserveBalance": shapes.ReserveBalance,
    "AccumulatedBalance": shapes.AccumulatedBalance,
    "BalanceActionHistory": shapes.BalanceActionHistory,
    "EventSubscription": shapes.EventSubscription,
}
READ: dict[str, type[BaseModel]] = {
    "TopupBalance_Create": shapes.TopupBalanceCreate,
    "AdjustBalance_Create": shapes.AdjustBalanceCreate,
    "TransferBalance_Create": shapes.TransferBalanceCreate,
    "ReserveBalance_Create": shapes.ReserveBalanceCreate,
    "EventSubscriptionInput": shapes.EventSubscriptionInput,
}
WIDER = {"AdjustBalance_Create": {"partyAccount"}}
"""What we read beyond the definition, besides the channel's own id."""


def names(shape: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in shape.model_fields.items()}


def served() -> set[Operation]:
    """Every method on every path below the base path, from the OpenAPI page: the routes as they are."""
    app = application(
        health=lambda: Health(ready=True, checks={}, facts={}),
        read_metrics=list,
        version="1",
        routers=[router(None, Access(None))],  # type: ignore[arg-type]
    )
    return {
        Operation(method.upper(), path.removeprefix(BASE))
        for path, methods in app.openapi()["paths"].items()
        if path.startswith(BASE)
        for method in methods
    }


def test_the_base_path_is_the_definitions() -> None:
    assert DEFINITION.base_path == BASE


def test_every_operation_of_the_definition_is_served_or_the_table_says_why_not() -> None:
    assert served() - BEYOND.keys() == set(DEFINITION.operations) - NOT_SERVED.keys()
    assert served() >= BEYOND.keys()
    assert all(NOT_SERVED.values())


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_what_we_answer_has_the_attributes_of_the_definition(name: str) -> None:
    assert names(ANSWERED[name]) == set(WRITTEN[name]["properties"])


@pytest.mark.parametrize("name", sorted(READ))
def test_what_we_read_has_the_attributes_of_the_definition(name: str) -> None:
    assert names(READ[name]) - {"id"} == set(WRITTEN[name]["properties"]) | WIDER.get(name, set())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ActionStatusType", shapes.ActionStatus),
        ("BucketStatusType", shapes.BucketStatus),
        ("CostOwnerType", shapes.CostOwner),
        ("AdjustType", shapes.AdjustType),
        ("RecurringPeriodType", shapes.RecurringPeriod),
        ("UsageType", UsageType),
    ],
)
def test_enums_are_the_definitions(name: str, words: type[StrEnum]) -> None:
    assert {str(each) for each in words} == set(WRITTEN[name]["enum"])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("BucketRef", shapes.Ref), ("ChannelRef", shapes.Ref), ("LogicalResourceRef", shapes.Ref), ("ProductRef", shapes.Ref),
        ("PaymentMethodRef", shapes.Ref), ("PartyAccountRef", shapes.AccountRef), ("RelatedParty", shapes.PartyRef),
        ("RelatedTopupBalance", shapes.PartyRef), ("Quantity", shapes.Quantity), ("Money", shapes.Money), ("TimePeriod", shapes.TimePeriod),
    ],
)  # fmt: skip
def test_objects_in_them_have_the_attributes_of_the_definition(name: str, shape: type[BaseModel]) -> None:
    assert names(shape) == set(WRITTEN[name]["properties"])
