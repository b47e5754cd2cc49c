"""What the processes of a test said is shown with it when it fails."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.strangers import SHOWN_CHARACTERS_MAX, shown


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for each in list(shown):
            said = each.log.read_text(encoding="utf-8", errors="replace")
            report.sections.append((f"log of {each.name}", said[-SHOWN_CHARACTERS_MAX:]))
            if each.has_ended:
                shown.remove(each)
    return report
