"""Recorded sessions on another tariff: what they would cost, what cannot be told, and how much is kept meanwhile."""

from typing import Any

import pytest

from ocs.charging.replay import Compared, Replay, Sum
from ocs.rating.numbering import Numbering, read_numbering
from ocs.rating.rerate import Why
from ocs.rating.tariff import Tariff, read_tariff
from ocs.records import Charge, Expire, Line, Record, SessionState
from ocs.units import Unit

INITIAL, UPDATE, TERMINATION, EVENT = 1, 2, 3, 4
OPEN, CLOSED = SessionState.OPEN, SessionState.CLOSED
DAWN_MS = 1_795_000_000_000
LATE_MS = 300_000


def plan(table: str) -> dict[str, Numbering]:
    text = 'numbering: n\ncountry_code: "49"\nzones: [near, far]\nprefixes: p\n'
    return {"n": read_numbering(text, "n.yaml", {"p": f"prefix,zone\n{table}"})}


PLANS = plan("49,near\n1,far\n")


def tariff(body: str, version: int = 1, plans: dict[str, Numbering] = PLANS) -> Tariff:
    return read_tariff(f"tariff: t\nversion: {version}\ncurrency: EUR\n{body}", "t.yaml", plans)


def flat(service: str, unit: str, price: str, version: int = 1, more: str = "") -> Tariff:
    return tariff(
        f'services:\n  {service}: {{unit: {unit}, {more}steps: [{{block: 1, price: "{price}", per: 1}}]}}\n',
        version,
    )


CALLS = flat("voice", "seconds", "0.01")
ZONED = tariff(
    "numbering: n\nrates:\n"
    '  - {name: near, service: voice, zones: [near], steps: [{block: 1, price: "0.01", per: 1}]}\n'
    '  - {name: far, service: voice, zones: [far], steps: [{block: 1, price: "0.50", per: 1}]}\n'
)


class Session:
    """Writes the records of one session of one service, as the store would."""

    def __init__(
        self, on: Tariff, *, facts: str = "", unit: int = Unit.SECONDS, name: str = "s", account: str = "a"
    ) -> None:
        self.on, self.facts, self.unit, self.name, self.account = on, facts, unit, name, account
        self.records: list[Record] = []
        self.number = 0
        self.position = 0
        self.at_ms = DAWN_MS

    def add(
        self,
        kind: int,
        used: int,
        micros: int,
        granted: int = 60,
        mark: str = "",
        *,
        odd: int = 0,
        state: int = OPEN,
        pass_s: int = 0,
    ) -> "Session":
        self.at_ms += 1000 * pass_s
        self.position += used
        line = Line(
            "", self.unit, 14, used, odd, self.position, micros, 0, granted, 0, f"1:{mark}", micros, 0
        )
        self.records.append(
            Charge(
                self.account, 1, self.at_ms, self.at_ms, self.name, kind, self.number, 14, 0, self.on.key, 0, 0, 0, state,
                self.facts, "", 0, 0, 0, (line,),
            )
        )  # fmt: skip
        self.number += 1
        return self

    def call(self, used: int, micros: int, mark: str = "") -> "Session":
        """A whole call: opened, reported once, ended without more."""
        self.add(INITIAL, 0, 0)
        self.add(UPDATE, used, micros, mark=mark, pass_s=used)
        return self.add(TERMINATION, 0, 0, 0, mark, state=CLOSED)


def replay(other: Tariff, *sessions: Session, known: bool = True) -> Compared:
    tariffs = {session.on.key: session.on for session in sessions} if known else {}
    made = Replay(other, tariffs.get, lambda _key: True, LATE_MS)
    for session in sessions:
        for record in session.records:
            made.add(record)
    made.end_partition()
    return made.found


def apart(found: Compared) -> dict[Why, int]:
    assert found.accounts == {}
    return {why: each.paid_micros for why, each in found.apart.items()}


def test_a_session_is_priced_on_both_tariffs_by_account_and_service() -> None:
    dearer = flat("voice", "seconds", "0.03", 2, 'connect_fee: "0.10", ')
    found = replay(
        dearer,
        Session(CALLS, name="1").call(10, 100_000),
        Session(CALLS, name="2").call(20, 200_000),
        Session(CALLS, name="3", account="b").call(1, 10_000),
    )
    assert found.accounts == {"a": Sum(2, 300_000, 1_100_000), "b": Sum(1, 10_000, 130_000)}
    assert found.services == {"voice": Sum(3, 310_000, 1_230_000)}
    assert (found.sessions, found.apart, found.quarantined) == (3, {}, 0)


def one_time(on: Tariff, units: int, micros: int, *, name: str = "s") -> Session:
    """An event as the store records it; a refund has fewer than no units."""
    session = Session(on, name=name)
    session.add(EVENT, units, micros, max(0, units), state=CLOSED)
    return session


def test_an_event_is_compared_by_itself_and_ends_no_session_of_its_name() -> None:
    dearer = flat("voice", "seconds", "0.03", 2)
    session, event = Session(CALLS).add(INITIAL, 0, 0), one_time(CALLS, 7, 70_000)
    session.records += event.records
    session.add(UPDATE, 10, 100_000, pass_s=10).add(TERMINATION, 0, 0, 0, state=CLOSED)
    found = replay(dearer, session)
    assert found.accounts == {"a": Sum(2, 170_000, 510_000)}
    assert (found.sessions, found.apart) == (2, {})


def test_an_event_is_whole_in_the_other_tariffs_window() -> None:
    windowed = tariff(
        "calendar:\n  zone: UTC\n  default: night\n  windows: {day: [{days: [mon, tue, wed, thu, fri, sat, sun], from: '06:00', to: '18:00'}]}\n"
        "rates:\n  - name: r\n    service: voice\n    windows:\n"
        '      day: {steps: [{block: 1, price: "1.00", per: 1}]}\n      night: {steps: [{block: 1, price: "0.10", per: 1}]}\n',
        2,
    )
    found = replay(windowed, one_time(CALLS, 86_400, 864_000_000))
    assert found.accounts["a"].would_micros in {86_400_000_000, 8_640_000_000}


def test_what_a_refund_gave_back_is_told_apart() -> None:
    found = replay(flat("voice", "seconds", "0.03", 2), one_time(CALLS, -7, -70_000))
    assert apart(found) == {Why.REFUND: -70_000}


def test_interims_are_rounded_once_on_the_other_tariff_too() -> None:
    third = tariff('services: {voice: {unit: seconds, steps: [{block: 1, price: "0.000001", per: 3}]}}\n', 2)
    session = Session(CALLS).add(INITIAL, 0, 0)
    for _ in range(9):
        session.add(UPDATE, 1, 10_000)
    assert replay(third, session.add(TERMINATION, 0, 0, 0, state=CLOSED)).accounts == {"a": Sum(1, 90_000, 3)}


def test_seconds_are_cut_at_the_other_tariffs_windows() -> None:
    windowed = tariff(
        "calendar:\n  zone: UTC\n  default: night\n  windows: {day: [{days: [mon, tue, wed, thu, fri, sat, sun], from: '06:00', to: '18:00'}]}\n"
        "rates:\n  - name: r\n    service: voice\n    windows:\n"
        '      day: {steps: [{block: 1, price: "1.00", per: 1}]}\n      night: {steps: [{block: 1, price: "0.10", per: 1}]}\n',
        2,
    )
    assert windowed.calendar is not None
    edge_ms = windowed.calendar.next_edge_ms(DAWN_MS)
    assert edge_ms is not None
    by_day = windowed.calendar.names[windowed.calendar.window_at(edge_ms)] == "day"
    session = Session(CALLS)
    session.at_ms = edge_ms - 4_000
    session.add(INITIAL, 0, 0).add(UPDATE, 10, 100_000, pass_s=10).add(TERMINATION, 0, 0, 0, state=CLOSED)
    assert replay(windowed, session).accounts["a"].would_micros == (6_400_000 if by_day else 4_600_000)


def test_facts_that_a_session_kept_choose_the_rate_of_the_other() -> None:
    other = tariff(
        'numbering: n\nrates: [{name: both, service: voice, zones: [near, far], steps: [{block: 1, price: "0.02", per: 1}]}]\n',
        2,
    )
    found = replay(other, Session(ZONED, facts="far").call(10, 5_000_000, "far"))
    assert found.accounts == {"a": Sum(1, 5_000_000, 200_000)}


@pytest.mark.parametrize(
    ("other", "session", "why"),
    [
        (ZONED, Session(CALLS).call(10, 100_000), Why.FACTS),
        (flat("sms", "events", "0.01", 2), Session(CALLS).call(10, 100_000), Why.NO_RATE),
        (flat("data", "seconds", "0.01", 2), Session(flat("data", "octets", "0.01"), unit=Unit.OCTETS).call(10, 100_000), Why.UNIT),
        (CALLS, Session(CALLS).call(10, 100_001), Why.OTHERWISE),
        (CALLS, Session(ZONED, facts="far").call(10, 100_000, "near"), Why.OTHERWISE),
        (CALLS, Session(ZONED, facts="far,x,x,x,x,x,x").call(10, 100_000, "far"), Why.SERVICE),
        (
            tariff("numbering: n\n" + "rates: [{name: r, service: voice, zones: [near], free: true}]\n", 2, plan("49,near\n1,near\n")),
            Session(ZONED, facts="near").call(10, 100_000, "near"),
            Why.ZONES,
        ),
        (flat("voice", "seconds", "1000000.00", 2), Session(flat("voice", "seconds", "0.00")).call(2**40, 0), Why.LIMIT),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told_and_not_guessed(other: Tariff, session: Session, why: Why) -> None:
    found = replay(other, session)
    paid = sum(
        line.amount_micros for each in session.records if isinstance(each, Charge) for line in each.lines
    )
    assert apart(found) == {why: paid}
    assert found.services == {}


def test_two_services_that_a_record_cannot_tell_apart_are_not_guessed() -> None:
    both = tariff(
        'services:\n  sms: {unit: events, steps: [{block: 1, price: "0.01", per: 1}]}\n'
        '  mms: {unit: events, steps: [{block: 1, price: "0.01", per: 1}]}\n'
    )
    assert apart(replay(both, Session(both, unit=Unit.EVENTS).call(1, 10_000))) == {Why.SERVICE: 10_000}


def test_sessions_whose_beginning_or_tariff_is_not_on_record_are_counted_apart() -> None:
    begun = Session(CALLS).call(10, 100_000)
    del begun.records[0]
    assert apart(replay(CALLS, begun)) == {Why.BEGUN: 100_000}
    assert apart(replay(CALLS, Session(CALLS).call(10, 100_000), known=False)) == {Why.TARIFF: 100_000}


def test_a_missing_report_is_seen() -> None:
    session = Session(CALLS).add(INITIAL, 0, 0).add(UPDATE, 5, 50_000).add(UPDATE, 5, 50_000)
    session.add(TERMINATION, 1, 10_000, 0, state=CLOSED)
    del session.records[1]
    assert apart(replay(CALLS, session)) == {Why.OTHERWISE: 60_000}


def test_what_was_set_aside_is_counted_and_priced_by_nobody() -> None:
    session = Session(CALLS).add(INITIAL, 0, 0)
    session.add(UPDATE, 60, 600_000, odd=10**9, pass_s=1).add(TERMINATION, 0, 0, 0, state=CLOSED)
    found = replay(CALLS, session)
    assert (found.accounts, found.quarantined) == ({"a": Sum(1, 600_000, 600_000)}, 1)


def test_a_call_received_and_an_emergency_need_no_zone() -> None:
    for facts, mark in ((",,,,,incoming", "incoming voice"), ("emergency", "emergency voice")):
        assert replay(ZONED, Session(CALLS, facts=facts).call(10, 0, mark)).accounts == {"a": Sum(1, 0, 0)}


def test_late_usage_counts_with_its_session_and_sessions_are_let_go_after_it() -> None:
    made = Replay(CALLS, {CALLS.key: CALLS}.get, lambda _key: True, LATE_MS)

    def feed(*records: Any) -> int:
        for record in records:
            made.add(record)
        return made.sessions_kept

    late = Session(CALLS, name="late").add(INITIAL, 0, 0)
    assert feed(*late.records) == 1
    assert feed(Expire("a", 2, DAWN_MS + 1_000, "late", 0, 0, "", 0, 0, 0, 0, 0)) == 1
    late.records.clear()
    late.add(UPDATE, 10, 100_000, state=SessionState.EXPIRED, pass_s=200)
    assert feed(*late.records) == 1
    for each in range(1_000):
        session = Session(CALLS, name=f"s{each}")
        session.at_ms += 10_000 * each
        feed(*session.call(1, 10_000).records)
    assert made.sessions_kept <= LATE_MS // 10_000 + 2
    made.end_partition()
    assert made.found.accounts == {"a": Sum(1_001, 10_100_000, 10_100_000)}


def test_a_session_that_is_opened_anew_under_its_name_is_another() -> None:
    found = replay(CALLS, Session(CALLS).call(10, 100_000), Session(CALLS).call(5, 50_000))
    assert (found.accounts, found.sessions) == ({"a": Sum(2, 150_000, 150_000)}, 2)


# ---------------------------------------------------------------- beside the price


def _with(session: Session, place: int, **changes: Any) -> Session:
    """The session with one record's line changed."""
    record = session.records[place]
    assert isinstance(record, Charge)
    session.records[place] = record._replace(lines=(record.lines[0]._replace(**changes),))
    return session


def test_units_of_allowances_are_nobodys_price() -> None:
    session = Session(CALLS).add(INITIAL, 0, 0).add(UPDATE, 40, 100_000, pass_s=50)
    session.add(TERMINATION, 0, 0, 0, state=CLOSED)
    found = replay(flat("voice", "seconds", "0.03", 2), _with(session, 1, allowance_units=30, position=10))
    assert found.accounts == {"a": Sum(1, 100_000, 300_000)}


def test_what_restricted_money_paid_is_not_compared() -> None:
    session = _with(Session(CALLS).call(10, 100_000), 1, priced_micros=150_000)
    assert apart(replay(CALLS, session)) == {Why.ROWS: 100_000}


def test_a_rate_that_counts_days_is_not_compared() -> None:
    other = tariff(
        'zone: UTC\nrates: [{name: r, service: voice, cap_per_day: {amount: "1.00", then: free}, '
        'steps: [{block: 1, price: "0.01", per: 1}]}]\n',
        2,
    )
    assert apart(replay(other, Session(CALLS).call(10, 100_000))) == {Why.COUNTERS: 100_000}


def test_a_grant_of_a_request_that_came_late_is_compared_only_where_no_fact_matters() -> None:
    def late(on: Tariff, unit: int, micros: int) -> Session:
        session = Session(on, unit=unit).add(INITIAL, 0, 0, 0)
        session.number = 5
        session.add(UPDATE, 0, 0, 0)
        session.number = 3
        session.add(UPDATE, 0, 0)
        session.number = 6
        return session.add(TERMINATION, 10, micros, 0, state=CLOSED)

    octets = flat("data", "octets", "0.01")
    assert replay(octets, late(octets, Unit.OCTETS, 100_000)).accounts == {"a": Sum(1, 100_000, 100_000)}
    assert apart(replay(CALLS, late(CALLS, Unit.SECONDS, 100_000))) == {Why.LATE: 100_000}
