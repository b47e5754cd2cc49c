"""What the commands say of sessions."""

from typing import Any

import pytest

from ocs.balance.stored_session import OpenSession
from ocs.records import ACCOUNTING, SessionState
from ocs.roof.sessions import client_told
from ocs.sessions.ending import EndedSession


def ended(name: str, *, told: bool) -> EndedSession:
    """A session that was ended."""
    more: list[Any] = [0, SessionState.OPEN, "a", "flat@1", 0, 0, 0, "gw", "example.org", "", "", (), ()]
    return EndedSession(OpenSession(name, *more), 0, told)


@pytest.mark.parametrize(
    ("name", "told", "says", "says_not"),
    [
        ("s;1", True, "yes", "5002"),
        ("s;1", False, "its next request gets 5002", "posted"),
        (f"{ACCOUNTING}s;1", False, "what its records still tell is posted", "5002"),
    ],
)
def test_an_ended_session_says_what_becomes_of_its_client(
    name: str, *, told: bool, says: str, says_not: str
) -> None:
    line = client_told(ended(name, told=told))
    assert says in line
    assert says_not not in line
