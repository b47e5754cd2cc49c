"""What was asked before, asked again when its subscriber has gone: answered as it was, to whom it belongs alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prepay_scene import (
    Scene,
    scene,
    topup,
    transfer,
)
from tests.real_valkey import RealValkey


@pytest.fixture
def on(valkey: RealValkey, tmp_path: Path) -> Iterator[Scene]:
    with scene(valkey, tmp_path) as made:
        yield made
        made.clean()


def test_a_repetition_is_answered_also_when_its_subscriber_has_gone(on: Scene) -> None:
    made = on("POST", "/topupBalance", topup(10, id="a")).is_right(201)
    on.run(on.stored.terminate(on.account()))
    again = on("POST", "/topupBalance", topup(10, id="a")).is_right(201)
    assert {name: again[name] for name in ("id", "amount", "status")} == {
        name: made[name] for name in ("id", "amount", "status")
    }
    on("POST", "/topupBalance", topup(11, id="a")).is_error(400, "unknownSubscriber")
    on("POST", "/topupBalance", topup(10, id="b")).is_error(400, "unknownSubscriber")
    dollars = topup(10, id="a") | {"amount": {"amount": 10, "units": "USD"}}
    on("POST", "/topupBalance", dollars).is_error(400, "currency")


def test_an_action_that_was_done_for_somebody_is_no_answer_for_a_number_that_nobody_has(on: Scene) -> None:
    on("POST", "/topupBalance", topup(10, id="a")).is_right(201)
    on("POST", "/topupBalance", topup(10, "499999999999", id="a")).is_error(400, "unknownSubscriber")
    on("POST", "/transferBalance", transfer(1, id="t")).is_right(201)
    stranger = {"receiverLogicalResource": {"id": "499999999999"}}
    on("POST", "/transferBalance", transfer(1, id="t") | stranger).is_error(400, "unknownSubscriber")
    elsewhere = {"bucket": {"id": f"{on.account().profile.account}.64-5"}}
    on("POST", "/topupBalance", topup(10, id="a") | elsewhere).is_error(400, "badBucket")


def test_what_was_refused_is_refused_also_when_its_subscriber_has_gone(on: Scene) -> None:
    on("POST", "/transferBalance", transfer(1_000, id="t")).is_error(409, "creditLimit")
    on.run(on.stored.terminate(on.account()))
    on("POST", "/transferBalance", transfer(1_000, id="t")).is_error(409, "creditLimit")
