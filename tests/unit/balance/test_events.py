"""One-time events on a real store: debited once, refunded at most as much, and no session is touched."""

from collections.abc import Iterator
from typing import Any

import pytest

from ocs import records
from ocs.balance.audit import audit
from ocs.charging.ask import (
    CHECK_BALANCE,
    DIRECT_DEBITING,
    EVENT,
    INITIAL,
    PRICE_ENQUIRY,
    REFUND_ACCOUNT,
    TERMINATION,
    AskedService,
    Event,
    Units,
)
from ocs.charging.event import Debited, write_refund_information
from ocs.charging.outcome import Cost, Outcome
from ocs.limits import DEBIT_KEPT_MS, DEBITS_LISTED_MAX, EVENT_KEPT_MS, REFUSED_EVENT_KEPT_MS
from ocs.names import E164, SubscriberId
from ocs.outcomes import Code, Note
from ocs.records import SessionState
from tests.real_valkey import RealValkey
from tests.unit.balance.books import MIB, Network, network

DAY_MS = 86_400_000


@pytest.fixture
def net(valkey: RealValkey) -> Iterator[Network]:
    with network(valkey) as opened:
        yield opened


def asked(
    net: Network,
    action: int,
    number: int = 0,
    units: int | None = None,
    *,
    session: str = "e;1",
    refund: bytes = b"",
) -> Any:
    """An event of rating group 10; without units it leaves them to the server."""
    wanted = Units() if units is None else Units(octets=units)
    ask = net.asked(EVENT, number, session=session)
    digest = hash((action, units, refund)) % 2**48
    service = AskedService("10", 10, None, None, wanted)
    return ask._replace(services=(service,), digest=digest, event=Event(action, refund))


def event(net: Network, action: int, number: int = 0, units: int | None = None, **more: Any) -> Outcome:
    done: Outcome = net.run(net.charged.charge(asked(net, action, number, units, **more)))
    return done


def debit(net: Network, number: int = 0, units: int | None = MIB, session: str = "e;1") -> Outcome:
    return event(net, DIRECT_DEBITING, number, units, session=session)


def refund(
    net: Network, number: int = 1, units: int | None = None, session: str = "e;1", **more: Any
) -> Outcome:
    return event(net, REFUND_ACCOUNT, number, units, session=session, **more)


def everything(net: Network) -> dict[bytes, bytes]:
    names = net.run(net.charged.store.execute(0, "KEYS", "*"))
    return {name: net.run(net.charged.store.execute(0, "DUMP", name)) for name in sorted(names)}


def charges(net: Network) -> list[records.Charge]:
    seen = net.run(net.charged.look(net.partition, ["x"]))
    return [each for each in seen.records if isinstance(each, records.Charge)]


def assert_clean(net: Network) -> None:
    assert net.run(audit(net.charged.parts)).faults == []


def life_ms(net: Network, name: str) -> int:
    keys = net.charged.parts.keys[net.partition]
    return int(net.execute("PTTL", keys.event(name)))


# ---------------------------------------------------------------- debits


def test_a_debit_takes_its_price_at_once_and_holds_nothing(net: Network) -> None:
    outcome = debit(net, units=2 * MIB + 1)

    assert (outcome.code, outcome.notes) == (Code.SUCCESS, Note(0))
    assert outcome.event is not None
    assert [each.granted for each in outcome.event.services] == [2 * MIB + 1]
    book = net.book()
    assert (book.balance_micros, book.pending_micros, book.sessions_open) == (970_000, 0, 0)
    assert_clean(net)


def test_a_debit_beyond_the_usual_most_is_debited_in_full(net: Network) -> None:
    assert debit(net, units=50 * MIB).code is Code.SUCCESS
    assert net.book().balance_micros == 500_000


def test_nothing_asked_is_the_usual_most(net: Network) -> None:
    outcome = debit(net, units=None)

    assert outcome.event is not None
    assert outcome.event.services[0].granted == 10 * MIB
    assert net.book().balance_micros == 900_000


def test_what_cannot_be_paid_in_full_debits_nothing(net: Network) -> None:
    outcome = debit(net, units=100 * MIB + 1)

    assert outcome.code is Code.CREDIT_LIMIT
    assert net.book().balance_micros == 1_000_000
    assert [line.posted_units for line in charges(net)[-1].lines] == [0]
    assert_clean(net)


def test_a_repetition_gets_the_same_answer_and_another_content_a_conflict(net: Network) -> None:
    first = debit(net)
    before = everything(net)

    assert debit(net) == first._replace(notes=Note.REPLAY)
    assert debit(net, units=2 * MIB).code is Code.CONFLICT
    assert event(net, REFUND_ACCOUNT, 0, MIB).code is Code.CONFLICT
    assert everything(net) == before


def test_a_refused_debit_is_refused_again_and_another_number_is_another_event(net: Network) -> None:
    assert debit(net, units=101 * MIB).code is Code.CREDIT_LIMIT
    net.run(net.charged.accounts.topup(net.account, 1_000_000, "till", "second"))

    assert debit(net, units=101 * MIB).code is Code.CREDIT_LIMIT
    assert debit(net, 1, units=101 * MIB).code is Code.SUCCESS


def test_an_event_touches_no_session_of_its_session_id(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB, session="e;1")

    assert debit(net, 0).code is Code.SUCCESS
    assert refund(net, 1).code is Code.SUCCESS
    assert_clean(net)
    assert net.book().pending_micros == 20_000
    ended = net.ask(TERMINATION, 1, used=MIB, session="e;1")
    assert (ended.code, net.book().balance_micros) == (Code.SUCCESS, 990_000)
    assert_clean(net)


def test_an_event_is_on_record_as_a_charge_that_left_nothing_open(net: Network) -> None:
    debit(net, 3, units=MIB + 1)

    (record,) = charges(net)
    assert (record.kind, record.number, record.state) == (EVENT, 3, SessionState.CLOSED)
    (line,) = record.lines
    assert (line.posted_units, line.amount_micros, line.granted_units, line.hold_micros) == (
        MIB + 1,
        20_000,
        MIB + 1,
        0,
    )


def test_a_debit_is_remembered_for_thirty_days_a_refund_for_one_and_what_debited_nothing_for_minutes(
    net: Network,
) -> None:
    debit(net, 0)
    debit(net, 1, units=1000 * MIB)
    refund(net, 2)

    assert DEBIT_KEPT_MS == 30 * DAY_MS
    assert EVENT_KEPT_MS == DAY_MS
    assert REFUSED_EVENT_KEPT_MS == 300_000
    lives = [life_ms(net, Debited("e;1", number).name) for number in range(3)]
    assert [round(life / DAY_MS) for life in lives] == [30, 0, 1]
    assert 0 < lives[1] <= REFUSED_EVENT_KEPT_MS


def test_a_refused_debit_that_is_forgotten_is_judged_anew_and_counts_once(net: Network) -> None:
    assert debit(net, 1, units=200 * MIB).event is not None
    name = net.charged.parts.keys[net.partition].event(Debited("e;1", 1).name)
    assert net.execute("DEL", name) == 1
    net.run(net.charged.accounts.topup(net.account, 5_000_000, "till", "second"))
    for _ in range(2):
        assert debit(net, 1, units=200 * MIB).code is Code.SUCCESS
    assert net.book().balance_micros == 4_000_000
    assert_clean(net)


def test_who_is_unknown_is_not_looked_for_where_a_session_was_opened(net: Network) -> None:
    net.ask(INITIAL, 0, wants=2 * MIB, session="e;1")
    nobody, stranger = asked(net, DIRECT_DEBITING), asked(net, DIRECT_DEBITING)
    nobody, stranger = nobody._replace(ids=()), stranger._replace(ids=(SubscriberId(E164, "491700000099"),))

    assert net.run(net.charged.charge(nobody)).code is Code.UNKNOWN_SUBSCRIBER
    assert net.run(net.charged.charge(stranger)).code is Code.UNKNOWN_SUBSCRIBER
    assert net.book().balance_micros == 1_000_000


# ---------------------------------------------------------------- enquiries


@pytest.mark.parametrize(("units", "enough"), [(100 * MIB, True), (100 * MIB + 1, False)])
def test_a_check_says_whether_everything_could_be_paid_and_moves_nothing(
    net: Network, units: int, *, enough: bool
) -> None:
    debit(net, 9, units=1)
    refund(net, 10)
    before = everything(net)

    outcome = event(net, CHECK_BALANCE, 0, units)

    assert outcome.code is Code.SUCCESS
    assert outcome.event is not None
    assert (outcome.event.services[0].code == Code.SUCCESS) == enough
    assert everything(net) == before


def test_a_price_is_told_whether_it_can_be_paid_or_not_and_moves_nothing(net: Network) -> None:
    debit(net, 9, units=1)
    before = everything(net)

    outcome = event(net, PRICE_ENQUIRY, 0, 500 * MIB + 1)

    assert outcome.code is Code.SUCCESS
    assert outcome.event is not None
    assert outcome.event.costs == (Cost(5_010_000, 0),)
    assert everything(net) == before


# ---------------------------------------------------------------- refunds


def test_a_refund_gives_back_what_the_debit_took(net: Network) -> None:
    debit(net, 0, units=2 * MIB + 1)

    assert refund(net).code is Code.SUCCESS
    assert net.book().balance_micros == 1_000_000
    record = charges(net)[-1]
    assert (record.kind, record.facts, record.lines[0].amount_micros) == (EVENT, "0:e;1", -30_000)
    assert_clean(net)


def test_a_part_is_worth_what_the_units_that_stay_do_not_cost(net: Network) -> None:
    debit(net, 0, units=2 * MIB + 1)

    refund(net, 1, units=1)
    assert net.book().balance_micros == 980_000
    refund(net, 2, units=MIB // 2)  # within a block that was begun
    assert net.book().balance_micros == 980_000
    refund(net, 3)
    assert net.book().balance_micros == 1_000_000


def test_no_more_is_refunded_than_is_left(net: Network) -> None:
    debit(net, 0, units=MIB)
    before = everything(net)

    assert refund(net, 1, units=MIB + 1).code is Code.LIMIT
    assert everything(net) == before
    assert refund(net, 2, units=MIB).code is Code.SUCCESS
    assert refund(net, 3, units=1).code is Code.LIMIT
    assert refund(net, 4).code is Code.LIMIT
    assert net.book().balance_micros == 1_000_000


def test_a_refund_said_again_is_the_same_refund(net: Network) -> None:
    debit(net, 0, units=2 * MIB)
    first = refund(net, 1, units=MIB)

    assert refund(net, 1, units=MIB) == first._replace(notes=Note.REPLAY)
    assert net.book().balance_micros == 990_000


def test_refund_information_says_which_debit_is_meant(net: Network) -> None:
    debit(net, 0, units=MIB, session="old")
    debit(net, 0, units=5 * MIB, session="new")
    token = write_refund_information(asked(net, DIRECT_DEBITING, 0, session="old"))

    assert refund(net, 0, session="r;1", refund=token).code is Code.SUCCESS
    assert net.book().balance_micros == 950_000


@pytest.mark.parametrize(
    "octets", [b"x", b"\x01\x00\x00\x00\x07e;1", b"\x02\x00\x00\x00\x00e;1", b"\x01\x00\x00\x00\x00\xff"]
)
def test_what_is_no_refund_information_of_ours_refunds_nothing(net: Network, octets: bytes) -> None:
    debit(net, 0, units=MIB)

    assert refund(net, 1, refund=octets).code is Code.LIMIT
    assert net.book().balance_micros == 990_000


def test_refund_information_of_another_subscriber_refunds_nothing(net: Network) -> None:
    debit(net, 0, units=MIB)
    other = net.run(net.charged.subscriber("491700000002", "", "flat-data"))
    partitions = {net.partition, other.profile.partition}
    token = write_refund_information(asked(net, DIRECT_DEBITING, 0))
    ask = asked(net, REFUND_ACCOUNT, 0, session="r;1", refund=token)

    assert len(partitions) == 1, "or it would prove nothing"
    assert (
        net.run(net.charged.charge(ask._replace(ids=(SubscriberId(E164, "491700000002"),)))).code
        is Code.LIMIT
    )
    assert net.book().balance_micros == 990_000


def test_a_refund_that_names_no_debit_is_refused_and_said_again_under_another_session_too(
    net: Network,
) -> None:
    debit(net, 0, units=MIB, session="first")
    debit(net, 0, units=MIB, session="second")
    token = write_refund_information(asked(net, DIRECT_DEBITING, 0, session="first"))
    before = everything(net)

    assert refund(net, 0, units=MIB, session="r;1").code is Code.LIMIT
    assert refund(net, 0, units=MIB, session="r;2").code is Code.LIMIT
    assert everything(net) == before
    assert refund(net, 0, units=MIB, session="r;1", refund=token).code is Code.SUCCESS
    assert net.book().balance_micros == 990_000


def newest_meant(net: Network) -> None:
    book: Any = net.charged.book
    book.rules = book.rules._replace(refunds_newest=True)


def test_where_config_says_so_the_newest_debit_with_enough_left_is_meant(net: Network) -> None:
    newest_meant(net)
    debit(net, 0, units=5 * MIB, session="older")
    debit(net, 0, units=2 * MIB, session="newer")

    assert refund(net, 0, units=3 * MIB, session="r;1").code is Code.SUCCESS
    assert charges(net)[-1].facts == "0:older"


def test_a_session_id_that_debited_means_its_own_debits_and_no_others(net: Network) -> None:
    debit(net, 0, units=5 * MIB, session="other")
    debit(net, 0, units=MIB, session="e;1")
    debit(net, 1, units=2 * MIB, session="e;1")

    assert refund(net, 2, units=2 * MIB).code is Code.SUCCESS
    assert charges(net)[-1].facts == "1:e;1"
    assert refund(net, 3, units=MIB).code is Code.SUCCESS
    assert charges(net)[-1].facts == "0:e;1"
    assert refund(net, 4, units=1).code is Code.LIMIT
    newest_meant(net)
    assert refund(net, 5, units=1).code is Code.LIMIT


def test_the_list_of_debits_is_short_and_the_session_id_finds_what_it_lost(net: Network) -> None:
    debit(net, 0, units=MIB, session="lost")
    for number in range(DEBITS_LISTED_MAX):
        debit(net, number, units=1, session="many")
    keys = net.charged.parts.keys[net.partition]
    newest_meant(net)

    assert net.execute("LLEN", keys.debits(net.account.profile.path)) == DEBITS_LISTED_MAX
    assert refund(net, 0, units=MIB, session="r;1").code is Code.LIMIT
    assert refund(net, 1, units=MIB, session="lost").code is Code.SUCCESS


def test_a_debit_of_another_service_is_not_meant(net: Network) -> None:
    debit(net, 0, units=MIB)
    other = asked(net, REFUND_ACCOUNT, 1)
    service = AskedService("11", 11, None, None, Units())

    assert net.run(net.charged.charge(other._replace(services=(service,)))).code is Code.LIMIT
    assert net.run(net.charged.charge(other._replace(number=2, family="sms"))).code is Code.LIMIT
    assert net.book().balance_micros == 990_000
