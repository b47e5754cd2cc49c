"""Public names of the ground and first floor say what they are for (STYLE 1)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house import floors
from tests.house.source import Source, parsed, rooms

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(source: Source) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; overloads and overrides speak elsewhere."""
    if ast.get_docstring(source.tree) is None:
        yield f"{source.path}:1: the module"
    bodies: list[tuple[str, list[ast.stmt]]] = [("", source.tree.body)]
    while bodies:
        prefix, body = bodies.pop()
        for node in body:
            if not isinstance(node, Documented) or node.name.startswith("_"):
                continue
            if {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list} & {
                "overload",
                "override",
                "setter",
            }:
                continue
            if ast.get_docstring(node) is None:
                yield f"{source.path}:{node.lineno}: {prefix}{node.name}"
            if isinstance(node, ast.ClassDef):
                bodies.append((f"{node.name}.", node.body))


def test_public_names_of_the_lower_floors_say_what_they_are_for() -> None:
    lower = floors.GROUND | floors.FIRST_FLOOR
    assert [name for source in rooms() if source.room in lower for name in undocumented(source)] == []


def test_a_missing_docstring_is_seen() -> None:
    text = (
        '"""Room."""\nclass A:\n    """A."""\n    def go(self): ...\n    def _own(self): ...\ndef f(): ...\n'
    )
    assert sorted(undocumented(parsed(text, "a.py"))) == ["a.py:4: A.go", "a.py:6: f"]
