"""The size law (DESIGN section 2): a function of at most 70 lines, a file of at most 500."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.source import ROOT, Source, parsed, sources

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500

# "path" or "path::function" -> its lines. This list may only shrink: nothing is added, and what has become smaller
# is entered smaller or struck out.
EXCEPTIONS: dict[str, int] = {}


def lua_functions(text: str, path: str) -> dict[str, int]:
    """Lines of each function at the left margin of a Lua file."""
    found: dict[str, int] = {}
    start, name = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("function ", "local function ")):
            start, name = number, line.partition("function ")[2].partition("(")[0].strip()
        elif line.startswith("end") and name:
            found[f"{path}::{name}"] = number - start + 1
            name = ""
    return found


def python_functions(source: Source) -> dict[str, int]:
    """Lines of each function, from `def` to its last statement, docstring and nested functions included."""
    return {
        f"{source.path}::{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def lua_files() -> list[Path]:
    return sorted((ROOT / "ocs").rglob("*.lua"))


def sizes() -> dict[str, int]:
    """Every file and function that is larger than the law allows, with its lines."""
    files = {source.path: len(source.text.splitlines()) for source in sources()}
    functions: dict[str, int] = {}
    for source in sources():
        functions |= python_functions(source)
    for file in lua_files():
        path, text = file.relative_to(ROOT).as_posix(), file.read_text()
        files[path] = len(text.splitlines())
        functions |= lua_functions(text, path)
    return {name: lines for name, lines in files.items() if lines > FILE_LINES_MAX} | {
        name: lines for name, lines in functions.items() if lines > FUNCTION_LINES_MAX
    }


def test_files_and_functions_keep_the_size_law() -> None:
    assert {name: lines for name, lines in sizes().items() if lines > EXCEPTIONS.get(name, 0)} == {}


def test_the_list_of_exceptions_only_shrinks() -> None:
    now = sizes()
    assert {name: lines for name, lines in EXCEPTIONS.items() if now.get(name) != lines} == {}


def test_a_long_function_is_measured_in_python_and_in_lua() -> None:
    body = "\n".join("    x = 1" for _ in range(70))
    assert python_functions(parsed(f"def f():\n{body}\n", "a.py")) == {"a.py::f": 71}
    assert lua_functions(f"local function f(a)\n{body}\nend\n", "a.lua") == {"a.lua::f": 72}
