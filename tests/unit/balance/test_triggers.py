"""Triggers: a client asks again when what its tariff looks at changes, and then only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocs.rating.tariff import Tariff, read_tariff
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey
from tests.unit.balance.quota_scene import TARIFFS, Gateway, only, written
from tests.unit.charging.ccr import octets, service

TRIGGERS = (
    "[charging.quota.data]\ntriggers = true\nrating_groups = [{ rating_group = 7, triggers = false }]\n"
)
PLAN = TARIFFS["mobile@1"].numbering


def looking_at(condition: str) -> Tariff:
    """Return a tariff with a rate that has a condition, and one without."""
    assert PLAN is not None
    text = (
        f"tariff: looking\nversion: 1\ncurrency: EUR\nnumbering: {PLAN.name}\nrates:\n"
        f'  - {{name: special, service: data, steps: [{{block: 1, price: "0.05", per: MB}}], {condition}}}\n'
        '  - {name: all, service: data, steps: [{block: 1, price: "0.01", per: MB}]}\n'
    )
    return read_tariff(text, "looking.yaml", {PLAN.name: PLAN})


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        ("access: [nr]", [4]),
        ("roaming: [eu]", [30, 31]),
        ("access: [nr], roaming: [eu]", [4, 30, 31]),
        ("apns: [internet]", []),
        ("rating_groups: [99]", []),
    ],
)
def test_the_triggers_are_what_the_rates_look_at(
    room: StoreRoom, tmp_path: Path, condition: str, kinds: list[int]
) -> None:
    tariff = looking_at(condition)
    gateway = Gateway(room, written(tmp_path, TRIGGERS), "looking", 10_000_000, tariffs={tariff.key: tariff})
    ten, seven = gateway.begin(
        service(10, requested={}), service(7, requested={})
    ).multiple_services_credit_control
    assert (seven.rating_group, seven.trigger) == (7, None)
    assert (ten.rating_group, ten.trigger.trigger_type) == (10, kinds)
    assert only(gateway.go_on(service(10, used=octets(5), requested={}))).trigger.trigger_type == kinds
    assert only(gateway.go_on(service(10, used=octets(5)))).trigger is None
