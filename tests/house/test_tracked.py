"""What a clone may not carry: a machine's paths, a registry's address; and what it must declare."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest

from tests.house import floors
from tests.house.source import ROOT, imported, sources, tracked

# Written apart, so that this file does not hold what it looks for.
FOLDERS = "work|farm|root|home"
MACHINE_PATH = re.compile(rf"(^|[^A-Za-z0-9_.:/-])/({FOLDERS})/[A-Za-z.]")
REGISTRY = re.compile(
    r"(?i)(index-" + r'url|find-links|"resolved"|registry *=)["=: ]*"?https?:'
    r"|(files\.python" + r"hosted|(test\.)?py" + r"pi)\.org|registry\.npm" + r"js\.org|deb\.deb" + r"ian\.org"
)
# name in an import -> name in pyproject.toml, where they differ
DISTRIBUTIONS = {"diameter": "python-diameter", "yaml": "pyyaml", "prometheus_client": "prometheus-client"}
PIN = re.compile(r"^[a-z0-9.-]+==[0-9][A-Za-z0-9.]*$")


def texts() -> list[tuple[str, str]]:
    """(path, text) of every file of the clone that is text."""
    found = []
    for file in tracked():
        raw = file.read_bytes()
        if b"\0" not in raw:
            found.append((file.relative_to(ROOT).as_posix(), raw.decode(errors="replace")))
    return found


def lines_with(pattern: re.Pattern[str], pages: list[tuple[str, str]]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in pages
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_tracked_file_names_a_path_of_a_machine() -> None:
    assert lines_with(MACHINE_PATH, texts()) == []


def test_no_tracked_file_names_a_registry() -> None:
    assert lines_with(REGISTRY, texts()) == []


@pytest.mark.parametrize("line", ["cd /{}/main".format("work"), 'X = "/{}/me"'.format("home")])
def test_a_path_of_a_machine_is_seen(line: str) -> None:
    assert len(lines_with(MACHINE_PATH, [("a", line)])) == 1


@pytest.mark.parametrize(
    "line", ["--index-" + "url https://x/simple", "https://files.python" + "hosted.org/x"]
)
def test_a_registry_is_seen(line: str) -> None:
    assert len(lines_with(REGISTRY, [("a", line)])) == 1


def declared(*extras: str) -> set[str]:
    """Names of the distributions that pyproject.toml asks for, with the named extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in extras for name in project["optional-dependencies"][extra]),
    ]
    return {re.split(r"[\[<>=! ;]", name)[0].lower() for name in wanted}


def pins(name: str) -> dict[str, str]:
    """Distribution -> version of one constraints file."""
    lines = (ROOT / "constraints" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_imported_distribution_is_declared() -> None:
    ours = {"ocs", "postpaid_bridge", "loadtests", "tests", "conftest", *sys.stdlib_module_names}
    missing = set()
    for source in sources():
        stranger = (
            source.path == "ocs/roof/gateway.py"
        )  # the demo's simulated gateway: the one that needs the extra
        is_sql = source.room in floors.SQL_ROOMS - floors.ROOF or source.path.startswith("postpaid_bridge/")
        extras: tuple[str, ...] = ("demo",) if stranger else ("bridge", "batch") if is_sql else ()
        if not (source.room or is_sql):
            extras = ("demo", "dev", "load", "bridge", "batch")
        names = declared(*extras)
        for line, module in imported(source):
            top = module.partition(".")[0]
            if top not in ours and DISTRIBUTIONS.get(top, top.replace("_", "-")) not in names:
                missing.add(f"{source.path}:{line}: {top}")
    assert sorted(missing) == []


def test_every_declared_distribution_is_pinned_by_name_and_version() -> None:
    base, bridge, dev = pins("base.txt"), pins("bridge.txt"), pins("dev.txt")
    assert declared("demo") - base.keys() == set()
    assert declared("bridge", "batch") - base.keys() - bridge.keys() == set()
    assert declared("demo", "dev") - base.keys() - bridge.keys() - dev.keys() - {"ocs"} == set()
    assert len(base | bridge | dev) == len(base) + len(bridge) + len(dev)


@pytest.mark.parametrize("name", ["base.txt", "bridge.txt", "dev.txt"])
def test_constraints_are_plain_pins(name: str) -> None:
    lines = (ROOT / "constraints" / name).read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#") and not PIN.match(line)] == []
