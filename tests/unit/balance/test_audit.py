"""The audit sees what does not hold, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest

from ocs.balance.actions import ActionKind, Asked
from ocs.balance.audit import Report, audit
from ocs.balance.claims import digest_of
from ocs.balance.keys import home
from ocs.balance.parts import packed
from ocs.balance.stored_book import Book, read_book, write_book
from ocs.charging.ask import INITIAL
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, Network, network


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


def _audit(net: Network) -> Report:
    report: Report = net.run(audit(net.charged.parts))
    return report


def _change(net: Network, key: str, field: int, by: int) -> None:
    """Do what no code of ours does: change one number of a book behind the function's back."""
    book: list[Any] = list(read_book(net.execute("GET", key)))
    book[field] += by
    net.execute("SET", key, write_book(Book._make(book)))


def _keys(net: Network) -> tuple[str, str]:
    keys = net.charged.parts.keys[net.partition]
    return keys.book(net.account.profile.account), keys.session("s;1")


def test_a_store_after_sessions_is_clean(net: Network) -> None:
    net.session("s;0")
    net.ask(INITIAL, 0, wants=2 * MIB)

    report = _audit(net)

    assert report.faults == []
    assert (report.accounts, report.sessions) == (1, 1)
    assert (report.balance_micros, report.pending_micros) == (980_000, 20_000)


@pytest.mark.parametrize(
    ("field", "what"),
    [(0, "the records lead to"), (1, "the records lead to"), (2, "its open sessions hold"), (4, "the records lead to"), (7, "counts 2 open sessions")],
    ids=["credits", "posted", "pending", "sequence", "open"],
)  # fmt: skip
def test_a_book_that_was_changed_behind_the_function_is_seen(net: Network, field: int, what: str) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    _change(net, _keys(net)[0], field, 1)

    assert any(what in fault.what for fault in _audit(net).faults)


def test_a_session_that_is_missing_is_seen(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    net.execute("DEL", _keys(net)[1])

    subjects = {fault.subject for fault in _audit(net).faults}
    assert subjects == {"due index", "open index", net.account.profile.account}


def test_a_session_that_the_due_index_does_not_name_is_seen(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    net.execute("ZREM", net.charged.parts.keys[net.partition].due, "s;1")

    assert [fault.subject for fault in _audit(net).faults] == ["due index"]


def test_a_session_that_the_index_by_account_does_not_name_is_seen(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)

    net.execute("ZREM", net.charged.parts.keys[net.partition].open, f"{net.account.profile.account} s;1")

    assert [fault.what.split(":")[0] for fault in _audit(net).faults] == ["lacks an open session"]


def test_a_session_that_ended_and_is_named_by_account_still_is_seen(net: Network) -> None:
    net.session()

    net.execute("ZADD", net.charged.parts.keys[net.partition].open, 0, f"{net.account.profile.account} s;1")

    assert [fault.what.split(":")[0] for fault in _audit(net).faults] == ["names a session that is not open"]


def test_a_record_that_is_missing_is_seen(net: Network) -> None:
    net.session()
    stream = net.charged.parts.keys[net.partition].stream
    third = net.execute("XRANGE", stream, "-", "+")[3][0]

    net.execute("XDEL", stream, third)

    found = [fault.what for fault in _audit(net).faults]
    assert any("records are missing" in what for what in found)
    assert any("its own figures to" in what for what in found)


def test_an_audit_writes_nothing(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB)
    before = net.execute("INFO", "stats").decode()
    dirty = net.execute("INFO", "persistence").decode().split("rdb_changes_since_last_save:")[1].split()[0]

    _audit(net)

    after = net.execute("INFO", "persistence").decode().split("rdb_changes_since_last_save:")[1].split()[0]
    assert "total_commands_processed" in before
    assert dirty == after


def test_a_topup_whose_caller_died_is_in_transit(net: Network) -> None:
    accounts = net.charged.accounts
    net.run(_claim_only(net))

    report = _audit(net)

    assert report.clean
    assert (report.in_transit, report.in_transit_micros) == (1, 70_000)
    assert accounts is not None


async def _claim_only(net: Network) -> None:
    """The first step of a top-up, as its caller of an earlier release would have made it before it died."""
    charged, where = net.charged, net.account.profile
    keys = charged.parts.keys[home("till:dying", len(charged.parts.keys))]
    asked = Asked(ActionKind.TOPUP, "till", "dying", where.partition, where.account, 70_000)
    body = packed(1, digest_of(asked), where.partition, where.account, 70_000, "till", "dying", "")
    await charged.store.execute(keys.slot, "ZADD", keys.claims, charged.clock.now_ms() - 60_000, "till:dying")
    await charged.store.execute(keys.slot, "SET", keys.claim("till", "dying"), body)


def test_a_book_that_is_gone_is_seen(net: Network) -> None:
    net.execute("DEL", _keys(net)[0])

    assert [fault.subject for fault in _audit(net).faults] == [net.account.profile.account]


def test_a_floor_that_was_moved_is_seen(net: Network) -> None:
    _change(net, _keys(net)[0], 3, -9_000_000_000)

    assert any("the book stands at" in fault.what for fault in _audit(net).faults)


@pytest.mark.parametrize(
    "octets",
    [b"x", b"", b"\xc1", b"\x93\x63\x01\x02", b"\x07"],
    ids=["text", "empty", "garbled", "version", "no list"],
)
def test_a_record_that_cannot_be_read_is_a_fault_beside_the_others(net: Network, octets: bytes) -> None:
    net.session()
    keys = net.charged.parts.keys[net.partition]
    net.execute("XADD", keys.stream, "1-*", "r", octets)
    net.execute("XADD", keys.stream, "2-1", "r", octets)  # where a new epoch would say what was before it
    net.execute("SET", keys.book("zzzzzzzzzz"), "x")

    found = net.run(audit(net.charged.parts)).faults

    assert next(fault.what for fault in found if fault.subject == "zzzzzzzzzz").startswith("no book")
    assert sum("cannot be read" in fault.what for fault in found) == 2
