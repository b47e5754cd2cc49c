import shutil
from pathlib import Path

import pytest

from tests.journey.conftest import ROOT, Command

STEPS = 8


@pytest.mark.timeout(180)
def test_the_demo_charges_a_session_without_a_terminal_and_leaves_nothing_behind(tmp_path: Path) -> None:
    said = Command(TMPDIR=str(tmp_path))("demo")
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert [line.partition(".")[0] for line in lines if line[:1].isdigit()] == [
        str(n + 1) for n in range(STEPS)
    ]
    assert "granted 2.5 MiB, the last, debited 0.03, balance 0.05 → 0.02, reserved 0.02" in said.out
    assert "answered 4012 credit limit reached, debited 0.02, balance 0.02 → 0.00" in said.out
    assert "debited 0.04, balance 1.00 → 0.96, reserved 0.00" in said.out
    assert "ocs audit: clean" in lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_demo_fails_when_a_figure_is_not_what_it_should_be(tmp_path: Path, folder: Path) -> None:
    tariffs = tmp_path / "tariffs"
    shutil.copytree(ROOT / "config" / "tariffs", tariffs)
    dearer = (tariffs / "flat-data.yaml").read_text().replace('"0.01"', '"0.02"')
    (tariffs / "flat-data.yaml").write_text(dearer)
    said = Command("--data-dir", str(folder), OCS_CHARGING__TARIFFS_DIR=str(tariffs))("demo")
    assert said.code == 1
    assert "opens a session: granted octets is 2097152, not 3145728" in said.remarks
