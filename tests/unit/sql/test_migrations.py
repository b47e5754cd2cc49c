"""Revisions bring an empty database and an older one to what the code's tables are, on both databases; and nothing works on any other."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint, Engine, UniqueConstraint, inspect, text

import postpaid_bridge.sql.tables  # noqa: F401 - tables register themselves
from ocs.sql import engine_of, metadata, migrations, writing
from ocs.sql.migrations import VERSIONS
from ocs.sql.revising import write_revision
from tests.databases import KINDS, database_url


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path, _databases: None) -> Iterator[Engine]:
    """A database without any table."""
    with database_url(request.param, tmp_path, empty=True) as url:
        engine = engine_of(url)
        yield engine
        engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def up_to(folder: Path, newest: str) -> Path:
    """The revisions of an earlier release."""
    folder.mkdir()
    for file in VERSIONS.glob("r*.py"):
        if file.name[1:5] <= newest:
            (folder / file.name).write_text(file.read_text())
    return folder


def test_an_empty_database_comes_to_what_the_tables_of_the_code_are(empty: Engine) -> None:
    assert migrations.refusal(empty).startswith("the database is without our tables")
    assert migrations.upgrade(empty) == ("", migrations.head())
    assert migrations.refusal(empty) == ""
    assert tables(empty) == {*metadata.tables, "alembic_version"}
    assert migrations.differences(empty) == []
    assert migrations.upgrade(empty) == (migrations.head(), migrations.head()), "again is nothing"


def test_checks_and_indexes_are_those_of_the_code_too(empty: Engine) -> None:
    migrations.upgrade(empty)
    look = inspect(empty)
    for table in metadata.sorted_tables:
        made = {
            each["name"] for each in look.get_indexes(table.name) if not each.get("duplicates_constraint")
        }
        assert made == {each.name for each in table.indexes}, table.name
        checks = {each["name"] for each in look.get_check_constraints(table.name)}
        wanted = {each.name for each in table.constraints if isinstance(each, CheckConstraint)}
        assert checks == wanted, table.name
        uniques = {tuple(each["column_names"]) for each in look.get_unique_constraints(table.name)}
        wanted_uniques = {
            tuple(each.columns.keys()) for each in table.constraints if isinstance(each, UniqueConstraint)
        }
        assert uniques == wanted_uniques, table.name


def test_a_database_of_an_earlier_release_keeps_its_rows_and_comes_to_the_same(
    empty: Engine, tmp_path: Path
) -> None:
    old = up_to(tmp_path / "old", "0001")
    assert migrations.upgrade(empty, old) == ("", "0001")
    with writing(empty) as work:
        work.execute(
            text("INSERT INTO counter (name, next) VALUES ('kept', 7)"),
        )
    assert "this release needs" in migrations.refusal(empty)
    assert migrations.upgrade(empty) == ("0001", migrations.head())
    assert migrations.differences(empty) == []
    with writing(empty) as work:
        assert work.execute(text("SELECT next FROM counter WHERE name = 'kept'")).scalar_one() == 7


def test_a_database_of_a_later_release_and_one_of_other_hands_are_refused(
    empty: Engine, tmp_path: Path
) -> None:
    migrations.upgrade(empty)
    old = up_to(tmp_path / "old", "0001")
    assert "it is of a later one" in migrations.refusal(empty, old)
    with pytest.raises(ValueError, match="it is of a later one"):
        migrations.upgrade(empty, old)
    with writing(empty) as work:
        work.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(ValueError, match="tables without a revision"):
        migrations.upgrade(empty)


def test_an_upgrade_that_fails_in_the_middle_leaves_the_database_as_it_was(
    empty: Engine, tmp_path: Path
) -> None:
    broken = up_to(tmp_path / "broken", "9999")
    (broken / "r9999_broken.py").write_text(
        f'from alembic import op\n\nrevision = "9999"\ndown_revision = "{migrations.head()}"\n\n\n'
        'def upgrade() -> None:\n    op.execute("CREATE TABLE half (a INTEGER)")\n    raise OSError("the disk is full")\n'
    )
    with pytest.raises(OSError, match="the disk is full"):
        migrations.upgrade(empty, broken)
    assert tables(empty) - {"alembic_version"} == set()
    assert migrations.upgrade(empty) == ("", migrations.head())


def test_two_who_upgrade_at_once_do_it_once(empty: Engine) -> None:
    found: list[tuple[str, str]] = []
    threads = [threading.Thread(target=lambda: found.append(migrations.upgrade(empty))) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    head = migrations.head()
    assert sorted(found) == sorted([("", head), (head, head), (head, head)])


def test_the_writer_of_revisions_has_nothing_to_write_at_head_and_writes_what_is_missing(
    empty: Engine, tmp_path: Path
) -> None:
    old = up_to(tmp_path / "old", "0001")
    migrations.upgrade(empty, old)
    file = write_revision(empty, "0002", "all that is new", "0001", into=old)
    assert file is not None
    assert migrations.upgrade(empty, old) == ("0001", "0002")
    assert migrations.differences(empty) == []
    assert write_revision(empty, "0003", "nothing", "0002", into=old) is None
