"""What a run of the tests may not hide from continuous integration: a folder that ran none, a part that was missing.

With --every-folder the run fails when a folder below tests/ that has test files executed none of them, or when a
test marked `needs_system` was skipped: a green run then means that every folder was really judged.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
executed: set[str] = set()
missing_parts: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-folder",
        action="store_true",
        help="fail when a folder of tests ran none, or a system part lacked",
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what ran; under xdist the reports of all workers arrive here, in the controller."""
    if report.when == "call" and not report.skipped:
        executed.add(Path(report.nodeid.partition("::")[0]).parent.as_posix())
    if report.skipped and "needs_system" in report.keywords:
        missing_parts.append(report.nodeid)


def idle_folders(root: Path, ran: set[str]) -> list[str]:
    """Folders below tests/ with test files of which none was executed, relative to the root."""
    folders = {file.parent.relative_to(root).as_posix() for file in (root / "tests").rglob("test_*.py")}
    return sorted(folders - ran)


def faults(config: pytest.Config) -> list[str]:
    if not config.getoption("--every-folder") or hasattr(config, "workerinput"):
        return []
    idle = [f"{folder}: ran no test" for folder in idle_folders(ROOT, executed)]
    return idle + [f"{nodeid}: skipped for want of a system package" for nodeid in missing_parts]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if faults(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for fault in faults(config):
        terminalreporter.write_line(f"--every-folder: {fault}", red=True)
