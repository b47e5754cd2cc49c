"""Who imports whom (DESIGN section 2), and the purity of the first floor."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.house import floors
from tests.house.source import ROOT, Source, bridge_rooms, imported, parsed, rooms, sources


def wrong_arrows(source: Source) -> list[str]:
    """Imports of one file that go up, sideways, out of the house, or to a database."""
    allowed = floors.MAY_IMPORT.get(source.room, frozenset()) | {source.room, "__init__"}
    wrong = []
    for line, name in imported(source):
        top, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if top == "ocs" and room in floors.MAY_IMPORT and room not in allowed:
            wrong.append(f"{source.path}:{line}: {source.room} may not import {room}")
        if top == "ocs" and room and room not in floors.MAY_IMPORT:
            wrong.append(f"{source.path}:{line}: {name} is no room of tests/house/floors.py")
        if top in {"postpaid_bridge", "tests", "loadtests"}:
            wrong.append(f"{source.path}:{line}: nothing in ocs may import {top}")
        if top in floors.SQL_MODULES and source.room not in floors.SQL_ROOMS:
            wrong.append(f"{source.path}:{line}: no SQL enters the charging process: {top}")
    return wrong


def wrong_bridge_arrows(source: Source) -> list[str]:
    """Imports of one file of the bridge that go where they may not: to rooms of `ocs`, to its own keepers, or to what is not pure."""
    wrong = []
    for line, name in imported(source):
        top, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        roof = floors.ROOF if source.bridge_room in floors.BRIDGE_ROOF else frozenset()
        if top == "ocs" and room in floors.MAY_IMPORT and room not in floors.BRIDGE_MAY_IMPORT | roof:
            wrong.append(f"{source.path}:{line}: the bridge may not import {room}")
        if top in {"tests", "loadtests"}:
            wrong.append(f"{source.path}:{line}: the bridge may not import {top}")
        if source.bridge_room in floors.BRIDGE_KEEPERS:
            continue
        if top == "postpaid_bridge" and room in floors.BRIDGE_KEEPERS:
            wrong.append(f"{source.path}:{line}: rules may not import keepers: {room}")
        if top in floors.IMPURE_MODULES | floors.SQL_MODULES:
            wrong.append(f"{source.path}:{line}: rules are pure: {top}")
    return wrong


def strangers(source: Source) -> list[str]:
    """Third-party modules where the floor allows the standard library only."""
    if source.room not in floors.GROUND | floors.FIRST_FLOOR:
        return []
    allowed = {"ocs", *sys.stdlib_module_names}
    if source.room in floors.FIRST_FLOOR:
        allowed |= floors.THIRD_PARTY_OF_FIRST_FLOOR
    return [
        f"{source.path}:{line}: {name} is not for this floor"
        for line, name in imported(source)
        if name.partition(".")[0] not in allowed
    ]


def impurities(source: Source) -> list[str]:
    """Clocks, chance, logs, files and sockets on the first floor."""
    if source.room not in floors.FIRST_FLOOR:
        return []
    wrong = [
        f"{source.path}:{line}: imports {name}"
        for line, name in imported(source)
        if name.partition(".")[0] in floors.IMPURE_MODULES
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            wrong.append(f"{source.path}:{node.lineno}: is asynchronous")
        if not isinstance(node, ast.Call):
            continue
        if (
            isinstance(node.func, ast.Name)
            and node.func.id in floors.IMPURE_CALLS
            and (str(source.path), node.func.id) not in floors.PURE_ALL_THE_SAME
        ):
            wrong.append(f"{source.path}:{node.lineno}: calls {node.func.id}()")
        if isinstance(node.func, ast.Attribute) and node.func.attr in floors.IMPURE_METHODS:
            wrong.append(f"{source.path}:{node.lineno}: calls .{node.func.attr}()")
    return wrong


def test_every_room_has_a_floor() -> None:
    homeless = sorted({source.room for source in rooms()} - set(floors.MAY_IMPORT))
    assert homeless == [], "name its floor in tests/house/floors.py"


def test_arrows_point_down_only() -> None:
    assert [wrong for source in rooms() for wrong in wrong_arrows(source)] == []


def test_arrows_of_the_bridge_point_down_only_and_its_rules_are_pure() -> None:
    assert [wrong for source in bridge_rooms() for wrong in wrong_bridge_arrows(source)] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("postpaid_bridge/sql/a.py", "from ocs.server import worker"),
        ("postpaid_bridge/sql/a.py", "from ocs import settings"),
        ("postpaid_bridge/charges.py", "import sqlalchemy"),
        ("postpaid_bridge/charges.py", "import time"),
        ("postpaid_bridge/charges.py", "from postpaid_bridge.sql.journal import post"),
        ("postpaid_bridge/jobs/a.py", "import tests.databases"),
    ],
)
def test_a_wrong_arrow_of_the_bridge_is_seen(path: str, text: str) -> None:
    assert len(wrong_bridge_arrows(parsed(text, path))) == 1


def test_the_lower_floors_need_no_strangers() -> None:
    assert [wrong for source in rooms() for wrong in strangers(source)] == []


def test_the_first_floor_is_pure() -> None:
    assert [wrong for source in rooms() for wrong in impurities(source)] == []


def test_the_rules_themselves_have_no_circle() -> None:
    below = {
        room: set(others) - floors.ROOF
        for room, others in floors.MAY_IMPORT.items()
        if room not in floors.ROOF
    }
    while free := [room for room, others in below.items() if not others]:
        for room in free:
            del below[room]
        for others in below.values():
            others.difference_update(free)
    assert below == {}


def test_the_readers_see_the_whole_house() -> None:
    assert {file.path for file in sources()} >= {"conftest.py", "tests/house/source.py"}
    assert (ROOT / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ocs/money.py", "from ocs import units"),
        ("ocs/rating/a.py", "import ocs.charging.ask"),
        ("ocs/rating/a.py", "from ..diameter import codec"),
        ("ocs/diameter/a.py", "def f():\n    from ocs.balance.book import Book"),
        ("ocs/charging/a.py", "from ocs.balance import Book"),
        ("ocs/server/a.py", "from ocs import settings"),
        ("ocs/server/a.py", "from ocs.http import health"),
        ("ocs/balance/a.py", "import sqlalchemy"),
        ("ocs/balance/a.py", "import postpaid_bridge.usage"),
        ("ocs/balance/a.py", "from ocs.attic import trunk"),
    ],
)
def test_a_wrong_arrow_is_seen(path: str, text: str) -> None:
    assert len(wrong_arrows(parsed(text, path))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ocs/charging/a.py", "from ocs.rating.ladder import Ladder"),
        ("ocs/server/a.py", "from ocs.balance import Book"),
        ("ocs/__main__.py", "from ocs import settings\nimport ocs.http.health"),
        ("ocs/rating/a.py", "from . import ladder\nfrom ..money import mul_div_ceil"),
    ],
)
def test_a_right_arrow_is_left_alone(path: str, text: str) -> None:
    assert wrong_arrows(parsed(text, path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from asyncio import sleep",
        "from os.path import join",
        "x = open('f')",
        "from datetime import datetime\nx = datetime.now()",
        "async def f() -> None: ...",
        "print('here')",
    ],
)
def test_an_impurity_is_seen(text: str) -> None:
    assert len(impurities(parsed(text))) == 1


def test_a_stranger_on_a_lower_floor_is_seen() -> None:
    assert len(strangers(parsed("import pydantic", "ocs/money.py"))) == 1
    assert len(strangers(parsed("import msgpack"))) == 1
