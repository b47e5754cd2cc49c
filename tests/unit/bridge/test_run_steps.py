"""A bill run on both databases: from plan to published bills, what is parked, left out, abandoned, and what a run done again changes."""

from sqlalchemy import Engine

from tests import run_scene as scene


def test_a_whole_run_bills_everyone_once_and_leaves_nothing_unbilled(database: Engine) -> None:
    accounts = scene.populate(database)
    scene.whole(database)
    found = scene.bills_of(database)
    assert [row[0] for row in found] == sorted(accounts)
    assert scene.numbers(database) == [f"2026-{n:06}" for n in range(1, len(accounts) + 1)]
    assert scene.wrong_with(database) == []
