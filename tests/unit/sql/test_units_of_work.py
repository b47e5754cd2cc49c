"""Units of work on both databases: all or nothing, once by a unique key, one after the other on the same row."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from ocs.care.customers.tables import parties
from ocs.sql import DatabaseFault, engine_of, insert_new, locked, reading, writing

ONE = {"kind": "person", "since_ms": 1}


def count(database: Engine) -> int:
    with reading(database) as look:
        return len(look.execute(select(parties.c.id)).all())


def test_a_unit_of_work_is_kept_whole_or_not_at_all(database: Engine) -> None:
    with writing(database) as work:
        work.execute(parties.insert(), [ONE, ONE])

    def fails() -> None:
        with writing(database) as work:
            work.execute(parties.insert(), [ONE])
            work.execute(parties.insert(), [ONE | {"kind": "ghost"}])

    with pytest.raises(IntegrityError):
        fails()
    assert count(database) == 2


def test_nothing_can_be_changed_while_reading_on_postgresql(database: Engine) -> None:
    if database.dialect.name != "postgresql":
        return
    with reading(database) as look, pytest.raises(Exception, match="read-only"):
        look.execute(parties.insert(), [ONE])


def test_a_look_sees_one_moment_of_the_database(database: Engine) -> None:
    with reading(database) as look:
        assert look.execute(select(parties.c.id)).all() == []
        with writing(database) as work:
            work.execute(parties.insert(), [ONE])
        assert look.execute(select(parties.c.id)).all() == []
    assert count(database) == 1


def test_what_breaks_no_unique_key_is_inserted_and_told(database: Engine) -> None:
    rows = [ONE | {"id": number} for number in range(1, 1_201)]
    with writing(database) as work:
        assert insert_new(work, parties, rows[:700], "id") == set(range(1, 701))
        assert insert_new(work, parties, rows, "id") == set(range(701, 1_201))
        assert insert_new(work, parties, [], "id") == set()
    assert count(database) == 1_200


def test_two_units_of_work_on_one_row_come_one_after_the_other(database: Engine) -> None:
    with writing(database) as work:
        work.execute(parties.insert(), [ONE | {"id": 1, "phone": "0"}])

    def add() -> None:
        for _ in range(20):
            with writing(database) as work:
                (row,) = work.execute(locked(select(parties).where(parties.c.id == 1)))
                work.execute(parties.update().where(parties.c.id == 1).values(phone=str(int(row.phone) + 1)))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with reading(database) as look:
        assert look.execute(select(parties.c.phone)).scalar() == "80"


def test_a_key_of_another_table_has_to_be_there(database: Engine) -> None:
    with pytest.raises(IntegrityError), writing(database) as work:
        work.execute(parties.insert(), [ONE | {"kind": "organisation", "parent": 77}])


def test_sqlite_syncs_at_each_commit_and_lets_readers_read_meanwhile(tmp_path: Path) -> None:
    engine = engine_of(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with reading(engine) as look:
        assert look.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert look.execute(text("PRAGMA synchronous")).scalar() == 2
        assert look.execute(text("PRAGMA foreign_keys")).scalar() == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "not a database: write sqlite:///PATH"),
        ("sqlite://", "in memory keeps nothing"),
        ("sqlite:///:memory:", "in memory keeps nothing"),
        ("mysql://root:secret@host/name", "mysql is not spoken"),
        ("postgresql://root:secret@host/name", "postgresql is not spoken"),
    ],
)
def test_what_is_no_database_of_ours_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(DatabaseFault, match=told) as fault:
        engine_of(url)
    assert "secret" not in str(fault.value)


def test_a_folder_that_is_not_there_is_told_when_it_is_first_used(tmp_path: Path) -> None:
    with pytest.raises(OperationalError), reading(engine_of(f"sqlite:///{tmp_path}/no/a.sqlite")):
        pass
