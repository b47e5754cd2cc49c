"""Usage lines of real records: what each one moved is in lines and payments, whose it is, and what it is booked as."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from ocs.records import Account, ActionKind, Charge, Epoch, Expire, Moved, Rows, Topup
from ocs.sql import reading, writing
from ocs.stream import Batch, Break, Loss
from postpaid_bridge import usage
from postpaid_bridge.journal import Ledger
from postpaid_bridge.sql import intake
from postpaid_bridge.sql.journal import entries, outbox, postings
from postpaid_bridge.sql.rerating import RerateFault, rerate
from postpaid_bridge.sql.usage import (
    alarms,
    books,
    claim_for_bill,
    drop,
    held_late,
    let_go,
    lines,
    open_alarms,
    parked_by_reason,
    places,
    rejected,
    unbill,
    usage_sums,
)
from postpaid_bridge.usage import Held, Why, service_for
from tests.bridge_scene import (
    EURO,
    NOBODYS,
    ONE_OF,
    OTHER,
    PREPAID,
    RULES,
    Life,
    does_not_hold,
    end_state,
    now_ms,
    sold_to,
)
from tests.charged_store import StoreRoom, store_room
from tests.real_valkey import RealValkey

LATER_MS = 2**42
DAY = date(2026, 11, 28)
OURS = 2 * EURO
"""What everything() lets the bridge's own channel move in OTHER's book."""


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture(scope="module")
def lived(room: StoreRoom) -> Life:
    """A life that is over: what it wrote is read by many tests, and changed by none."""
    life = Life(room)
    life.everything()
    return life


def take(database: Engine, batches: list[Batch], rules: intake.Rules = RULES) -> intake.Done:
    with writing(database) as work:
        return intake.take(work, rules, batches, now_ms())


def rows(database: Engine, table: Any, *of: Any) -> list[Any]:
    with reading(database) as look:
        return list(look.execute(select(table).where(*of).order_by(table.c[next(iter(table.c.keys()))])))


def sold(database: Engine, life: Life) -> None:
    sold_to(database, life, ONE_OF, OTHER)
    sold_to(database, life, PREPAID, mode="prepaid")


# ---------------------------------------------------------------- pure


def test_lines_and_payments_of_every_kind_of_record_are_what_it_did_to_the_book(lived: Life) -> None:
    seen: set[type] = set()
    actions: set[int] = set()
    before: dict[str, int] = {}
    for partition, found in lived.stream().items():
        paid: set[str] = set()
        for entry in found:
            record = entry.record()
            seen.add(type(record))
            if isinstance(record, Epoch):
                continue
            made = usage.lines_of(record, partition, entry.id, RULES.service, paid)
            payments = usage.payments_of(record, partition, entry.id, paid)
            paid |= {f"{each.channel} {each.id}" for each in payments}
            balance = record.credits_micros - record.posted_micros
            moved = sum(each.amount_micros for each in payments) - sum(each.amount_micros for each in made)
            assert moved == usage.movement_micros(record)
            assert balance - before.get(record.account, 0) == moved, record
            before[record.account] = balance
            actions |= {record.kind} if isinstance(record, Moved) else set()
    assert seen >= {Charge, Topup, Account, Epoch, Rows, Moved}
    assert actions == set(map(int, ActionKind)) - {ActionKind.TOPUP, ActionKind.REFUND}


def test_what_was_called_abroad_free_or_unknown_has_its_class(lived: Life) -> None:
    found = {
        line.key.partition(" ")[2]: line
        for partition, listed in lived.stream().items()
        for entry in listed
        for line in usage.lines_of(entry.record(), partition, entry.id, RULES.service)
    }
    call, message = found["rf cscf;a"], found["rf smsc;a"]
    assert (call.usage_class, call.zone, call.units, call.at_ms - call.started_ms) == (
        "voice",
        "fixed",
        200,
        200_000,
    )
    assert (message.usage_class, message.units) == ("sms", 2)
    charge = next(
        each.record() for each in lived.stream()[lived.accounts[ONE_OF].profile.partition]
        if isinstance(each.record(), Charge) and each.record().lines[0].posted_units  # type: ignore[union-attr]
    )  # fmt: skip
    assert isinstance(charge, Charge)
    (abroad,) = usage.lines_of(charge._replace(facts=",world,,"), 0, "1-1", RULES.service)
    (unknown,) = usage.lines_of(charge._replace(facts=",?"), 0, "1-1", RULES.service)
    (elsewhere,) = usage.lines_of(charge._replace(tariff="gone@9"), 0, "1-1", RULES.service)
    assert (abroad.usage_class, unknown.usage_class, elsewhere.usage_class) == (
        "roaming-data",
        "roaming-data",
        "data",
    )


def test_a_session_that_expires_and_a_text_that_is_none_move_nothing_and_break_nothing() -> None:
    expired = Expire("a", 3, 1, "s", 5, 0, "", 0, 0, 10, 4, 0)
    assert usage.lines_of(expired, 0, "1-1", RULES.service) == ()
    assert usage.movement_micros(expired) == 0
    assert usage.clean("a\x00b\udcffc") == "a\\x00b\\udcffc"
    long = usage.clean("x" * 300)
    assert len(long) == 120
    assert long != usage.clean("x" * 301)


def held(
    number: int, mode: str = "postpaid", subscriber: str = "b", until: int | None = None, account: int = 1
) -> Held:
    end = None if until is None else DAY + timedelta(until)
    return Held(number, account, 1, mode, "49170", "b", subscriber, DAY - timedelta(100), end)


@pytest.mark.parametrize(
    ("services", "path", "usage_", "found"),
    [
        ([], "b", True, Why.UNKNOWN),
        ([held(1)], "b", True, 1),
        ([held(1)], "b/m", True, 1),  # the account's own has what its members do
        ([held(1), held(2, subscriber="b/m")], "b/m", True, 2),
        ([held(1, subscriber="b/n"), held(2, subscriber="b/m")], "b/x", True, Why.SEVERAL),
        ([held(1, subscriber="b/n")], "b/x", True, Why.UNKNOWN),
        ([held(1, subscriber="b/n"), held(2, subscriber="b/m")], "b", False, 1),
        ([held(1, subscriber="b/n"), held(2, subscriber="b/m", account=2)], "b", False, Why.SEVERAL),
        ([held(1, "prepaid")], "b", True, Why.PREPAID),
        ([held(1, "hybrid")], "b", True, 1),
        ([held(1, "prepaid", until=-5), held(2)], "b", True, 2),
        ([held(1, until=0)], "b", True, 1),  # a session that ran on over the end
        ([held(1, until=-1)], "b", True, 1),
        ([held(1, until=-2)], "b", True, Why.NOT_RUNNING),
        ([held(1, until=0), held(2, "prepaid")], "b", True, Why.PREPAID),
    ],
)  # fmt: skip
def test_usage_is_the_services_that_ran_on_its_day(
    services: list[Held],
    path: str,
    usage_: bool,  # noqa: FBT001 - a column of the table
    found: object,
) -> None:
    got = service_for(services, path, DAY, usage=usage_)
    assert (got.id if isinstance(got, Held) else got) == found


# ---------------------------------------------------------------- taken in


def test_everything_that_moves_a_book_is_taken_once_and_the_book_is_what_the_journal_says(
    database: Engine, lived: Life
) -> None:
    sold(database, lived)
    done = take(database, lived.batches())
    first = end_state(database)
    assert (done.lines, done.payments, done.parked, done.own, done.alarms) == (19, 4, 2, 2, 0)
    assert does_not_hold(database, lived, ONE_OF, OTHER, ours=OURS) == []
    assert rows(database, outbox) == [], "the book has all of it"

    again = take(database, lived.batches())

    assert (again.lines, again.repeated) == (0, done.records)
    assert end_state(database) == first


def test_records_of_a_book_that_nobody_knows_wait_in_order_and_are_taken_when_its_service_comes(
    database: Engine, lived: Life
) -> None:
    sold(database, lived)
    take(database, lived.batches())
    parked = rows(database, rejected)
    assert [(each.why, each.state) for each in parked] == [(Why.UNKNOWN, "parked"), (Why.BEHIND, "parked")]
    sold_to(database, lived, NOBODYS)
    late = lived.batches()
    for each in late:  # what comes before the next try waits behind
        with writing(database) as work:
            work.execute(places.update().values(last_id="1-3").where(places.c.partition == each.partition))
    with writing(database) as work:
        work.execute(rejected.delete().where(rejected.c.why == Why.BEHIND))
    take(database, [each for each in late if each.partition == lived.accounts[NOBODYS].profile.partition])
    assert [each.why for each in rows(database, rejected, rejected.c.state == "parked")][-1] == Why.BEHIND
    with writing(database) as work:
        done, last = intake.replay(work, RULES, now_ms())
    with writing(database) as work:
        assert intake.replay(work, RULES, now_ms(), last) == (intake.Done(), 0)
    assert done.lines == 2
    assert {each.state for each in rows(database, rejected)} == {"taken"}
    assert does_not_hold(database, lived, ONE_OF, OTHER, NOBODYS, ours=OURS) == []


def test_what_a_book_had_before_its_first_record_is_an_opening_for_a_human(
    database: Engine, lived: Life
) -> None:
    sold(database, lived)
    partition = lived.accounts[OTHER].profile.partition
    whole = lived.stream()[partition]
    take(database, [Batch(partition, tuple(whole[9:]))])  # the group began late
    (opening,) = rows(database, entries, entries.c.kind == "opening")
    assert opening.key == f"opening:{lived.book(OTHER)}"
    assert does_not_hold(database, lived, OTHER, ours=OURS) == []
    assert rows(database, alarms) == []


def test_holes_and_books_that_do_not_add_up_are_alarms_that_stay(database: Engine, lived: Life) -> None:
    sold(database, lived)
    partition = lived.accounts[OTHER].profile.partition
    whole = lived.stream()[partition]
    hole = Break(partition, whole[5].id, whole[8].id, Loss.MISSING)
    take(database, [Batch(partition, tuple(whole[:6]))])
    for _ in range(2):
        take(database, [Batch(partition, tuple(whole[8:]), hole)])
    missing, difference = rows(database, alarms)
    lost = sum(usage.movement_micros(each.record()) for each in whole[6:8])
    assert lost != 0
    assert (missing.kind, missing.after_id, missing.next_id) == ("missing", whole[5].id, whole[8].id)
    assert (difference.kind, difference.book, difference.difference_micros) == (
        "difference",
        lived.book(OTHER),
        lost,
    )
    take(database, [Batch(partition, (), Break(partition, whole[-1].id, "1-3", Loss.UNDONE))])
    assert [each.kind for each in rows(database, alarms)] == ["missing", "difference", "undone"]
    with reading(database) as look:
        assert open_alarms(look) == {"missing": 1, "difference": 1, "undone": 1}
        assert intake.places_of(look)[partition] == whole[-1].id, "a place never goes back"


def test_a_key_that_another_record_has_is_kept_for_a_human_and_told(database: Engine, lived: Life) -> None:
    sold(database, lived)
    partition = lived.accounts[OTHER].profile.partition
    whole = lived.stream()[partition]
    used = next(each for each in whole if usage.lines_of(each.record(), 0, each.id, RULES.service))
    again = used._replace(id="1-900")
    take(database, [Batch(partition, tuple(whole))])
    before = len(rows(database, lines))
    take(database, [Batch(partition, (again,))])
    assert len(rows(database, lines)) == before
    (double,) = rows(database, rejected, rejected.c.why == Why.DOUBLE)
    assert (double.place, double.replayable) == ("1-900", 0)
    (alarm,) = rows(database, alarms)
    assert -alarm.difference_micros == -usage.movement_micros(used.record())


def test_octets_that_are_no_record_and_classes_that_nobody_knows_are_parked_and_the_rest_goes_on(
    database: Engine, lived: Life
) -> None:
    sold(database, lived)
    partition = lived.accounts[OTHER].profile.partition
    whole = lived.stream()[partition]
    broken = whole[0]._replace(octets=b"\x93\x63\x01")
    fewer = RULES._replace(classes={name: of for name, of in RULES.classes.items() if name != "product"})
    take(database, [Batch(partition, (broken, *whole[1:]))], fewer)
    found = rows(database, rejected)
    assert [each.why for each in found][:2] == [Why.UNREADABLE, Why.CLASS]
    with reading(database) as look:
        assert parked_by_reason(look) == {
            ("stream", Why.UNREADABLE): 1,
            ("stream", Why.CLASS): 1,
            ("stream", Why.BEHIND): len(found) - 2,
        }
    assert {each.why for each in found[2:]} == {Why.BEHIND}
    with writing(database) as work:
        done, _ = intake.replay(work, RULES, now_ms())
    assert done.lines == len(found) - 1
    assert [each.state for each in rows(database, rejected)] == ["parked"] + ["taken"] * (len(found) - 1)
    with writing(database) as work:
        assert [drop(work, found[0].id, 1), drop(work, found[0].id, 2), drop(work, found[1].id, 3)] == [
            True,
            False,
            False,
        ]
        assert (parked_by_reason(work), open_alarms(work)) == ({}, {}), "what waits is no difference"
    assert does_not_hold(database, lived, OTHER, ours=OURS) == []


# ---------------------------------------------------------------- for the run


def test_sums_claims_and_what_comes_too_late(database: Engine, lived: Life) -> None:
    sold(database, lived)
    take(database, lived.batches())
    with reading(database) as look:
        (account,) = {
            each.billing_account for each in rows(database, lines, lines.c.book == lived.book(ONE_OF))
        }
        before = usage_sums(look, account, LATER_MS)
        assert usage_sums(look, account, 0) == []
        data = next(each for each in before if each.usage_class == "data")
    assert (data.count, data.amount_micros) == (4, 10_742 + 50_781 + 6_836 + 19_532)
    call = rows(database, lines, lines.c.usage_class == "voice")[0]
    with writing(database) as work:
        work.execute(lines.update().where(lines.c.id == call.id).values(at_ms=1_000))
        claimed = claim_for_bill(work, 7, account, LATER_MS, 2_000)
        assert claimed == (len(rows_of(work, account)) - 1, 1)
        assert claim_for_bill(work, 8, account, LATER_MS, 2_000) == (0, 0), "a line is on one bill at most"
        assert usage_sums(work, account, LATER_MS) == []
        assert [each.usage_class for each in usage_sums(work, account, LATER_MS, bill=7)] == [
            each.usage_class for each in before if each.usage_class != "voice"
        ]
        assert held_late(work) == (1, 120_000)
        assert unbill(work, 7, account) == claimed[0]
        assert let_go(work, [call.id, data.service + 10_000]) == 1
        assert claim_for_bill(work, 9, account, LATER_MS, 2_000) == (claimed[0] + 1, 0)
        assert usage_sums(work, account, LATER_MS, bill=9) == before


def rows_of(work: Any, account: int) -> list[Any]:
    return list(work.execute(select(lines.c.id).where(lines.c.billing_account == account)))


# ---------------------------------------------------------------- priced again


def test_priced_again_the_difference_is_posted_once_and_goes_to_the_book(
    database: Engine, lived: Life
) -> None:
    sold(database, lived)
    take(database, lived.batches())
    (call,) = rows(database, lines, lines.c.usage_class == "voice")
    with writing(database) as work:
        assert rerate(work, "r1", call.key, 90_000, "wrong zone", DAY, 5_000) == (-30_000, True)
        assert rerate(work, "r1", call.key, 90_000, "wrong zone", DAY, 6_000) == (-30_000, False)
        assert rerate(work, "r2", call.key, 95_000, "and again", DAY, 6_000) == (5_000, True)
        assert rerate(work, "r3", call.key, 95_000, "nothing", DAY, 6_000) == (0, False)
    corrections = rows(database, lines, lines.c.corrects == call.id)
    assert [(each.amount_micros, each.units, each.text) for each in corrections] == [
        (-30_000, 0, "wrong zone"),
        (5_000, 0, "and again"),
    ]
    assert [(each.book, each.amount_micros) for each in rows(database, outbox)] == [
        (call.book, 30_000),
        (call.book, -5_000),
    ]
    made = rows(
        database, postings, postings.c.entry.in_(select(entries.c.id).where(entries.c.kind == "rerate"))
    )
    assert [(each.debit, each.credit, each.amount_micros, each.of_class) for each in made] == [
        (Ledger.REVENUE, Ledger.UNBILLED, 30_000, "voice"),
        (Ledger.UNBILLED, Ledger.REVENUE, 5_000, "voice"),
    ]
    with writing(database) as work:
        for name, key, match in (
            ("r1", call.key, "has posted"),
            ("r4", "nobody's", "no such"),
            ("r4", corrections[0].key, "is a correction"),
            ("", call.key, "a name"),
        ):
            with pytest.raises(RerateFault, match=match):
                rerate(work, name, key, 1, "why", DAY, 1)
    assert rows(database, books)[0].sequence is not None
