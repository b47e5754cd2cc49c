"""What the strangers of a test said is shown with it when it fails."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.strangers import SHOWN_CHARACTERS_MAX, shown


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for stranger in list(shown):
            report.sections.append((f"log of {stranger.name}", stranger.said()[-SHOWN_CHARACTERS_MAX:]))
            if stranger.has_ended:
                shown.remove(stranger)
    return report
