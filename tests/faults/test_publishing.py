"""Publishing is killed at each of its steps, and begun again: the same files, and every mail once, or twice the same where nobody can know."""

import shutil
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

ROOT = Path(__file__).parents[2]
LATER_MS = 3_600_000
DEATHS = [(step, nth) for step in STEPS for nth in ((1, 3) if "sent" in step or "handed" in step else (1,))]


def files(folder: Path) -> dict[str, str]:
    return {
        str(each.relative_to(folder)): sha256(each.read_bytes()).hexdigest() for each in folder.rglob("*.pdf")
    }


@pytest.mark.usefixtures("_databases")
@pytest.mark.parametrize("kind", KINDS)
def test_whoever_kills_it_every_document_is_the_same_and_every_mail_is_sent_once(
    kind: str, tmp_path: Path
) -> None:
    whole: dict[str, str] = {}
    for place, (step, nth) in enumerate([("", 0), *DEATHS]):
        folder = tmp_path / str(place)
        with database_url(kind, tmp_path) as url, mail_server() as (inbox, mail):
            engine = engine_of(url)
            accounts = published(engine)
            engine.dispose()
            if step:
                arguments = [url, str(folder), str(mail.port), str(NOW_MS), step, str(nth)]
                died = subprocess.run(
                    [sys.executable, "-m", "tests.faults.dying_publisher", *arguments], cwd=ROOT, check=False
                )
                assert died.returncode == -9, step
            run(url, folder, mail.port, NOW_MS + LATER_MS)
            with reading(engine) as look:
                states = deliveries.counts(look)
            engine.dispose()
        whole = whole or files(folder)
        assert files(folder) == whole, step
        assert not list(folder.rglob("*.part")), step
        assert states == {("document", "made"): len(accounts), ("delivery", "sent"): len(accounts)}, step
        copies = Counter(to for [to], _ in inbox.mails)
        unknown = step in {"handed over, not noted", "sent, not committed"}
        assert sorted(copies.values()) == [1] * (len(accounts) - unknown) + [2] * unknown, step
        assert len({content for _, content in inbox.mails}) == len(accounts), (
            "a second one is the first, octet by octet"
        )
        shutil.rmtree(folder)
