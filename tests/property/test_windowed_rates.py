"""Random rates with windows, minimum and cap: interims cost what their sum costs, pieces sum to the whole, lines to the cost."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocs.balance.model_prices import Price
from ocs.money import format_amount
from ocs.rating.ladder import (
    ORIGIN,
    CapMode,
    Ladder,
    LadderError,
    advance,
    affordable,
    total,
)
from ocs.rating.price import price
from ocs.rating.rates import CUT_BACK_S_MAX, PIECES_MAX, Conditions, Facts, Rate, unreachable
from ocs.rating.tariff import TariffError, read_tariff
from ocs.rating.windows import DAY_MS
from tests.property.ladders import ladder_of, positions, random_prices

FIRST_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1000
HEAD = """
tariff: t
version: 1
currency: EUR
calendar:
  zone: Europe/Berlin
  default: night
  windows: {day: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "06:00", to: "20:30"}], short: [{days: [mon, sat], from: "02:30:00", to: "02:30:07"}]}
"""
amounts = st.integers(0, 300_000).map(format_amount)
windows = st.tuples(st.sampled_from((1, 6, 7, 60)), amounts, st.sampled_from((1, 7, 60)), amounts)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    """A rate with a price for each of three windows, read from its text as any other."""
    lines = "".join(
        f'\n      {name}: {{connect_fee: "{fee}", steps: [{{block: {block}, price: "{price}", per: {per}}}]}}'
        for name in ("day", "night", "short")
        for block, price, per, fee in [draw(windows)]
    )
    cap = draw(st.sampled_from(("", 'cap_per_session: {amount: "9.00", then: free}', 'minimum: "0.25"')))
    text = f'{HEAD}rates:\n  - name: r\n    service: voice\n    round_to: "{draw(st.sampled_from(("0.000001", "0.01")))}"\n'
    text += f"    {cap}\n    windows:{lines}\n"
    try:
        found = read_tariff(text, "t.yaml").rate(Facts("voice"))
    except TariffError:
        assume(False)
        raise
    assert found is not None
    return found


starts = st.one_of(
    st.integers(FIRST_MS, FIRST_MS + 366 * DAY_MS),
    st.sampled_from(("2026-03-29T00:30", "2026-10-25T00:30", "2026-10-25T01:59:58")).map(
        lambda text: int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) + 137
    ),
)
lengths = st.one_of(st.integers(0, 300), st.integers(0, 30 * 3600), st.integers(0, 10**6))


@settings(max_examples=150)
@given(rates(), starts, lengths)
def test_the_pieces_sum_to_the_whole_from_either_end_and_begin_in_their_windows(
    rate: Rate, start_ms: int, units: int
) -> None:
    pieces = rate.pieces(units, start_ms=start_ms)
    assert sum(piece.units for piece in pieces) == units
    until = rate.pieces_until(units, start_ms + 1000 * units)
    assert sum(piece.units for piece in until) == units
    assert until == pieces or units > CUT_BACK_S_MAX or len(pieces) > PIECES_MAX == len(until)
    done = 0
    for index, used in pieces:
        assert used > 0
        assert rate.index_at(start_ms + 1000 * done) == index
        done += used
        assert rate.index_at(start_ms + 1000 * (done - 1)) == index


@settings(max_examples=150)
@given(rates(), starts, lengths, st.lists(st.integers(0, 10**6), max_size=5))
def test_interims_over_window_edges_never_change_the_total(
    rate: Rate, start_ms: int, units: int, cuts: list[int]
) -> None:
    whole = price(rate, units, start_ms)
    walk, posted = ORIGIN, 0
    for cut in [*sorted(cut % (units + 1) for cut in cuts), units]:
        begun_ms = start_ms + 1000 * walk.position
        on = rate.ladders[0]
        for index, used in rate.pieces(cut - walk.position, start_ms=begun_ms):
            on = rate.ladders[index]
            walk = advance(on, walk, used)
        amount = total(on, walk) - posted
        assert amount >= 0
        posted += amount
    assert (walk, posted) == (whole.walk, whole.cost_micros)


@settings(max_examples=150)
@given(rates(), starts, lengths, st.integers(0, 5_000))
def test_more_use_never_costs_less_and_lines_add_up(rate: Rate, start_ms: int, units: int, more: int) -> None:
    told = price(rate, units, start_ms)
    assert sum(line.amount_micros for line in told.lines) == told.cost_micros
    assert sum(line.units for line in told.lines) == told.units == units
    assert price(rate, units + more, start_ms).cost_micros >= told.cost_micros


@settings(max_examples=100)
@given(rates(), st.sampled_from((("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24))))
def test_a_day_of_23_or_25_hours_is_charged_its_seconds(rate: Rate, day: tuple[str, int]) -> None:
    midnight = datetime.fromisoformat(day[0]).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    start_ms, seconds = int(midnight.timestamp()) * 1000, day[1] * 3600
    day_s = int(14.5 * 3600)
    used = dict.fromkeys(rate.windows, 0)
    for index, units in rate.pieces(seconds, start_ms=start_ms):
        used[rate.windows[index]] += units
    assert sum(used.values()) == seconds
    if len(rate.ladders) == 3:
        assert used["day"] == day_s
    assert price(rate, seconds, start_ms).units == seconds


# ---------------------------------------------------------------- caps


@st.composite
def capped(draw: st.DrawFn) -> tuple[Ladder, Price]:
    """A ladder with a free-after cap, and what it was made of."""
    plain = draw(random_prices())
    quantum = plain.quantum_micros
    cap = quantum * draw(st.one_of(st.integers(1, 100), st.integers(1, max(1, 10**12 // quantum))))
    cap += draw(st.sampled_from((0, 0, 0, 1)))
    minimum = draw(st.one_of(st.just(0), st.integers(0, cap)))
    try:
        on = ladder_of(plain)._replace(minimum_micros=minimum, cap_micros=cap, cap_mode=CapMode.FREE)
    except LadderError:
        assume(False)
        raise
    return on, plain


@st.composite
def capped_places(draw: st.DrawFn) -> tuple[Ladder, int]:
    """A capped ladder and a place on it."""
    on, plain = draw(capped())
    return on, draw(positions(plain.limit))


@settings(max_examples=200)
@given(capped_places(), st.integers(0, 2**40), st.integers(0, 10**9))
def test_a_cap_that_disconnects_is_the_most_that_any_grant_leads_to(
    place: tuple[Ladder, int], wanted: int, budget: int
) -> None:
    on = place[0]._replace(cap_mode=CapMode.STOP)
    here = advance(on, ORIGIN, place[1])
    posted = total(on, here)
    units = affordable(on, here, wanted, posted, budget)
    assert total(on, advance(on, here, units)) <= min(posted + budget, max(posted, on.cap_micros))
    if units < min(wanted, on.limit - here.position):
        assert total(on, advance(on, here, units + 1)) > min(posted + budget, max(posted, on.cap_micros))


# ---------------------------------------------------------------- rates that are never reached

sets = st.one_of(st.none(), st.frozensets(st.sampled_from(("x", "y", "z")), min_size=1))
conditions = st.builds(
    lambda zones, roaming, access: Conditions(zones, roaming, access=access), sets, sets, sets
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(("voice", "sms")), conditions), min_size=1, max_size=7))
def test_a_rate_is_unreachable_when_no_facts_choose_it(written: list[tuple[str, Conditions]]) -> None:
    values = ("x", "y", "z", None)
    reached = set()
    for service in ("voice", "sms"):
        for zone in values:
            for roaming in values:
                for access in values:
                    facts = Facts(service, zone, roaming, access=access)
                    chosen = (
                        place
                        for place, (name, each) in enumerate(written)
                        if name == service and each.hold(facts)
                    )
                    reached.add(next(chosen, None))
    assert set(unreachable(written)) == set(range(len(written))) - reached
