import asyncio
import errno
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocs.balance.embedded import Embedded, EmbeddedFault
from ocs.roof import serve
from ocs.roof.build import embedded_store, read_settings, tighten
from ocs.roof.place import Place
from ocs.roof.signals import AskedToEnd
from ocs.server.counters import Counters


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


@pytest.mark.parametrize("where", ["lower_rewrites", "alive", "claim", "restart"])
@pytest.mark.parametrize(
    "fault", [OSError(errno.EMFILE, "Too many open files"), EmbeddedFault("no"), ValueError("half a file")]
)
def test_a_store_is_started_again_whatever_went_wrong_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, fault: Exception
) -> None:
    monkeypatch.setattr(serve, "_LOOK_S", 0)
    counters, said = Counters(), []

    async def run() -> None:
        loop, started = asyncio.get_running_loop(), asyncio.Event()

        def step(name: str, gives: bool) -> Any:  # noqa: FBT001 - what the store says
            def does() -> bool:
                said.append(name)
                if name == where and said.count(name) == 1:
                    raise fault
                if name == "restart":
                    loop.call_soon_threadsafe(started.set)
                return gives

            return does

        steps = {"lower_rewrites": False, "alive": False, "claim": True, "restart": True}
        made = SimpleNamespace(
            folder=tmp_path, pid=1, **{name: step(name, does) for name, does in steps.items()}
        )
        job = asyncio.ensure_future(serve._keep_store(made, counters))  # type: ignore[arg-type]
        waits = asyncio.ensure_future(started.wait())
        await asyncio.wait((job, waits), return_when=asyncio.FIRST_COMPLETED)
        assert not job.done()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    asyncio.run(run())
    assert counters.cells[counters.index("ocs_job_faults_total")] == 1
