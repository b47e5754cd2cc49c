from collections.abc import Iterator

import pytest

from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    """A real store for the tests of one file."""
    with RealValkey() as server, store_room(server) as opened:
        yield opened
