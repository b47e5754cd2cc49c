"""What the strangers of a test said is shown with it when it fails."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.strangers import running

SHOWN_CHARACTERS_MAX = 20_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        logs: Any = [(f"log of {name}", path) for name, path in running.items()]
        for title, path in logs:
            said = path.read_text(encoding="utf-8", errors="replace")[-SHOWN_CHARACTERS_MAX:]
            report.sections.append((title, said))
    return report
