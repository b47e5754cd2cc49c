"""SQL for customer care and the bridge: engines, units of work, and the types that all tables share.

Laws
1. Money is whole micro-units of a currency, an instant whole milliseconds since 1970 (UTC), a day a date. No float, no time zone in a table.
2. What belongs together is one unit of work (``writing``): all of it is kept, or nothing is. Acknowledged means kept: SQLite syncs at each
   commit (WAL, synchronous FULL), PostgreSQL does so by default.
3. A unit of work on SQLite has the database to itself from its begin. On PostgreSQL rows that are read to be changed are locked (``locked``),
   and uniqueness is the database's word: an insert that must happen once has a unique key (``insert_new``).
4. Every statement is built by SQLAlchemy with bound parameters.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Engine,
    Integer,
    MetaData,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ocs.limits import SQL_BUSY_MS, SQL_ROWS_AT_ONCE

__all__ = [
    "KEY", "MICROS", "MILLISECONDS", "DatabaseFault", "engine_of", "insert_new", "insert_rows", "locked", "metadata", "reading", "writing",
]  # fmt: skip

KEY = BigInteger().with_variant(Integer, "sqlite")
"""A table's own number: SQLite numbers rows only in an INTEGER PRIMARY KEY."""
MICROS = BigInteger()
"""Micro-units of a currency."""
MILLISECONDS = BigInteger()
"""Milliseconds since 1970 (UTC)."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""All tables of all rooms; names of constraints are made, so that migrations can speak of them."""


class DatabaseFault(Exception):
    """The database cannot be used as it is named; the message says why, and never shows a password."""


def engine_of(url: str) -> Engine:
    """Build the engine of ``sqlite:///PATH`` or ``postgresql+psycopg://…``; nothing is connected yet. Raises DatabaseFault."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseFault(
            "not a database: write sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
        ) from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return create_engine(parsed, pool_pre_ping=True)
    raise DatabaseFault(
        f"{parsed.drivername} is not spoken; write sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
    )


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise DatabaseFault(
            "a database in memory keeps nothing; name a file: sqlite:///PATH (four slashes for an absolute one)"
        )
    engine = create_engine(url, connect_args={"timeout": SQL_BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # begins are ours, below
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        kind = "DEFERRED" if connection.get_execution_options().get("reads") else "IMMEDIATE"
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One unit of work: committed at the end of the block, undone when it raises."""
    with engine.begin() as work:
        yield work


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One look at the database as it is at the first statement; nothing can be changed in it."""
    options: dict[str, Any] = {"reads": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as look, look.begin():
        yield look


def locked(select: Select[Any], *, skip: bool = False) -> Select[Any]:
    """Let a select lock what it reads until the unit of work ends (law 3); ``skip``: rows that another has locked are left out."""
    return select.with_for_update(skip_locked=skip)  # SQLite, whose unit of work is alone, leaves it out


def insert_rows(work: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows that all name the same columns: as ``work.execute(table.insert(), rows)``, without its work for each row.

    Defaults of columns are not filled in. The statement is SQLAlchemy's, and so is how each type is bound.
    """
    if not rows:
        return
    text, steps = _insert_of(table, tuple(rows[0]), work.dialect)
    bound = [tuple([row[name] if step is None else step(row[name]) for name, step in steps]) for row in rows]
    work.exec_driver_sql(text, bound)


@lru_cache(maxsize=256)
def _insert_of(
    table: Table, names: tuple[str, ...], dialect: Dialect
) -> tuple[str, list[tuple[str, Callable[[Any], Any] | None]]]:
    """Return the statement with its places in order, and what each column's value is bound by (None: as it is)."""
    places = "%s" if dialect.paramstyle in {"pyformat", "format"} else "?"
    made = table.insert().values({name: bindparam(name) for name in names}).compile(dialect=dialect)
    text, order = str(made), made.positiontup
    if order is None:  # named places, in the order in which they stand
        order = re.findall(r"%\((\w+)\)s", text)
        text = re.sub(r"%\(\w+\)s(::\w+)?", lambda found: places + (found.group(1) or ""), text)
    steps: list[tuple[str, Callable[[Any], Any] | None]] = [
        (name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in order
    ]
    return text, steps


def insert_new(work: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: str) -> set[Any]:
    """Insert rows that break no unique key; returns the ``key`` column of those that are new."""
    if not rows:
        return set()
    make = postgresql.insert if work.dialect.name == "postgresql" else sqlite.insert
    statement = make(table).on_conflict_do_nothing().returning(table.c[key])
    found: set[Any] = set()
    for start in range(0, len(rows), SQL_ROWS_AT_ONCE):
        found.update(work.execute(statement, list(rows[start : start + SQL_ROWS_AT_ONCE])).scalars())
    return found
