"""The history from before the store's days: made again from the archive's records, as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocs.balance.archive import Archiver
from ocs.clock import SystemClock
from ocs.http.prepay.archived import actions_in
from ocs.http.prepay.buckets import BASE
from ocs.roof.prepay import Archive
from tests.prepay_scene import FIRST, SECOND, Scene, of, scene, topup
from tests.real_valkey import RealValkey


@pytest.fixture
def on(valkey: RealValkey, tmp_path: Path) -> Iterator[Scene]:
    with scene(valkey, tmp_path) as made:
        yield made
        made.clean()


def archived(on: Scene) -> Archive:
    async def archive() -> None:
        archiver = Archiver(on.parts, on.folder / "archive", SystemClock())
        await archiver.open()
        try:
            await archiver.once(everything=True)
        finally:
            archiver.close()

    on.run(archive())
    return Archive(on.folder / "archive")


def act(on: Scene) -> None:
    """Something of everything, each with its end."""
    gift = {
        "id": "g",
        "usageType": "data",
        "remainingValue": {"amount": 1, "units": "GB"},
        "logicalResource": [{"id": FIRST}],
    }
    bucket = on("POST", "/bucket", gift).content["id"]
    for path, body in (
        ("topupBalance", topup(10, id="top")),
        ("topupBalance", topup(11, id="back")),
        ("adjustBalance", topup(-2, id="less")),
        (
            "adjustBalance",
            {
                "id": "more",
                "amount": {"amount": 1, "units": "MB"},
                "usageType": "data",
                "bucket": {"id": bucket},
            },
        ),
        ("transferBalance", topup(3, id="gift", receiverLogicalResource={"id": SECOND}, reason="a gift")),
        ("reserveBalance", topup(4, id="posted")),
        ("reserveBalance", topup(5, id="void")),
        ("reserveBalance", topup(6, id="held")),
    ):
        assert on("POST", f"/{path}", body).status == 201, path
    assert on("DELETE", "/topupBalance/back").status == on("DELETE", "/reserveBalance/void").status == 204
    posted = {"status": "completed", "reason": "parked", "amount": {"amount": 1, "units": "EUR"}}
    assert on("PATCH", "/reserveBalance/posted", posted).status == 200


@pytest.mark.parametrize("number", [FIRST, SECOND])
def test_what_records_say_is_what_the_store_remembers(on: Scene, number: str) -> None:
    act(on)
    where = on.account(number).profile
    kept = on.run(on.actions.of_account(where.partition, where.account)).actions
    records = on.run(archived(on).records(where.partition, where.account, 1, 2**52))

    found = actions_in(where.partition, where.account, records)
    again = [
        each for each in found if each.asked.channel != "opening"
    ]  # the credit of the beginning is no action

    def told(action: Any) -> tuple[Any, ...]:
        asked = action.asked
        return (
            *asked[:7],
            asked.receiver_partition,
            asked.receiver,
            action.state,
            action.settled if asked.kind == 4 else 0,
        )

    assert {told(each) for each in again} == {told(each) for each in kept}
    assert len(again) == (8 if number == FIRST else 1)


def test_the_history_goes_back_beyond_the_stores_days_where_it_is_asked_to(
    on: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(on)
    archive = archived(on)
    on.archive.reads = archive
    before = on("GET", f"/balanceActionHistory?{of(FIRST)}").is_right(200)
    # as if thirty days had gone by: the store has forgotten, the archive has not
    monkeypatch.setattr("ocs.balance.action_lists.TOPUP_KEPT_MS", -60_000)
    monkeypatch.setattr("ocs.http.prepay.desk.TOPUP_KEPT_MS", -60_000)
    assert on("GET", f"/balanceActionHistory?{of(FIRST)}").is_right(200) == []
    asked = f"/balanceActionHistory?{of(FIRST)}&requestedDate.gt=2020-01-01T00:00:00Z"
    after = on("GET", asked).is_right(200)
    names = ("id", "status", "amount", "bucket", "@type", "usageType")

    def shown(found: list[dict[str, Any]]) -> list[str]:
        return sorted(str([each[name] for name in names]) for each in found)

    assert shown(after) == shown(before)
    assert on("GET", f"{asked}&limit=2").status == 206
    assert on("GET", asked, key="bank").is_right(200) == []  # another channel's
    assert on("GET", f"{asked}&status=cancelled").is_right(200) != []


def test_an_id_of_any_signs_is_found_where_its_answer_says_and_none_is_another_path(on: Scene) -> None:
    for name in ("a?b", "a#b", "a%2Fb", '"q"', "a&b=c"):
        made = on("POST", "/topupBalance", topup(id=name)).is_right(201)
        assert on("GET", made["href"].removeprefix(BASE)).is_right(200)["id"] == name
    for name in (".", ".."):
        on("POST", "/topupBalance", topup(id=name)).is_error(400, "badId")


def test_a_list_that_grows_while_it_is_read_names_each_action_once(
    on: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes at the head of the newest moves the others to the next part that is read."""
    monkeypatch.setattr("ocs.http.prepay.desk.TMF_PAGE_MAX", 2)
    for name in ("a", "b", "c", "d", "e"):
        on("POST", "/topupBalance", topup(1, id=name)).is_right(201)
    account, of_account = on.account(), on.actions.of_account

    async def grows(partition: int, path: str, page: Any = None) -> Any:
        if page.offset == 2:
            await on.stored.topup(account, 1_000_000, "till", "late")
        return await of_account(partition, path, page)

    monkeypatch.setattr(type(on.actions), "of_account", lambda _of, *asked: grows(*asked))
    found = on("GET", f"/topupBalance?logicalResource.id={FIRST}").is_right(200)
    names = [each["id"] for each in found]
    assert len(names) == len(set(names))
    assert {"a", "b", "c", "d", "e"} <= set(names)
