"""A store restored to its backup's end, or to an instant: what it then says, what its archive says, and what was undone."""

import asyncio
import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from ocs import records
from ocs.balance.actions import ActionKind, Asked
from ocs.balance.archive_files import history, read_places
from ocs.balance.audit import rebuild
from ocs.balance.backup import BackupFault
from ocs.balance.entries import Entry
from ocs.balance.past import Past
from ocs.balance.restore import find_cut
from ocs.charging.ask import INITIAL, TERMINATION, UPDATE
from ocs.charging.outcome import Outcome
from ocs.outcomes import Code
from tests.accounting_records import START, container, traffic
from tests.real_valkey import RealValkey
from tests.unit.balance.backups import Restored, archived, backed_up, later, restart, restored
from tests.unit.balance.books import MIB, Network, network
from tests.unit.balance.test_past import rewritten
from tests.unit.balance.tills import Till, bucket_of_gift

OPENING = 1_000_000


def topped(net: Network, name: str, amount: int) -> None:
    net.charged.clock.keep_up()
    done = net.run(net.charged.accounts.topup(net.account, amount, "till", name))
    assert (done.code, done.replayed) == (Code.SUCCESS, False)


def credits_of(there: Restored, net: Network) -> int:
    found = there.run(there.charged.accounts.find(net.ids[0]))
    return int(found.book.credits_micros)


def set_aside(folder: Path) -> list[Entry]:
    """The records of the lost future, as they were kept."""
    found = []
    for path in sorted((folder / "undone" / "records").glob("*.rec.gz")):
        with gzip.open(path) as octets:
            found += [
                Entry(*each)
                for each in msgpack.Unpacker(io.BytesIO(octets.read()), raw=False, use_list=False)
            ]
    return found


def clean(there: Restored) -> bool:
    """The audit finds nothing, before and after all that waits is archived, and no partition is behind."""
    first = there.audit()
    archiver = there.archived()
    assert (first.faults, there.audit().faults, archiver.done.behind, archiver.done.holes) == ([], [], {}, 0)
    return True


@pytest.mark.parametrize("is_archived", [False, True])
def test_an_instant_between_two_topups_has_the_first_and_tells_of_the_second(
    own_valkey: RealValkey, tmp_path: Path, *, is_archived: bool
) -> None:
    with network(own_valkey) as net:
        topped(net, "kept", 10)
        archived(net, tmp_path / "archive")
        to_s = later()
        topped(net, "lost", 200)
        net.session("lost;1")
        if is_archived:
            archived(net, tmp_path / "archive")
        backup = backed_up(own_valkey, tmp_path / "b", tmp_path / "archive")
        with restored(backup, tmp_path / "r", to_s) as there:
            assert credits_of(there, net) == OPENING + 10
            assert [
                (each.channel, each.id, each.amount_micros, each.msisdn) for each in there.undone.topups
            ] == [("till", "lost", 200, "491700000001")]
            told = {
                each.kind: (each.records, each.accounts, each.amount_micros) for each in there.undone.sums
            }
            assert told == {"top-up": (1, 1, 200), "charge": (3, 1, 20_000)}
            assert clean(there)
            for replayed in (False, True):
                there.charged.clock.keep_up()
                done = there.run(there.charged.accounts.topup(net.account, 200, "till", "lost"))
                assert (done.code, done.replayed) == (Code.SUCCESS, replayed)
            assert credits_of(there, net) == OPENING + 210
            done = there.run(there.charged.accounts.topup(net.account, 10, "till", "kept"))
            assert (done.replayed, credits_of(there, net)) == (True, OPENING + 210)
            assert clean(there)
            assert len(set_aside(tmp_path / "r")) == 4


def test_what_was_undone_stands_in_files_that_a_human_can_read(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        to_s = later()
        topped(net, "lost", 200)
        net.run(net.charged.subscriber("491700000002", "", "flat-data"))
        backup = backed_up(own_valkey, tmp_path / "b")
        with restored(backup, tmp_path / "r", to_s):
            folder = tmp_path / "r" / "undone"
            rows = list(csv.DictReader((folder / "undone.csv").open()))
            # by streams of two partitions, each in its own order
            told = {
                (each["kind"], each["msisdn"], each["channel"], each["id"], each["amount_micros"])
                for each in rows
            }
            assert told == {
                ("top-up", "491700000001", "till", "lost", "200"),
                ("account", "491700000002", "", "", "0"),
            }
            touched = {
                each["msisdn"]: each["topups_micros"]
                for each in csv.DictReader((folder / "accounts.csv").open())
            }
            assert touched == {"491700000001": "200", "491700000002": "0"}
            said = json.loads((folder / "undone.json").read_text())
            assert (said["accounts"], said["topups"][0]["id"]) == (2, "lost")


def test_actions_of_the_lost_future_are_told_and_count_when_they_are_asked_again(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        to_s = later()
        where = net.account.profile
        asked = Asked(
            ActionKind.ADJUST, "care", "lost", where.partition, where.path, -300, reason="wrong tariff"
        )
        net.charged.clock.keep_up()
        assert net.run(net.charged.accounts.actions.do(asked)).code is Code.SUCCESS
        backup = backed_up(own_valkey, tmp_path / "b")
        with restored(backup, tmp_path / "r", to_s) as there:
            told = [(each.channel, each.id, each.amount_micros, each.what) for each in there.undone.actions]
            assert told == [("care", "lost", 300, "adjust wrong tariff")]
            said = json.loads((tmp_path / "r" / "undone" / "undone.json").read_text())
            assert [each["id"] for each in said["actions"]] == ["lost"]
            for replayed in (False, True):
                there.charged.clock.keep_up()
                done = there.run(there.charged.accounts.actions.do(asked))
                assert (done.code, done.replayed) == (Code.SUCCESS, replayed)
            found = there.run(there.charged.accounts.find(net.ids[0]))
            assert found.book.balance_micros == OPENING - 300
            assert clean(there)


def test_of_a_lost_action_it_is_told_what_it_held_and_what_its_bucket_was_of(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        till = Till(net)
        bucket = bucket_of_gift(till)
        to_s = later()
        assert till.do(ActionKind.ADJUST, 25, "more", bucket=bucket).code is Code.SUCCESS
        assert till.do(ActionKind.RESERVE, 70, "held").code is Code.SUCCESS
        backup = backed_up(own_valkey, tmp_path / "b")
        with restored(backup, tmp_path / "r", to_s) as there:
            told = {each.id: each.what for each in there.undone.actions}
            assert told == {"more": f"adjust bucket {bucket} is of 75", "held": "reserve holds 70"}


def test_accounting_records_of_the_lost_future_have_a_kind_of_their_own(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        to_s = later()

        async def send() -> None:
            done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            net.charged.clock.keep_up()
            net.charged.book.account(traffic(START, 3, container(5), session="pgw;7"), done.set_result)
            assert (await done).code == Code.SUCCESS

        net.run(send())
        backup = backed_up(own_valkey, tmp_path / "b")
        with restored(backup, tmp_path / "r", to_s):
            (row,) = csv.DictReader((tmp_path / "r" / "undone" / "undone.csv").open())
            told = row["kind"], row["session_id"], row["number"], row["what"]
            assert told == ("accounting", "pgw;7", "3", "10:5")


def test_no_id_of_the_lost_future_comes_again_also_where_the_store_was_restarted_in_it(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        archived(net, tmp_path / "archive")
        to_s = later()
        for number in range(2):  # epochs that come again after any restart
            restart(own_valkey, net.room)
            net.charged.clock.keep_up()
            topped(net, f"lost {number}", 1)
        archived(net, tmp_path / "archive")
        before = {entry.id for entry in _all(tmp_path / "archive", net.partition)}
        backup = backed_up(own_valkey, tmp_path / "b", tmp_path / "archive")
        with restored(backup, tmp_path / "r", to_s) as there:
            lost = {entry.id for entry in set_aside(tmp_path / "r")} & before
            assert len(lost) >= 4
            there.charged.clock.keep_up()
            there.run(there.charged.accounts.topup(net.account, 5, "till", "new"))
            assert clean(there)
            after = {entry.id for entry in _all(there.archive, net.partition)}
            assert after & lost == set()
            assert before - lost < after
            assert rebuild(there.archive, net.partition).faults == []


def _all(archive: Path, partition: int) -> list[Entry]:
    return list(history(archive, partition))


@pytest.mark.parametrize("batches", [1, 3])
def test_the_archive_is_cut_inside_a_batch_and_across_days(
    own_valkey: RealValkey, tmp_path: Path, batches: int
) -> None:
    with network(own_valkey) as net:
        archive = tmp_path / "archive"
        for number in range(batches):
            net.session(f"kept;{number}")
            if number:
                archived(net, archive)
                day = next(archive.glob("2*"))
                day.rename(archive / f"2020-01-0{number}")
                text = (archive / "place.json").read_text().replace(day.name, f"2020-01-0{number}")
                (archive / "place.json").write_text(text)
        net.session("kept;last")
        to_s = later()
        net.session("lost;0")
        archived(net, archive)  # kept and lost in one batch
        net.session("lost;1")
        archived(net, archive)
        backup = backed_up(own_valkey, tmp_path / "b", archive)
        with restored(backup, tmp_path / "r", to_s) as there:
            place = read_places(there.archive)[net.partition]
            found = [entry.record() for entry in _all(there.archive, net.partition)]
            sessions = [each.session_id for each in found if isinstance(each, records.Charge)]
            assert sessions == [f"kept;{number}" for number in (*range(batches), "last") for _ in range(3)]
            assert place.last_id == _all(there.archive, net.partition)[-1].id
            lost = [entry.record() for entry in set_aside(tmp_path / "r")]
            assert [each.session_id for each in lost if isinstance(each, records.Charge)] == [
                *["lost;0"] * 3,
                *["lost;1"] * 3,
            ]
            assert clean(there)


def test_open_sessions_go_on_and_what_they_used_since_is_told(own_valkey: RealValkey, tmp_path: Path) -> None:
    """One goes on; one that has ended since stays open until its supervision; one that was opened since is not known."""
    with network(own_valkey) as net:
        for name in ("goes on", "ended"):
            net.ask(INITIAL, 0, wants=2 * MIB, session=name)
        to_s = later()
        net.ask(UPDATE, 1, used=MIB, wants=2 * MIB, session="goes on")
        net.ask(TERMINATION, 1, used=MIB, session="ended")
        net.ask(INITIAL, 0, wants=2 * MIB, session="opened")
        backup = backed_up(own_valkey, tmp_path / "b")
        with restored(backup, tmp_path / "r", to_s) as there:
            ask = _asks(there, net)
            assert ask(UPDATE, 2, used=MIB, wants=2 * MIB, session="goes on") == Code.SUCCESS
            assert ask(TERMINATION, 3, used=MIB, session="goes on") == Code.SUCCESS
            assert ask(UPDATE, 1, used=MIB, wants=MIB, session="opened") == Code.UNKNOWN_SESSION
            found = there.run(there.charged.accounts.find(net.ids[0])).book
            assert (found.posted_micros, found.pending_micros, found.sessions_open) == (20_000, 20_000, 1)
            code = there.run(
                there.charged.expire(
                    net.partition, net.account.profile.account, "ended", 300_000, forced=True
                )
            )
            assert code == Code.SUCCESS
            # its client repeats the end that it was acknowledged for: posted late, once
            for _ in range(2):
                ask(TERMINATION, 1, used=MIB, session="ended")
            found = there.run(there.charged.accounts.find(net.ids[0])).book
            assert (found.posted_micros, found.pending_micros) == (30_000, 0)
            assert clean(there)
            lost = {
                (row["session_id"], row["number"])
                for row in csv.DictReader((tmp_path / "r/undone/undone.csv").open())
            }
            assert lost == {("goes on", "1"), ("ended", "1"), ("opened", "0")}


def _asks(there: Restored, net: Network) -> Callable[..., Code]:
    """Asks the restored store as ``Network.ask`` does the other."""

    def ask(kind: int, number: int, **more: Any) -> Code:
        return Code(there.run(there.charged.charge(net.asked(kind, number, **more))).code)

    return ask


def test_a_restore_to_the_end_undoes_nothing_of_the_store(own_valkey: RealValkey, tmp_path: Path) -> None:
    with network(own_valkey) as net:
        net.session("s;1")
        topped(net, "last", 7)
        backup = backed_up(own_valkey, tmp_path / "b")
        topped(net, "later", 9)
        with restored(backup, tmp_path / "r") as there:
            assert (credits_of(there, net), there.undone.sums) == (OPENING + 7, [])
            assert clean(there)


def test_what_the_archive_got_after_the_stores_end_is_set_aside(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    """Also of an archive that has outlived the store on a disk of its own, instead of the backup's."""
    with network(own_valkey) as net:
        archived(net, tmp_path / "archive")
        backup = backed_up(own_valkey, tmp_path / "b", tmp_path / "archive")
        topped(net, "later", 9)
        archived(net, tmp_path / "archive")
        with restored(backup, tmp_path / "r", None, tmp_path / "archive") as there:
            assert [each.id for each in there.undone.topups] == ["later"]
            assert credits_of(there, net) == OPENING
            assert clean(there)


@pytest.mark.slow
def test_history_reaches_instants_before_a_rewrite(own_valkey: RealValkey, tmp_path: Path) -> None:
    past = Past(own_valkey.folder, 1, 10**9)
    instants = []
    with network(own_valkey) as net:
        for number in range(3):
            past.look(int(time.time()))
            topped(net, f"t{number}", 1 << number)
            instants.append(later())
            topped(net, f"u{number}", 1_000)  # behind the instant, and inside the next base
            rewritten(own_valkey)
            later()
        past.look(int(time.time()))
        backup = backed_up(own_valkey, tmp_path / "b")
        for number, to_s in enumerate(instants):
            with restored(backup, tmp_path / f"r{number}", to_s) as there:
                assert credits_of(there, net) == OPENING + (2 << number) - 1 + 1_000 * number
                lost = [f"{kind}{n}" for n in range(3) for kind in "tu"][2 * number + 1 :]
                assert [each.id for each in there.undone.topups] == lost
                assert clean(there)


def test_without_history_an_instant_before_a_rewrite_is_refused(
    own_valkey: RealValkey, tmp_path: Path
) -> None:
    with network(own_valkey) as net:
        to_s = later()
        rewritten(own_valkey)
        later()
        topped(net, "after", 1)
        later()
        backup = backed_up(own_valkey, tmp_path / "b")
    for instant in (to_s, backup.since_s - 1, backup.ends_ms // 1_000 + 1):
        with pytest.raises(BackupFault, match="does not reach that instant"):
            find_cut(backup, instant)
    assert find_cut(backup, backup.since_s).end >= 0
    assert find_cut(backup, backup.ends_ms // 1_000).end > 0


@pytest.mark.parametrize("name", ["spool/worker-0-00000001.spool", "unbilled/worker-0.jsonl"])
def test_what_is_on_disk_alone_is_restored_with_the_store(
    own_valkey: RealValkey, tmp_path: Path, name: str
) -> None:
    """Terminations of the spool, and accounting records that nobody can be billed for: both were acknowledged."""
    (own_valkey.folder / name).parent.mkdir()
    (own_valkey.folder / name).write_bytes(b"kept")
    with network(own_valkey):
        backup = backed_up(own_valkey, tmp_path / "b")
    with restored(backup, tmp_path / "r"):
        assert (tmp_path / "r" / name).read_bytes() == b"kept"
