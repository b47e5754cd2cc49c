import stat
from pathlib import Path

import pytest

from ocs.balance.embedded import Embedded
from ocs.roof.build import embedded_store, read_settings, tighten
from ocs.roof.place import Place
from ocs.roof.signals import AskedToEnd


def test_a_store_whose_start_is_called_off_does_not_live_on(tmp_path: Path) -> None:
    lived: list[bool] = []

    def call_off() -> None:
        lived.append(Embedded(tmp_path, "always", None).alive())
        raise AskedToEnd

    settings = read_settings(Place(data_dir=tmp_path))
    with pytest.raises(AskedToEnd), embedded_store(settings, serving=True, go_on=call_off):
        raise AssertionError
    assert lived == [True]
    assert not Embedded(tmp_path, "always", None).alive()


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o707])
def test_a_folder_of_ours_that_others_can_look_into_is_closed(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    tighten(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_that_is_not_there_yet_needs_no_closing(tmp_path: Path) -> None:
    tighten(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_of_somebody_else_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    tighten(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
