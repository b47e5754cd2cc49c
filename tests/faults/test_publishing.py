"""Publishing is killed at each of its steps, and begun again: the same files, and every mail once, or twice the same where nobody can know."""

import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from ocs.sql import engine_of, reading
from postpaid_bridge.sql import deliveries
from tests.databases import KINDS, database_url
from tests.document_scene import mail_server, published
from tests.faults.dying_publisher import STEPS, run
from tests.run_scene import NOW_MS

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
LATER_MS = 3_600_000
FIRST = ("filed, not noted", "claimed, not handed over", "handed over, not noted")
DEATHS = [pytest.param(step, 1, marks=() if step in FIRST else pytest.mark.slow) for step in STEPS]
DEATHS += [pytest.param(step, 3, marks=pytest.mark.slow) for step in FIRST[1:]]
WHOLE: dict[str, dict[str, str]] = {}
"""The files of what nobody killed, by kind of database."""


def files(folder: Path) -> dict[str, str]:
    return {
        str(each.relative_to(folder)): sha256(each.read_bytes()).hexdigest() for each in folder.rglob("*.pdf")
    }


def published_and_sent(kind: str, folder: Path, step: str = "", nth: int = 1) -> dict[str, str]:
    """Publish, killed at a step, and again; the files, when all is as it should be."""
    with database_url(kind, folder) as url, mail_server() as (inbox, mail):
        engine = engine_of(url)
        accounts = published(engine)
        engine.dispose()
        if step:
            arguments = [url, str(folder), str(mail.port), str(NOW_MS), step, str(nth)]
            died = subprocess.run(
                [sys.executable, "-m", "tests.faults.dying_publisher", *arguments], cwd=ROOT, check=False
            )
            assert died.returncode == -9
        run(url, folder, mail.port, NOW_MS + LATER_MS)
        with reading(engine) as look:
            states = deliveries.counts(look)
        engine.dispose()
    assert states == {("document", "made"): len(accounts), ("delivery", "sent"): len(accounts)}
    copies = Counter(to for [to], _ in inbox.mails)
    unknown = step in {"handed over, not noted", "sent, not committed"}
    assert sorted(copies.values()) == [1] * (len(accounts) - unknown) + [2] * unknown
    assert len({content for _, content in inbox.mails}) == len(accounts), (
        "a second one is the first, octet by octet"
    )
    return files(folder)


@pytest.mark.usefixtures("_databases")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("step", "nth"), DEATHS)
def test_whoever_is_killed_every_document_is_the_same_and_every_mail_is_sent_once(
    kind: str, step: str, nth: int, tmp_path: Path
) -> None:
    if kind not in WHOLE:
        whole = tmp_path / "whole"
        whole.mkdir()
        WHOLE[kind] = published_and_sent(kind, whole)
    folder = tmp_path / "killed"
    folder.mkdir()
    assert published_and_sent(kind, folder, step, nth) == WHOLE[kind]
    assert not list(folder.rglob("*.part"))
