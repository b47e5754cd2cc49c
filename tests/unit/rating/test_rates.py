from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.ladder import ORIGIN, CapMode, advance, ladder, total
from ocs.rating.numbering import EMERGENCY, read_numbering
from ocs.rating.rates import ANYTHING, Conditions, Facts, Piece, Rate
from ocs.rating.tariff import Tariff, TariffError, read_tariff
from ocs.units import Unit

PLANS = {
    "sample": read_numbering(
        'numbering: sample\ncountry_code: "49"\nzones: [near, far]\nprefixes: p\nroaming_zones: [home, eu]\nnetworks: n\n',
        "sample.yaml",
        {"p": "prefix,zone\n49,near\n1,far\n", "n": "network,zone\n262,home\n208,eu\n"},
    )
}
HEAD = """
tariff: sample
version: 1
currency: EUR
numbering: sample
calendar:
  zone: Europe/Berlin
  default: idle
  windows:
    peak: [{days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00"}]
    late: [{days: [mon, tue, wed, thu, fri], from: "18:00", to: "20:00"}]
rates:
"""
SECOND = 'steps: [{block: 1, price: "1.00", per: second}]'
CALLS = f"""
  - name: calls
    service: voice
    windows:
      peak: {{connect_fee: "5.00", {SECOND}}}
      late: {{steps: [{{block: 1, price: "0.50", per: second}}]}}
      idle: {{steps: [{{block: 1, price: "0.50", per: second}}]}}
"""


def tariff(*rates: str) -> Tariff:
    return read_tariff(HEAD + "\n".join(rates), "t.yaml", PLANS)


def faults(*rates: str, before: str = "", after: str = "") -> list[str]:
    with pytest.raises(TariffError) as told:
        read_tariff(HEAD.replace(before, after, 1) + "\n".join(rates), "t.yaml", PLANS)
    return told.value.problems


def calls() -> Rate:
    found = tariff(CALLS).rate(Facts("voice"))
    assert found is not None
    return found


FAR_MS = 2**50


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 1000


def name_of(on: Tariff, facts: Facts) -> str | None:
    found = on.rate(facts)
    return found.name if found else None


def one(name: str, conditions: str, service: str = "voice") -> str:
    return f"  - {{name: {name}, service: {service}, {conditions}, free: true}}"


def test_the_first_rate_whose_every_condition_holds_is_the_one() -> None:
    on = tariff(
        one("abroad", "roaming: [eu]"),
        one("near-group", "zones: [near], rating_groups: [1, 2]"),
        one("near", "zones: [near]"),
        one("rest", "called_parties: [international]"),
    )
    told = [
        Facts("voice", "near", "eu", 1),
        Facts("voice", "near", rating_group=2),
        Facts("voice", "near", rating_group=3),
        Facts("voice", "near"),
        Facts("voice", "far", called_party="international"),
        Facts("voice", "far"),
        Facts("voice", None, None),
        Facts("sms", "near"),
    ]
    names = ["abroad", "near-group", "near", "near", "rest", None, None, None]
    assert [name_of(on, facts) for facts in told] == names
    assert [name_of(on, facts) for facts in told] == names  # remembered, and still the same


@pytest.mark.parametrize(
    ("condition", "fact"),
    [
        ("access: [nr]", {"access": "nr"}),
        ("apns: [ims]", {"apn": "ims"}),
        ("service_identifiers: [7]", {"service_identifier": 7}),
        ("called_parties: [short]", {"called_party": "short"}),
    ],
)
def test_every_kind_of_fact_may_be_a_condition(condition: str, fact: dict[str, str]) -> None:
    on = tariff(one("special", condition, "data"))
    assert name_of(on, Facts("data", **fact)) == "special"  # type: ignore[arg-type]
    assert name_of(on, Facts("data")) is None


def test_emergency_calls_are_free_in_every_tariff() -> None:
    for service in ("voice", "sms"):
        found = tariff(CALLS).rate(Facts(service, EMERGENCY, None))
        assert found is not None
        assert (found.emergency, total(found.ladders[0], advance(found.ladders[0], ORIGIN, 10**6))) == (
            True,
            0,
        )
    assert tariff(CALLS).rate(Facts("data", EMERGENCY)) is None


def test_windows_of_one_price_share_a_ladder_and_have_no_edge_between_them() -> None:
    on = calls()
    assert on.windows == ("peak", "late, idle")
    assert on.edge_after(ms("2026-02-05T09:00"), FAR_MS) == ms("2026-02-05T18:00")
    assert on.edge_after(ms("2026-02-05T18:00"), FAR_MS) == ms("2026-02-06T08:00")
    assert on.ladder_at(ms("2026-02-05T17:59")).fee_micros == 5_000_000
    assert on.ladder_at(ms("2026-02-05T18:00")).fee_micros == 0


def test_seconds_are_cut_exactly_at_the_edge_from_either_end() -> None:
    on = calls()
    start, end = ms("2026-02-05T17:59:30"), ms("2026-02-05T18:01:30")
    assert on.pieces(120, start_ms=start) == on.pieces_until(120, end) == [Piece(0, 30), Piece(1, 90)]
    assert on.pieces(120, start_ms=start + 1) == [Piece(0, 30), Piece(1, 90)]
    assert on.pieces(120, start_ms=start + 999) == [Piece(0, 30), Piece(1, 90)]
    assert on.pieces(120, start_ms=start + 1000) == [Piece(0, 29), Piece(1, 91)]
    assert on.pieces(0, start_ms=start) == []


def test_octets_belong_to_the_window_in_which_their_report_began() -> None:
    on = tariff(CALLS.replace("service: voice", "service: data, unit: octets").replace("per: second", "per: octet")
                .replace("service: data, unit: octets", "service: data\n    unit: octets")).rate(Facts("data"))  # fmt: skip
    assert on is not None
    assert on.unit == Unit.OCTETS
    assert on.pieces(10**6, start_ms=ms("2026-02-05T17:59:59")) == [Piece(0, 10**6)]
    assert on.pieces(10**6, start_ms=ms("2026-02-05T18:00")) == [Piece(1, 10**6)]
    assert on.edge_after(ms("2026-02-05T17:00"), FAR_MS) == ms("2026-02-05T18:00")


def test_one_price_everywhere_has_no_edge_and_one_piece() -> None:
    on = tariff(f"  - {{name: flat, service: voice, {SECOND}}}").rate(Facts("voice"))
    assert on is not None
    assert (on.edge_after(0, FAR_MS), on.pieces(10**6, start_ms=0)) == (None, [Piece(0, 10**6)])


def test_all_ladders_share_one_scale_and_those_of_a_rate_one_limit() -> None:
    third = CALLS.replace('price: "0.50", per: second', 'price: "0.50", per: 7', 1)
    on = tariff(third, '  - {name: m, service: sms, steps: [{block: 1, price: "1.00", per: 9}]}')
    ladders = [each for rate in (*on.choice.rates, *on.choice.emergency) for each in rate.ladders]
    assert {each.scale for each in ladders} == {63}
    alone = [ladder(list(each.steps), scale=each.scale).limit for each in on.choice.rates[0].ladders]
    assert len(set(alone)) == 3
    assert {each.limit for each in on.choice.rates[0].ladders} == {min(alone)}


def test_what_one_ladder_prices_is_offered_as_a_service_and_nothing_else() -> None:
    plain = f"  - {{name: flat, service: voice, {SECOND}}}"
    for change in (
        "description: x",
        'minimum: "2.00"',
        'cap_per_session: {amount: "9.00", then: disconnect}',
    ):
        (service,) = tariff(plain.replace("service: voice", f"service: voice, {change}")).services.items()
        assert service[0] == "voice"
    for change in (
        "roaming: [home]",
        "zones: [near]",
        "directions: [incoming]",
        "directions: [outgoing, incoming]",
    ):
        assert tariff(plain.replace("service: voice", f"service: voice, {change}")).services == {}
    assert set(tariff(CALLS).services) == set()
    assert set(tariff(one("chat", "rating_groups: [1]"), plain).services) == set()


def test_what_is_received_is_free_unless_a_rate_names_it() -> None:
    plain = f"  - {{name: flat, service: voice, {SECOND}}}"
    received = Facts("voice", direction="incoming")
    assert chosen(tariff(plain), received) == "incoming voice"
    assert chosen(tariff(plain), received._replace(zone=EMERGENCY)) == "emergency voice"
    both = f"  - {{name: received, service: voice, roaming: [eu], directions: [incoming], {SECOND}}}"
    assert chosen(tariff(both, plain), received) == "incoming voice"
    assert chosen(tariff(both, plain), received._replace(roaming="eu")) == "received"
    (fault,) = faults(
        f"  - {{name: flat, service: data, directions: [incoming], {SECOND.replace('second', 'MiB')}}}"
    )
    assert "data has no direction; strike it" in fault


def test_every_mark_finds_its_rate_and_ladder_again() -> None:
    on = tariff(one("chat", "rating_groups: [1]"), CALLS)
    rates = [*on.choice.rates, *on.choice.emergency, *on.choice.incoming]
    marks = {on.mark(rate, place): (rate, place) for rate in rates for place in range(len(rate.ladders))}
    assert {mark: on.marked(mark, found[0].service) for mark, found in marks.items()} == marks
    assert {"1:calls/0", "1:calls/1", "1:chat", "1:emergency sms", "1:incoming mms"} <= set(marks)
    assert [on.marked(each, "voice") for each in ("1:", "1:another", "2:chat", "")] == [None] * 4
    flat = tariff(f"  - {{name: flat, service: voice, {SECOND}}}")
    assert flat.marked("1:", "voice") == (flat.choice.rates[0], 0)


def test_a_rate_that_has_the_name_of_the_short_form_is_refused() -> None:
    text = f"  - {{name: voice, service: voice, zones: [near], {SECOND}}}\nservices:\n  voice: {{unit: seconds, {SECOND}}}"
    (fault,) = faults(text)
    assert "voice is another rate's name already" in fault


def chosen(on: Tariff, facts: Facts) -> str | None:
    found = on.rate(facts)
    return None if found is None else found.name


def test_a_cap_is_money_whatever_the_rounding() -> None:
    capped = f'  - {{name: flat, service: voice, round_to: "2.00", cap_per_session: {{amount: "9.00", then: free}}, {SECOND}}}'
    (rate,) = tariff(capped).choice.rates
    on = rate.ladders[0]
    assert on.cap_mode == CapMode.FREE
    assert [total(on, advance(on, ORIGIN, units)) for units in (7, 8, 9)] == [8_000_000, 8_000_000, 9_000_000]


@pytest.mark.parametrize(
    ("rates", "what"),
    [
        ([one("a", "roaming: [home]"), one("b", "roaming: [home], zones: [near]")], "b is never reached"),
        ([CALLS, one("b", "zones: [near]")], "b is never reached"),
        ([one("a", "access: [nr]"), one("b", "access: [eutran]"), one("c", "access: [nr, eutran]")], "c is never reached"),
        ([one("a", "zones: [near]"), one("b", "roaming: [eu]"), one("c", "zones: [near], roaming: [eu]")], "c is never"),
    ],
)  # fmt: skip
def test_a_rate_for_which_earlier_ones_leave_nothing_is_refused(rates: list[str], what: str) -> None:
    (told,) = faults(*rates)
    assert what in told


def test_rates_that_earlier_ones_leave_something_are_reached() -> None:
    on = tariff(
        one("a", "zones: [near], roaming: [home]"),
        one("b", "zones: [near, far], rating_groups: [1]"),
        one("c", "zones: [near], roaming: [eu]"),
        one("d", "zones: [near]"),
        one("e", "zones: [near]", "sms"),
    )
    assert len(on.choice.rates) == 5


def test_the_short_form_is_the_last_rate_of_its_service() -> None:
    short = 'services: {voice: {unit: seconds, steps: [{block: 1, price: "1.00", per: 1}]}}'
    on = tariff(one("near", "zones: [near]"), short)
    assert [name_of(on, Facts("voice", zone)) for zone in ("near", "far")] == ["near", "voice"]
    assert "voice is never reached" in faults(CALLS, short)[0]


@pytest.mark.parametrize(
    ("rate", "line", "what"),
    [
        (one("a", "zones: [nowhere]"), 13, "'nowhere' is no zone of sample; zones are far, near"),
        (one("a", "zones: [emergency]"), 13, "free in every tariff"),
        (one("a", "roaming: [moon]"), 13, "zones are eu, home"),
        (one("a", "access: [5g]"), 13, "Input should be"),
        (one("a", "zones: []"), 13, "at least 1 item"),
        (one("a", 'minimum: "1.00"'), 13, "what is free has no connect fee"),
        (f"  - {{name: a, service: voice, {SECOND}, free: true}}", 13, "write one of steps, windows or free"),
        ("  - {name: a, service: voice}", 13, "write one of steps, windows or free"),
        (f"  - {{name: a, service: voice, windows: {{peak: {{{SECOND}}}, late: {{free: true}}}}}}", 13, "no price in window idle"),
        (CALLS.replace("late:", "lunch:"), 18, "'lunch' is no window"),
        (f'  - {{name: a, service: voice, cap_per_day: {{amount: "0.00", then: free}}, {SECOND}}}', 13, "above zero"),
        (one("a", 'cap_per_day: {amount: "1.00", then: free}'), 13, "what is free has no cap and no tiers"),
        (one("a", "axis: period, period: day"), 13, "what is free has no cap and no tiers"),
        (f"  - {{name: a, service: voice, axis: period, {SECOND}}}", 13, "tiers by the usage of which period"),
        (f"  - {{name: a, service: voice, period: month, {SECOND}}}", 13, "a period belongs to axis: period"),
        (f"  - {{name: a, service: voice, priority: 0, {SECOND}}}", 13, "greater than or equal to 1"),
        (f"  - {{name: a, service: voice, priority: 10, {SECOND}}}", 13, "less than or equal to 9"),
        ('  - {name: a, service: sms, steps: [{block: minute, price: "1.00", per: 1}]}', 13, "a quantity of seconds"),
        ('  - {name: a, service: sms, steps: [{block: week, price: "1.00", per: 1}]}', 13, "'week' is no quantity"),
        ("  - {name: a, service: sms, steps: [{block: 1, price: 1.00, per: 1}]}", 13, "string"),
        (f'  - {{name: a, service: voice, cap_per_session: {{amount: "0.00", then: free}}, {SECOND}}}', 13, "above zero"),
        (one("a", "free: true, axis: session"), 13, "stands twice"),
    ],
)  # fmt: skip
def test_a_wrong_rate_is_told_with_its_line(rate: str, line: int, what: str) -> None:
    told = faults(rate)
    assert any(each.startswith(f"t.yaml:{line}: ") and what in each for each in told), told


def test_a_calendar_or_plan_that_is_missing_is_told() -> None:
    assert (
        "no numbering plan 'other'" in faults(CALLS, before="numbering: sample", after="numbering: other")[0]
    )
    assert (
        "of which numbering plan"
        in faults(one("a", "zones: [near]"), before="numbering: sample", after="")[0]
    )
    calendar = HEAD[HEAD.index("calendar:") : HEAD.index("rates:")]
    assert "windows of which calendar" in faults(CALLS, before=calendar, after="")[0]
    assert "t.yaml:10: " in faults(CALLS, before="mon, tue", after="mon, monday")[0]


def test_names_of_rates_are_their_own() -> None:
    told = faults(one("a", "zones: [near]"), one("a", "zones: [far]"))
    assert told == ["t.yaml:14: a is another rate's name already; choose one of its own"]


def test_a_rate_says_who_is_served_first_and_emergencies_are_before_all() -> None:
    on = tariff(
        f"  - {{name: first, service: voice, priority: 1, zones: [near], {SECOND}}}",
        f"  - {{name: rest, service: voice, {SECOND}}}",
    )
    assert [rate.priority for rate in on.choice.rates] == [1, 5]
    assert {rate.priority for rate in on.choice.emergency} == {0}
    assert {rate.priority for rate in on.choice.incoming} == {5}


def test_what_counts_on_something_is_never_offered_as_one_ladder() -> None:
    plain = f"  - {{name: flat, service: voice, {SECOND}}}"
    assert set(tariff(plain).services) == {"voice"}
    for change in ('cap_per_day: {amount: "9.00", then: free}', "axis: period, period: month"):
        on = tariff(plain.replace("service: voice", f"service: voice, {change}"))
        assert on.services == {}
        assert not on.choice.rates[0].plain


def test_conditions_meet_where_some_facts_hold_for_both() -> None:
    near, far = Conditions(zones=frozenset({"near"})), Conditions(zones=frozenset({"far"}))
    abroad = Conditions(roaming=frozenset({"eu"}))
    assert (near.meet(far), near.meet(abroad), near.meet(ANYTHING), near.meet(near)) == (
        False,
        True,
        True,
        True,
    )
    assert (near.named, ANYTHING.named) == (frozenset({"zone"}), frozenset())


# ---------------------------------------------------------------- what its client rates itself


BOUGHT = """
  - {name: shop, service: data, unit: money, rating_groups: [700], priority: 7, tax_class: reduced,
     cap_per_day: {amount: "50.00", then: disconnect}, cap_per_session: {amount: "9.00", then: disconnect}}
"""


@pytest.mark.parametrize("service", ["data", "voice", "sms", "mms"])
def test_any_service_may_be_rated_by_its_client_and_then_costs_itself(service: str) -> None:
    rate = tariff(f"  - {{name: shop, service: {service}, unit: money}}").rate(Facts(service))
    assert rate is not None
    (on,) = rate.ladders
    assert (rate.unit, rate.free, rate.plain) == (Unit.MONEY, False, False)
    for micros in (0, 1, 999_999, 2**50 - 1):
        assert total(on, advance(on, ORIGIN, micros)) == micros


def test_what_its_client_rates_may_be_capped_ordered_and_taxed() -> None:
    rate = tariff(BOUGHT).rate(Facts("data", rating_group=700))
    assert rate is not None
    assert (rate.priority, rate.tax_class, len(rate.counters)) == (7, "reduced", 1)
    assert (rate.ladders[0].cap_micros, rate.ladders[0].cap_mode) == (9_000_000, CapMode.STOP)


@pytest.mark.parametrize(
    "price",
    [
        'steps: [{block: 1, price: "1.00", per: 1}]', "free: true", 'connect_fee: "0.10"', 'minimum: "0.10"', 'round_to: "0.01"',
        "rounding: up", "axis: period", "period: day", "windows: {peak: {free: true}, late: {free: true}, idle: {free: true}}",
    ],
)  # fmt: skip
def test_what_its_client_rates_has_no_price_of_its_own(price: str) -> None:
    (fault,) = faults(f"  - {{name: shop, service: data, unit: money, {price}}}")
    assert "costs what the client says; strike " + price.partition(":")[0] in fault


@pytest.mark.parametrize("cap", ["cap_per_day", "cap_per_session"])
def test_no_cap_makes_free_what_a_client_has_rated(cap: str) -> None:
    (fault,) = faults(
        f'  - {{name: shop, service: data, unit: money, {cap}: {{amount: "5.00", then: free}}}}'
    )
    assert "write then: disconnect" in fault


def test_the_short_form_of_a_service_is_not_left_to_clients() -> None:
    text = 'tariff: t\nversion: 1\ncurrency: EUR\nservices:\n  sms: {unit: money, steps: [{block: 1, price: "1.00", per: 1}]}\n'
    with pytest.raises(TariffError, match="'octets', 'seconds' or 'events'"):
        read_tariff(text, "t.yaml")
