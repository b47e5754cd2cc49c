"""Real stores for every folder of tests: one server and one cluster per run, emptied before each test that asks."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ocs.sql import engine_of
from tests import databases
from tests.cluster import Cluster
from tests.real_valkey import RealValkey


@pytest.fixture(scope="session", autouse=True)
def _signals_mean_what_they_mean() -> None:
    """Run in the background (nohup, a shell's &), we inherit signals that are ignored, and so would every server that a test signals."""
    for each in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)


@pytest.fixture(scope="session")
def _one_valkey() -> Iterator[RealValkey]:
    with RealValkey() as server:
        yield server


@pytest.fixture(scope="session")
def _one_durable_valkey() -> Iterator[RealValkey]:
    with RealValkey(settings={"appendfsync": "always"}) as server:
        yield server


@pytest.fixture(scope="session")
def _one_cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def valkey(_one_valkey: RealValkey) -> RealValkey:
    """A real server, empty, that writes its append-only file without fsync."""
    _one_valkey.empty()
    return _one_valkey


@pytest.fixture
def durable_valkey(_one_durable_valkey: RealValkey) -> RealValkey:
    """A real server, empty, that fsyncs before it replies, as durability `always` does."""
    _one_durable_valkey.empty()
    return _one_durable_valkey


@pytest.fixture
def own_valkey() -> Iterator[RealValkey]:
    """A real server for this test alone, to be killed and paused."""
    with RealValkey() as server:
        yield server


@pytest.fixture
def cluster(_one_cluster: Cluster) -> Cluster:
    """Three real masters, empty, every slot at home."""
    _one_cluster.empty()
    return _one_cluster


@pytest.fixture(scope="session")
def _databases() -> Iterator[None]:
    yield
    databases.end()


@pytest.fixture(params=databases.KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path, _databases: None) -> Iterator[str]:
    """A real database of the test's own with all tables: SQLite, and PostgreSQL."""
    with databases.database_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """Its engine."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()
