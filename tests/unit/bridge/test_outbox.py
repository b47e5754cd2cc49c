"""What bills and payments move reaches the charging server's accounts: in order, once, whatever happens on the way."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from ocs.balance.asked import Asked
from ocs.balance.link import LinkLost
from ocs.limits import TOPUP_KEPT_MS, TOPUP_MICROS_MAX
from ocs.records import ActionKind
from ocs.sql import reading, writing
from postpaid_bridge.jobs.outbox import Settings
from postpaid_bridge.outbox import CERTAIN_MS, CHANNEL, parts_of, pause_ms, row_key
from postpaid_bridge.sql import outbox
from postpaid_bridge.sql.journal import outbox as table
from tests.bridge_scene import EURO, FLOOR, ONE_OF, OTHER, Life, now_ms, sold_to
from tests.charged_store import StoreRoom, store_room
from tests.outbox_scene import QUICK, Listening, booked, box_of, entry, held, rows
from tests.real_valkey import RealValkey


@pytest.fixture(scope="module")
def room() -> Iterator[StoreRoom]:
    with RealValkey() as server, store_room(server) as opened:
        yield opened


@pytest.fixture
def life(room: StoreRoom, database: Engine) -> Life:
    made = Life(room)
    sold_to(database, made, ONE_OF, OTHER)
    return made


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**15))
def test_parts_of_an_amount_add_up_to_it_fit_and_have_ids_of_their_own(micros: int, most: int) -> None:
    most = max(most, abs(micros) // 1_000 + 1)
    found = parts_of("j7-1", micros, most)
    assert sum(each for _, each in found) == micros
    assert all(0 < abs(each) <= most for _, each in found)
    assert len({name for name, _ in found}) == len(found)
    assert {row_key(name) for name, _ in found} <= {"j7-1"}


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause_ms(tries, 5_000) for tries in (1, 2, 3, 4, 400)] == [1_000, 2_000, 4_000, 5_000, 5_000]


def test_what_is_posted_moves_the_book_once_below_its_floor_too_and_gives_the_room_back(
    database: Engine, life: Life
) -> None:
    book = life.book(ONE_OF)
    over = -FLOOR + 5 * EURO
    booked(database, entry("rent", "r", book, over))
    box = box_of(database, life)
    assert life.room.run(box.once()) == 1
    assert life.balance(ONE_OF) == -over == -held(database, book)
    assert life.look(ONE_OF).book.available_micros <= 0
    booked(database, entry("payment", "p", book, over - EURO))
    assert life.room.run(box.once()) == 1
    assert life.balance(ONE_OF) == -EURO == -held(database, book)
    assert life.look(ONE_OF).book.available_micros == -FLOOR - EURO, "the limit's room is back"
    assert life.room.run(box.once()) == 0, "nothing twice"
    done = life.room.run(life.actions.find(CHANNEL, rows(database)[0].key))
    assert (done.asked.kind, done.asked.reason, done.asked.is_due) == (ActionKind.ADJUST, "rent r", True)


def test_rows_of_a_book_go_out_in_their_order_and_books_beside_each_other(
    database: Engine, life: Life
) -> None:
    one, other = life.book(ONE_OF), life.book(OTHER)
    for number in range(6):
        booked(
            database, entry("rent", f"a{number}", one, 10 + number), entry("rent", f"b{number}", other, 20)
        )
    heard = Listening(life.actions)
    assert life.room.run(box_of(database, life, actions=heard).once()) == 12
    for book in (one, other):
        keys = [each.key for each in rows(database) if each.book == book]
        assert [each.id for each in heard.asked if each.account == book] == keys
    assert [each.account for each in heard.asked[:2]] != [one, one], "no book waits for another"


def test_more_than_one_action_may_move_is_as_many_as_it_takes(database: Engine, life: Life) -> None:
    micros = 2 * TOPUP_MICROS_MAX + 3
    booked(database, entry("write-off", "w", life.book(ONE_OF), micros))
    assert life.room.run(box_of(database, life).once()) == 1
    assert life.balance(ONE_OF) == micros
    key = rows(database)[0].key
    moved = [life.room.run(life.actions.find(CHANNEL, f"{key}.{n}")).asked.amount for n in (1, 2, 3)]
    assert moved == [TOPUP_MICROS_MAX, TOPUP_MICROS_MAX, 3]


def test_a_row_that_fails_holds_up_its_book_alone_and_waits_longer_each_time(
    database: Engine, life: Life
) -> None:
    one, other = life.book(ONE_OF), life.book(OTHER)
    booked(database, entry("rent", "a", one, 7), entry("rent", "b", one, 8), entry("payment", "c", other, 9))

    def cut(asked: Asked) -> None:
        if asked.account == one:
            raise LinkLost("the link is lost")

    box = box_of(database, life, Settings(1, 5, 60, 1), Listening(life.actions, cut))
    life.room.run(box.once())
    first, behind, _ = rows(database)
    assert (first.tries, first.fault, first.lease_ms) == (1, "the link is lost", 0)
    assert (behind.tries, behind.lease_ms) == (0, 0)
    assert first.due_ms - life.charged.clock.now_ms() == 1_000
    life.room.run(box.once())
    assert life.balance(OTHER) == 9, "the other book is not held up for longer"
    assert rows(database)[0].tries == 1, "it is not due"
    life.charged.clock.wall_ms += 1_000
    life.room.run(box.once())
    again = rows(database)[0]
    assert (again.tries, again.due_ms - life.charged.clock.now_ms()) == (2, 2_000)
    with writing(database) as work:
        work.execute(update(table).values(due_ms=0))
    life.charged.clock.wall_ms = now_ms()
    assert life.room.run(box_of(database, life).once()) == 2
    assert life.balance(ONE_OF) == -15


def test_what_the_store_refuses_is_kept_with_its_reason_holds_nobody_up_and_goes_when_a_human_says_so(
    database: Engine, life: Life
) -> None:
    booked(database, entry("rent", "a", "nowhere", 5), entry("rent", "b", life.book(ONE_OF), 6))
    booked(database, entry("rent", "c", life.book(ONE_OF), 7))
    where = life.accounts[ONE_OF].profile
    taken = Asked(ActionKind.ADJUST, CHANNEL, rows(database)[1].key, where.partition, where.path, 1_000)
    life.room.run(life.actions.do(taken))  # an id of ours with other content
    box = box_of(database, life)
    assert life.room.run(box.once()) == 1
    lost, other, fine = rows(database)
    assert (lost.fault, lost.done_ms) == ("the charging server has no such account", None)
    assert (other.fault, other.done_ms) == ("its id has other content in the charging server", None)
    assert fine.done_ms is not None
    with reading(database) as look:
        assert outbox.standing_of(look) == outbox.Standing(0, 0, 0, 2)
        assert [each["id"] for each in outbox.listed(look, 9)] == [lost.id, other.id]
    assert life.room.run(box.once()) == 0, "nothing refused is asked again by itself"
    with writing(database) as work:
        assert outbox.again(work, [lost.id], life.charged.clock.now_ms()) == 1
        work.execute(update(table).where(table.c.id == lost.id).values(book=life.book(OTHER)))
    assert life.room.run(box.once()) == 1
    assert life.balance(OTHER) == -5
    assert rows(database)[0].fault == ""


def test_what_was_begun_too_long_ago_is_done_where_it_is_known_and_else_a_humans(
    database: Engine, life: Life
) -> None:
    assert CERTAIN_MS < TOPUP_KEPT_MS
    book = life.book(ONE_OF)
    booked(database, entry("rent", "a", book, 5), entry("rent", "b", book, 6), entry("rent", "c", book, 7))
    known, unknown, _ = rows(database)
    where = life.accounts[ONE_OF].profile
    asked = Asked(
        ActionKind.ADJUST, CHANNEL, known.key, where.partition, where.path, -5, is_due=True, reason="rent a"
    )
    life.room.run(life.actions.do(asked))
    with writing(database) as work:
        long_ago = life.charged.clock.now_ms() - CERTAIN_MS
        work.execute(update(table).where(table.c.id.in_([known.id, unknown.id])).values(begun_ms=long_ago))
    life.room.run(box_of(database, life).once())
    first, second, third = rows(database)
    assert first.done_ms is not None
    assert "not known to be done" in second.fault
    assert second.done_ms is None
    assert third.done_ms is not None, "what was never begun is posted, however old it is"
    assert life.balance(ONE_OF) == -12


def test_two_at_once_post_everything_once_and_each_book_in_order(database: Engine, life: Life) -> None:
    books = [life.book(ONE_OF), life.book(OTHER)]
    for number in range(30):
        booked(database, entry("rent", f"k{number}", books[number % 2], 1 << number % 20))

    async def together() -> None:
        boxes = [box_of(database, life, Settings(1, 30, 1, 0.01)) for _ in range(3)]
        for _ in range(40):
            await asyncio.gather(*(each.once() for each in boxes))

    life.room.run(together())
    assert all(each.done_ms is not None for each in rows(database))
    assert [life.balance(msisdn) for msisdn in (ONE_OF, OTHER)] == [-held(database, each) for each in books]


def test_who_has_rows_has_them_until_the_lease_ends(database: Engine, life: Life) -> None:
    booked(database, entry("rent", "a", life.book(ONE_OF), 5))
    with writing(database) as work:
        assert outbox.take(work, 1_000, 2_000, 9)
        booked_later = outbox.take(work, 1_999, 2_999, 9)
        assert booked_later == {}
    booked(database, entry("rent", "b", life.book(ONE_OF), 5))
    with writing(database) as work:
        assert outbox.take(work, 1_999, 2_999, 9) == {}, "what came behind waits too"
        (of_book,) = outbox.take(work, 2_000, 3_000, 9).values()
        assert [each.begun_ms for each in of_book] == [1_000, 2_000]


def test_a_store_that_is_away_is_waited_for(database: Engine, life: Life) -> None:
    booked(database, entry("rent", "a", life.book(ONE_OF), 5))
    box = box_of(database, life, QUICK)
    server = life.room.server

    async def through_a_stop() -> None:
        running = asyncio.create_task(box.run())
        while rows(database)[0].done_ms is None:
            if box.totals.fault:
                server.resume()
            await asyncio.sleep(0.02)
        box.stop()
        await running

    server.pause()
    life.room.run(through_a_stop())
    assert life.balance(ONE_OF) == -5
    assert box.totals.fault == ""
