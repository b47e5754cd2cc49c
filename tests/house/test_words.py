"""Rooms and things are found by their names (DESIGN section 2): words that say nothing are refused."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import Source, sources

EMPTY_WORDS = frozenset({"helper", "helpers", "manager", "managers", "util", "utils"})
# Empty as a whole name or as the verb (`process_ccr`); asyncio's own `data_received` and a `data_dir` are not.
EMPTY_ALONE = frozenset({"data", "process"})
EMPTY_VERBS = frozenset({"process"})


def words(name: str) -> list[str]:
    """`PeerManager` and `peer_manager` -> ["peer", "manager"]."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def says_nothing(name: str) -> bool:
    """Whether a name holds an empty word, or is one."""
    parts = words(name)
    return bool(EMPTY_WORDS & set(parts)) or (
        bool(parts) and (parts[0] in EMPTY_VERBS or (len(parts) == 1 and parts[0] in EMPTY_ALONE))
    )


def empty_names(source: Source) -> Iterator[str]:
    """Files, folders, classes and functions of one source whose name says nothing."""
    for part in Path(source.path).with_suffix("").parts:
        if says_nothing(part.removeprefix("test_")):
            yield f"{source.path}: {part}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and says_nothing(
            node.name
        ):
            yield f"{source.path}:{node.lineno}: {node.name}"


def test_names_say_something() -> None:
    assert [name for source in sources() for name in empty_names(source)] == []


@pytest.mark.parametrize(
    "name", ["PeerManager", "http_utils", "helper", "process_ccr", "Process", "data", "AVPHelper"]
)
def test_an_empty_name_is_seen(name: str) -> None:
    assert says_nothing(name)


@pytest.mark.parametrize(
    "name", ["data_received", "data_dir", "Peer", "managed", "ServerProcess", "utility_bill"]
)
def test_a_name_that_says_something_is_left_alone(name: str) -> None:
    assert not says_nothing(name)
