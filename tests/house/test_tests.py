"""What a test may not do: read outside the checkout, or judge by the wall clock."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import ROOT, Source, parsed, sources

# Only folders of a machine: "/health/live" and "/tmf-api/…" are addresses of ours, /proc and /dev are the kernel's.
MACHINE_PATH = re.compile(r"^(/(bin|etc|farm|home|mnt|opt|root|sbin|srv|tmp|usr|var|work)(/|$)|~(/|$))")
CLOCKS = frozenset(
    {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "time_ns"}
)
TIMES = re.compile(r"(^|_)(elapsed|took|duration)(_|$)")


def outside_paths(source: Source) -> Iterator[str]:
    """Strings that name a machine's folder or climb out of the checkout, and `parents[n]` beyond its root."""
    depth_max = len(Path(source.path).parts) - 1
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            climbs = node.value.count("../") > depth_max or node.value.startswith("../shared")
            if MACHINE_PATH.match(node.value) or climbs:
                yield f"{source.path}:{node.lineno}: {node.value!r}"
        match node:
            case ast.Subscript(value=ast.Attribute(attr="parents"), slice=ast.Constant(value=int(climb))):
                if climb > depth_max:
                    yield f"{source.path}:{node.lineno}: parents[{climb}] is above the checkout"


def _reads_clock(node: ast.AST) -> bool:
    return any(
        isinstance(part, ast.Call)
        and (
            (isinstance(part.func, ast.Attribute) and part.func.attr in CLOCKS)
            or ast.unparse(part.func) == "time.time"
        )
        for part in ast.walk(node)
    )


def timed_assertions(source: Source) -> Iterator[str]:
    """Assertions that compare with a clock, or with a name that a clock gave."""
    for function in ast.walk(source.tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        clocked = {
            ast.unparse(target)
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _reads_clock(node.value)
            for target in node.targets
        }
        for node in ast.walk(function):
            if not isinstance(node, ast.Assert) or not any(
                isinstance(part, ast.Compare) for part in ast.walk(node.test)
            ):
                continue
            names = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
            if _reads_clock(node.test) or names & clocked or any(TIMES.search(name) for name in names):
                yield f"{source.path}:{node.lineno}: {ast.unparse(node)}"


def judged() -> list[Source]:
    """Everything below tests/ except this file, which names what it looks for."""
    here = Path(__file__).relative_to(ROOT).as_posix()
    return [source for source in sources() if source.path.startswith("tests/") and source.path != here]


def test_no_test_opens_a_path_outside_the_checkout() -> None:
    assert [wrong for source in judged() for wrong in outside_paths(source)] == []


def test_no_test_judges_by_the_wall_clock() -> None:
    assert [wrong for source in judged() for wrong in timed_assertions(source)] == []


@pytest.mark.parametrize(
    "text",
    [
        "open('/etc/hosts')",
        "Path('~/x')",
        "open('../shared/captures/pydiam.hex')",
        "Path(__file__).parents[3] / 'shared'",
        "ROOT / '../../../x'",
    ],
)
def test_a_path_outside_is_seen(text: str) -> None:
    assert len(list(outside_paths(parsed(text, "tests/unit/test_a.py")))) == 1


@pytest.mark.parametrize(
    "text", ["get('/health/live')", "Path(__file__).parents[2]", "open('/proc/self/status')"]
)
def test_a_path_inside_is_left_alone(text: str) -> None:
    assert list(outside_paths(parsed(text, "tests/unit/test_a.py"))) == []


@pytest.mark.parametrize(
    "body",
    [
        "assert time.monotonic() - start < 1",
        "x = perf.perf_counter() - start\n    assert x < 2",
        "assert elapsed_ms <= 10",
    ],
)
def test_a_timed_assertion_is_seen(body: str) -> None:
    assert len(list(timed_assertions(parsed(f"def test_a():\n    {body}\n", "tests/a.py")))) == 1


def test_an_assertion_on_simulated_time_is_left_alone() -> None:
    text = "def test_a():\n    start = time.monotonic()\n    assert session.due_ms < 5000\n"
    assert list(timed_assertions(parsed(text, "tests/a.py"))) == []
