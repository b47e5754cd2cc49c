"""Letters of dunning come to who owes: taken over once, made as documents, sent the way that their level says."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import Engine

from ocs.sql import writing
from postpaid_bridge.jobs.letters import take_over
from postpaid_bridge.sql import dunning as kept
from postpaid_bridge.sql.deliveries import deliveries, documents
from tests.document_scene import SELLER, furnish, mail_server, postman, printer, text_of
from tests.dunning_scene import DUE, Scene


def at_once() -> int:
    return 1


def test_letters_are_made_and_go_the_way_that_their_level_says(database: Engine, tmp_path: Path) -> None:
    scene = Scene(database)
    account = scene.account()
    number = scene.bill(account, 150)
    with writing(database) as work:
        furnish(work, [account], delivery="download")
    scene.run(DUE, DUE + timedelta(60))
    channels = [each.channel for each in scene.rows(kept.letters)]

    made = printer(database, tmp_path).once()
    assert (made.queued, made.made, made.parked) == (len(channels), len(channels), 0)
    assert printer(database, tmp_path).once().queued == 0
    files = sorted((tmp_path / "2026" / "letters").iterdir())
    reminder, warning, *_ = [text_of(each.read_bytes()) for each in files]
    assert "150,00 €" in reminder
    assert number in reminder
    assert "06.04.2026" in warning
    ways = {row.document: row.channel for row in scene.rows(deliveries)}
    assert [ways[row.id] for row in scene.rows(documents)] == channels
    assert set(channels) == {"email", "post"}, "what has to be in writing, and what has not"
    with mail_server() as (inbox, mail):
        asyncio.run(postman(database, tmp_path, mail).once())
    assert len(inbox.parsed()) == channels.count("email"), "also of who has bills as a download"


def test_letters_wait_for_a_seller_with_a_name_and_two_take_none_over_twice(database: Engine) -> None:
    scene = Scene(database)
    account = scene.account()
    scene.bill(account, 150)
    scene.run(DUE, date(2026, 3, 24))
    assert take_over(database, SELLER._replace(name=""), at_once) == 0
    assert scene.rows(documents) == []
    assert take_over(database, SELLER, at_once) == 2
    assert take_over(database, SELLER, at_once) == 0
    assert [row.key for row in scene.rows(documents)] == [
        f"dunning:{row.id}" for row in scene.rows(kept.letters)
    ]
