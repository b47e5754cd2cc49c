"""Notices from records: each thing is told once, under the same id however often and in whatever order records are met again."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocs import records
from ocs.notices.derive import Allowance, Known, Rules, derive, opened_in, rows_of
from ocs.notices.notice import FACTS, TYPES, Notice, read_notice, write_notice
from ocs.records import ENDED, RESTARTED, SILENT, SessionState, Status

M = 1_000_000
RULES = Rules((1 * M, 5 * M), (80, 100), "EUR")
NOTHING = Known({}, {})
LINE = records.Line("10", 1, 2001, 1, 0, 1, 0, 0, 0, 0, "", 0, 0)
PROFILE = (
    '["49170","","flat","prepaid","EUR",[[7,"day-pass@1",5000,90000,false],[3,"smart-m@1",0,80000,true]],0]'
)


def charge(balance: int, *amounts: int, **fields: Any) -> records.Charge:
    """A charge that took these amounts, in micro-units, and left this balance."""
    lines = tuple(LINE._replace(amount_micros=each) for each in amounts)
    made = records.Charge(
        "acc", 9, 1_000, 1_000, "gw;1", 2, 1, 2001, 0, "flat@1", 20 * M, 20 * M - balance, 0, SessionState.OPEN, "", "", 0, 0, 0, lines
    )  # fmt: skip
    return made._replace(**fields)


def rows(cause: str, price: int = 0, version: int = 8, profile: str = PROFILE, **fields: Any) -> records.Rows:
    made = records.Rows("acc", 9, 1_000, cause, price, profile, version, "", 0, 0, 20 * M, 5 * M, 0, ())
    return made._replace(**fields)


def account(status: Status, sequence: int = 5, member: str = "") -> records.Account:
    return records.Account("acc", sequence, 1_000, 2, int(status), 0, "[]", member, 0, 0, 0, 0)


def told(record: records.Record, known: Known = NOTHING, entry_id: str = "1-9") -> list[Notice]:
    return list(derive(3, entry_id, record, RULES, known).notices)


def kinds(found: list[Notice]) -> list[str]:
    return [each.type for each in found]


def test_a_balance_that_falls_below_a_threshold_is_low_once() -> None:
    found = told(charge(4_999_999, M, 1))
    assert kinds(found) == ["balance.low"]
    assert found[0].facts == {"threshold": "5.00", "balance": "4.999999", "currency": "EUR"}
    assert (found[0].id, found[0].account, found[0].partition) == ("3.1-9.balance.low", "acc", 3)
    assert told(charge(4 * M, M - 1)) == [], "it was below before"
    assert told(charge(5 * M, 2 * M)) == [], "at the threshold is not below it"
    assert told(charge(4 * M, -M)) == [], "a refund brings it up"


def test_of_several_thresholds_the_lowest_that_was_passed_is_told() -> None:
    assert told(charge(M // 2, 9 * M))[0].facts["threshold"] == "1.00"


def test_a_product_that_is_bought_may_make_the_balance_low() -> None:
    found = told(rows("bought web order-1", 12 * M, credits_micros=14 * M, posted_micros=13 * M - 1))
    assert kinds(found) == ["product.bought", "balance.low"]
    assert found[0].facts == {
        "product": "day-pass@1", "number": 7, "until": "1970-01-01T00:01:30.000Z", "channel": "web", "id": "order-1", "price": "12.00",
        "currency": "EUR",
    }  # fmt: skip


def test_products_are_told_by_what_became_of_them() -> None:
    renewed = told(rows("renewed smart-m@1 3 0", M))
    assert (kinds(renewed), renewed[0].facts["until"]) == (["product.renewed"], "1970-01-01T00:01:20.000Z")
    assert kinds(told(rows("lapsed smart-m@1 3"))) == ["product.lapsed"]
    assert kinds(told(rows("cancelled smart-m@1 3"))) == ["product.cancelled"]
    assert kinds(told(rows("bonus till:1"))) == ["bonus.given"]
    ended = told(rows("ended smart-m@1 3 day-pass@1 7"))
    assert [(each.type, each.facts["number"]) for each in ended] == [
        ("product.ended", 3),
        ("product.ended", 7),
    ]
    assert len({each.id for each in ended}) == 2


def test_a_topup_is_told_with_whose_it_was_and_what_there_is_after_it() -> None:
    found = told(records.Topup("acc", 2, 1_000, "till", "x1", 10 * M, 0, 10 * M, 2 * M, 0))
    assert found[0].facts == {
        "channel": "till",
        "id": "x1",
        "amount": "10.00",
        "balance": "8.00",
        "currency": "EUR",
    }
    assert found[0].described()["data"] == {"account": "acc", **found[0].facts}


def test_sessions_end_for_a_reason() -> None:
    expire = records.Expire("acc", 3, 1_000, "rf gw;1", 0, SILENT, "m", 0, 0, 0, 0, 0)
    reasons = {SILENT: "supervision", ENDED: "operator", RESTARTED: "restart"}
    for forced, reason in reasons.items():
        found = told(expire._replace(forced=forced))
        assert (found[0].facts["reason"], found[0].account) == (reason, "acc/m")
        assert found[0].facts["application"] == "accounting"
        assert found[0].facts["session"] == "gw;1"
    normal = told(charge(9 * M, kind=3, state=SessionState.CLOSED))
    assert normal[0].facts["reason"] == "normal"
    assert told(charge(9 * M, kind=records.EVENT, state=SessionState.CLOSED)) == [], "an event is no session"


# -- allowances

ROW = ("acc", 7 * 32, 5_000)
KNOWN = Known({ROW: Allowance(1_000, 1, 90_000, "day-pass@1")}, {})


def part(taken: int, used_after: int, **fields: Any) -> records.Taken:
    return records.Taken(1, 0, 1, 7 * 32, 5_000, taken, used_after)._replace(**fields)


def test_an_allowance_is_told_at_each_percentage_once_in_its_period() -> None:
    used, found = 0, []
    for taken in (100, 600, 99, 1, 50, 149, 1, 0):
        used += taken
        found += told(charge(9 * M, parts=(part(taken, used),)), KNOWN, f"1-{used}")
    assert [each.facts["percent"] for each in found] == [80, 100]
    assert found[0].id == f"allowance.used.acc.{7 * 32}.5000.80"
    assert found[0].facts["used"] == 800
    assert found[0].facts["product"] == "day-pass@1"


def test_a_jump_over_both_percentages_is_told_as_the_last() -> None:
    assert [each.facts["percent"] for each in told(charge(9 * M, parts=(part(1_000, 1_000),)), KNOWN)] == [
        100
    ]


def test_passing_a_percentage_again_after_a_refund_has_the_same_id() -> None:
    first = told(charge(9 * M, parts=(part(800, 800),)), KNOWN, "1-1")
    assert told(charge(9 * M, kind=4, parts=(part(-10, 790),)), KNOWN, "1-2") == []
    assert told(charge(9 * M, parts=(part(10, 800),)), KNOWN, "1-3")[0].id == first[0].id


def test_counters_what_rolled_over_and_what_nobody_knows_are_not_told() -> None:
    for other in (
        part(1_000, 1_000, kind=3, id=2**31),
        part(1_000, 1_000, id=7 * 32 + 1),
        part(900, 900, id=99 * 32),
    ):
        assert told(charge(9 * M, parts=(other,)), KNOWN) == []


def test_a_members_own_allowance_is_the_members_and_a_shared_one_the_accounts() -> None:
    record = charge(9 * M, member="kid", parts=(part(1, 1, own=1), part(1, 1)))
    assert [path for path, _ in rows_of(record)] == ["acc/kid", "acc"]
    opened = rows("bought x", member="kid", rows=(records.Opened(1, 7 * 32, 1, 5_000, 90_000, 1_000, 0, 0),))
    assert list(opened_in(opened)) == [
        (("acc/kid", 7 * 32, 5_000), Allowance(1_000, 1, 90_000, "day-pass@1"))
    ]


# -- bars


def follow(steps: list[tuple[str, records.Record]], marks: dict[str, str]) -> Iterator[Notice]:
    for entry_id, record in steps:
        derived = derive(3, entry_id, record, RULES, Known({}, marks))
        yield from derived.notices
        marks |= derived.marks


def test_a_bar_is_told_once_and_its_end_once_whatever_else_is_amended() -> None:
    statuses = [Status.ACTIVE, Status.BARRED, Status.BARRED, Status.ACTIVE, Status.ACTIVE, Status.TERMINATED]
    steps: list[tuple[str, records.Record]] = [
        (f"1-{number}", account(each)) for number, each in enumerate(statuses, 1)
    ]
    found = list(follow(steps, {}))
    assert [(each.type, each.id) for each in found] == [
        ("account.barred", "3.1-2.account.barred"),
        ("account.unbarred", "3.1-4.account.unbarred"),
        ("account.terminated", "3.1-6.account.terminated"),
    ]


def test_a_member_that_is_barred_is_not_its_payer() -> None:
    steps: list[tuple[str, records.Record]] = [
        ("1-1", account(Status.BARRED, member="kid")),
        ("1-2", account(Status.ACTIVE)),
    ]
    assert [(each.type, each.account) for each in follow(steps, {})] == [("account.barred", "acc/kid")]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, records.Record]]:
    """A partition's records, as charging could have written them: balances and used units chain."""
    steps: list[tuple[str, records.Record]] = []
    posted = used = 0
    for number in range(1, draw(st.integers(1, 25)) + 1):
        kind = draw(st.sampled_from(["charge", "status", "topup", "rows"]))
        record: records.Record
        if kind == "charge":
            cost, taken = draw(st.integers(0, 8 * M)), draw(st.integers(0, 400))
            posted, used = posted + cost, used + taken
            record = charge(20 * M - posted, cost, parts=(part(taken, used),))
        elif kind == "status":
            record = account(draw(st.sampled_from([Status.ACTIVE, Status.BARRED])))
        elif kind == "topup":
            record = records.Topup("acc", number, 1_000, "till", f"x{number}", M, 0, M, 0, 0)
        else:
            record = rows(draw(st.sampled_from(["bought a", "renewed smart-m@1 3 0", "lapsed smart-m@1 3"])))
        steps.append((f"1-{number}", record))
    return steps


@given(histories(), st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=8))
def test_any_replays_give_each_notice_once_in_effect(
    steps: list[tuple[str, records.Record]], replays: list[tuple[int, int]]
) -> None:
    """A consumer dies anywhere behind its last acknowledgement, again and again; marks it has written stay, as notices do."""

    def effect(found: list[Notice]) -> dict[str, Notice]:
        by_id: dict[str, Notice] = {}
        for each in found:
            assert by_id.setdefault(each.id, each).type == each.type
        return by_id

    def derived(steps: list[tuple[str, records.Record]], marks: dict[str, str]) -> list[Notice]:
        found: list[Notice] = []
        for entry_id, record in steps:
            known = Known(KNOWN.allowances, marks)
            one = derive(3, entry_id, record, RULES, known)
            found += one.notices
            marks |= one.marks
        return found

    once = derived(steps, {})
    marks: dict[str, str] = {}
    again: list[Notice] = []
    for start, end in replays:
        # from what was acknowledged at most, on to where it dies
        first = min(start, len(steps))
        again += derived(steps[: max(first, min(end, len(steps)))], marks)
    again += derived(steps, marks)
    assert effect(again).keys() == effect(once).keys()
    assert all(effect(again)[name] == each for name, each in effect(once).items())
    assert len(effect(once)) == len(once), "nothing is told twice on one straight way"


@given(histories())
def test_low_is_told_exactly_where_the_balance_crosses_downwards(
    steps: list[tuple[str, records.Record]],
) -> None:
    charges = [record for _id, record in steps if isinstance(record, records.Charge)]
    balances = [20 * M, *(each.credits_micros - each.posted_micros for each in charges)]
    crossings = sum(
        any(after < low <= before for low in RULES.low_micros) for before, after in pairwise(balances)
    )
    found = [each for record in charges for each in told(record, KNOWN) if each.type == "balance.low"]
    assert len(found) == crossings


@given(histories())
def test_every_notice_is_of_a_known_type_has_known_facts_and_survives_the_store(
    steps: list[tuple[str, records.Record]],
) -> None:
    for entry_id, record in steps:
        for each in derive(3, entry_id, record, RULES, KNOWN).notices:
            assert each.type in TYPES
            assert each.facts.keys() <= FACTS
            assert read_notice(write_notice(each)) == each


def moved(kind: records.ActionKind, credited: int = 0, taken: int = 0, held: int = 0) -> records.Moved:
    return records.Moved(
        "acc", 9, 1_000, int(kind), "till", "a1", "", "", "", credited, taken, held, 0, 0, 20 * M + credited, 10 * M + taken, held
    )  # fmt: skip


def test_what_an_action_moved_is_told_by_its_kind() -> None:
    kind = records.ActionKind
    for record, verb, amount in (
        (moved(kind.ADJUST, credited=2 * M), "adjusted", "2.00"),
        (moved(kind.ADJUST, taken=2 * M), "adjusted", "-2.00"),
        (moved(kind.TRANSFER, taken=M), "transferred", "-1.00"),
        (moved(kind.TRANSFER, credited=M), "transferred", "1.00"),
        (moved(kind.RESERVE, held=3 * M), "reserved", "3.00"),
        (moved(kind.RESERVE, taken=M), "settled", "1.00"),
        (moved(kind.REVERSAL, credited=-M), "reversed", "-1.00"),
    ):
        (found,) = told(record)
        assert (found.type, found.facts["amount"]) == (f"balance.{verb}", amount)
        assert (found.facts["channel"], found.facts["id"]) == ("till", "a1")


def test_what_an_action_takes_can_bring_the_balance_low() -> None:
    assert kinds(told(moved(records.ActionKind.ADJUST, taken=6 * M))) == ["balance.adjusted", "balance.low"]


def test_a_reservation_whose_time_came_is_settled_and_no_session_that_ended() -> None:
    name = records.reservation("till", "a1")
    record = records.Expire("acc", 9, 1_000, name, M, SILENT, "", 0, 0, 20 * M, 10 * M, 0)
    (found,) = told(record)
    assert (found.type, found.facts["amount"], found.facts["id"]) == ("balance.settled", "0.00", "a1")
