"""The model's buckets and counters, by examples counted by hand; test_model_rows_hold.py has what always holds."""

import pytest

from ocs.balance.model_prices import Place, Rate
from ocs.balance.model_rows import PARTS_MAX, Part, renewed
from ocs.outcomes import Code, Note
from ocs.rating.sources import SOURCES_MAX, SourceKind
from ocs.records import Taken
from ocs.units import Unit
from tests.property.ladders import price_of
from tests.unit.balance.rows_world import (
    AT_MS,
    BLOCKER,
    DAY_MS,
    END_MS,
    HOUR_MS,
    UNIT,
    World,
    bucket,
    counter,
    money,
)

STARTED_MIB = price_of(Unit.OCTETS, (0, 1_048_576, 10_000, 1_048_576))


# ---------------------------------------------------------------- examples with known answers


def test_vector_18_one_free_block_is_left_and_two_are_paid() -> None:
    minutes = bucket(1, 60, 60)
    world = World(minutes, price=price_of(Unit.SECONDS, (0, 60, 100_000, 60)))
    world.row(minutes, 3_600, used=59 * 60)
    assert world.call(150, "s") == 200_000
    assert world.used(minutes) == 3_600


@pytest.mark.parametrize("reports", [(2_000_000,), (1_499_999, 500_001), (1_000_000, 600_000, 400_000)])
def test_vector_21_octets_beyond_the_allowance_are_paid(reports: tuple[int, ...]) -> None:
    allowance = bucket(1, 1, 1)
    world = World(allowance, price=STARTED_MIB, family="data")
    world.row(allowance, 1_500_000)
    world.ask(2_000_000)
    for used in reports:
        world.use(used, 2_000_000)
    assert world.account.posted_micros == 10_000
    assert world.service().used.position == 500_000
    assert world.used(allowance) == 1_500_000


def test_vector_23_a_cap_per_day_makes_the_rest_free() -> None:
    today = counter(SourceKind.FREE, 30 * UNIT)
    world = World(today)
    assert [world.call(20, name) for name in ("a", "b", "c")] == [20 * UNIT, 10 * UNIT, 0]
    assert world.charged.lines[0].priced_micros == 20 * UNIT
    world.at_ms += DAY_MS
    world.sources = (counter(SourceKind.FREE, 30 * UNIT, start_ms=END_MS),)
    assert world.call(20, "d") == 20 * UNIT


def test_vector_24_a_members_cap_stops_this_member_and_nobody_else() -> None:
    world = World(counter(SourceKind.STOP, 10 * UNIT, own=1))
    world.join("m", "n")
    granted = world.ask(15, "m", member="m")
    assert (granted.granted, granted.final) == (10, True)
    world.send((1, 10, 15), session="m", member="m")
    assert world.charged.code == Code.CREDIT_LIMIT
    assert (world.charged.own_posted_micros, world.charged.posted_micros) == (10 * UNIT, 10 * UNIT)
    assert world.ask(10, "n", member="n").granted == 10
    assert world.ask(10, "m2", member="m").code == Code.CREDIT_LIMIT


# ---------------------------------------------------------------- posting: units


def test_each_begun_block_takes_and_what_is_open_of_it_is_used_first() -> None:
    source = bucket(1, 10, 3)
    world = World(source)
    world.row(source, 10)
    world.ask(25)
    assert world.pending(source) == 9
    world.use(25, 1)
    assert (world.used(source), world.opens()) == (9, [5])
    world.use(5, 5)
    assert (world.used(source), world.opens(), world.account.posted_micros) == (9, [0], 0)


def test_the_rest_of_a_row_that_is_less_than_a_block_takes_is_good_for_its_share() -> None:
    source = bucket(1, 10, 3)
    world = World(source)
    world.row(source, 10, used=9)
    granted = world.ask(5)
    assert (granted.granted, world.pending(source), world.service().hold_micros) == (5, 1, 2 * UNIT)
    world.use(1, 5)
    assert (world.used(source), world.opens(), world.charged.lines[0].allowance_units) == (10, [2], 1)
    world.use(5)
    assert (world.account.posted_micros, world.opens()) == (3 * UNIT, [0])


def test_a_rest_that_is_good_for_no_unit_stays() -> None:
    source = bucket(1, 1, 10)
    world = World(source)
    world.row(source, 15)
    assert world.call(2, "s") == UNIT
    assert world.used(source) == 10


def test_two_buckets_are_used_one_after_the_other() -> None:
    first, second = bucket(1, 10, 10), bucket(2, 7, 7)
    world = World(first, second)
    world.row(first, 25)
    world.row(second, 14)
    world.ask(40)
    assert (world.pending(first), world.pending(second), world.service().hold_micros) == (25, 14, UNIT)
    world.use(26)
    assert (world.used(first), world.used(second), world.opens()) == (25, 7, [0, 6])
    assert world.charged.parts == (
        Taken(1, 0, SourceKind.UNITS, 1, AT_MS, 25, 25),
        Taken(1, 0, SourceKind.UNITS, 2, AT_MS, 7, 7),
    )


def test_nothing_behind_a_blocker_is_granted_and_what_was_used_is_used() -> None:
    first, second = bucket(1, 10, 10), bucket(2, 1, 1)
    world = World(first, BLOCKER, second)
    world.row(first, 20)
    world.row(second, 5)
    granted = world.ask(50)
    assert (granted.granted, granted.final, world.service().hold_micros) == (20, True, 0)
    assert world.use(27, 1).code == Code.CREDIT_LIMIT
    assert (world.used(first), world.used(second), world.account.posted_micros) == (20, 0, 7 * UNIT)
    assert world.charged.notes == Note.OVERRUN | Note.CROSSED


def test_a_late_lower_number_draws_on_what_is_free_and_voids_nothing() -> None:
    source = bucket(1, 1, 1)
    world = World(source)
    world.row(source, 30)
    world.ask(10)
    world.send((1, 0, 20), number=5)
    world.send((1, 15, None), number=4)
    assert (world.used(source), world.pending(source)) == (10, 20)
    assert world.account.posted_micros == 5 * UNIT


def test_a_late_lower_number_draws_on_no_row_that_has_ended() -> None:
    source = bucket(1, 1, 1)
    world = World(source)
    world.row(source, 60)
    world.at_ms = END_MS - 30_000
    world.ask(20)
    world.send((1, 0, 20), number=5)
    world.at_ms = END_MS
    world.send((1, 15, None), number=4)
    assert (world.used(source), world.pending(source)) == (0, 20)
    world.send((1, 20, None), number=6)
    assert (world.used(source), world.account.posted_micros) == (20, 15 * UNIT)


@pytest.mark.parametrize("how", ["termination", "expiry", "refusal", "refusal of a wish alone"])
def test_what_was_held_goes_back(how: str) -> None:
    source, spent = bucket(1, 10, 3), counter(SourceKind.STOP, 50 * UNIT)
    world = World(spent, source)
    world.row(source, 6)
    world.ask(25)
    assert (world.pending(source), world.pending(spent)) == (6, 5 * UNIT)
    if how == "termination":
        world.send(end=True)
    elif how == "expiry":
        world.model.expire(world.account, "s", world.at_ms, forced=True)
    elif how == "refusal":
        world.bar()
        assert world.use(2, 10).code == Code.BARRED
        assert world.opens() == [0, 8]
    else:
        world.bar()
        assert world.ask(10).code == Code.BARRED
    assert (world.pending(source), world.pending(spent), world.account.pending_micros) == (0, 0, 0)
    assert list(world.account.told_rows("")) == [(1, AT_MS)], "a counter that stands at nothing is none"


# ---------------------------------------------------------------- posting: money


def test_restricted_money_pays_before_the_account_does() -> None:
    source = money(1)
    world = World(source, credit=5 * UNIT)
    world.row(source, 3 * UNIT)
    granted = world.ask(10)
    assert (granted.granted, world.pending(source), world.account.pending_micros) == (8, 3 * UNIT, 5 * UNIT)
    world.use(4)
    assert (world.used(source), world.account.posted_micros) == (3 * UNIT, UNIT)
    line = world.charged.lines[0]
    assert (line.priced_micros, line.amount_micros, line.posted_micros) == (4 * UNIT, UNIT, 4 * UNIT)


def test_two_sessions_never_pass_a_cap_together() -> None:
    world = World(counter(SourceKind.STOP, 10 * UNIT))
    assert world.ask(7, "a").granted == 7
    assert world.ask(7, "b").granted == 3
    assert world.ask(7, "c").code == Code.CREDIT_LIMIT
    world.use(2, session="a")
    assert world.ask(7, "d").granted == 5


def test_a_cap_that_makes_the_rest_free_holds_what_is_left_of_it_and_grants_all() -> None:
    spent = counter(SourceKind.FREE, 3 * UNIT)
    world = World(spent, credit=3 * UNIT)
    granted = world.ask(500)
    assert (granted.granted, granted.final, world.account.pending_micros) == (500, False, 3 * UNIT)
    world.use(500, 500)
    assert (world.account.posted_micros, world.used(spent)) == (3 * UNIT, 3 * UNIT)
    assert world.charged.pending_micros == 0


def test_where_the_account_has_less_than_the_cap_leaves_it_is_granted_what_it_pays() -> None:
    world = World(counter(SourceKind.FREE, 30 * UNIT), credit=5 * UNIT)
    assert world.ask(500).granted == 5


def test_a_cap_of_the_session_that_disconnects_bounds_what_a_cap_of_the_period_makes_free() -> None:
    price = price_of(Unit.SECONDS, (0, 1, UNIT, 1), cap=(10 * UNIT, "stop"))
    world = World(counter(SourceKind.FREE, 3 * UNIT), price=price)
    assert world.ask(500).granted == 10


def test_both_caps_count_what_is_charged_and_not_what_is_free() -> None:
    stop, free = counter(SourceKind.STOP, 90 * UNIT), counter(SourceKind.FREE, 4 * UNIT, id_=2)
    world = World(stop, free)
    assert world.call(6, "s") == 4 * UNIT
    assert (world.used(stop), world.used(free)) == (4 * UNIT, 4 * UNIT)


def test_the_steps_are_chosen_by_what_the_period_has_counted() -> None:
    period = counter(SourceKind.TIER)
    world = World(period, price=price_of(Unit.SECONDS, (0, 10, 3, 1), (20, 4, 1, 1)))
    assert world.call(15, "a") == 60
    assert world.used(period) == 20
    assert world.call(5, "b") == 8
    assert world.used(period) == 28


def test_a_grant_in_the_middle_of_a_tier_goes_as_far_as_the_money_on_both_sides() -> None:
    world = World(
        counter(SourceKind.TIER), price=price_of(Unit.SECONDS, (0, 10, 3, 1), (20, 4, 1, 1)), credit=67
    )
    assert world.ask(100).granted == 20 + 4
    world.use(15)
    assert world.ask(100, "b").granted == 4


# ---------------------------------------------------------------- edges, and rows outside their time


def test_no_grant_passes_the_end_of_a_row() -> None:
    first, second = bucket(1, 1, 1, until_ms=AT_MS + 90_500), bucket(2, 1, 1, until_ms=AT_MS + 50_000)
    world = World(first, second)
    world.row(first, 1_000)
    granted = world.ask(500)
    assert (granted.granted, granted.validity_s, granted.final) == (90, 90, False)
    world.row(second, 1)
    assert world.ask(500, "t").granted == 50
    world.at_ms += 90_400
    assert world.ask(500, "u").validity_s == 1


def test_a_counters_end_is_an_edge_before_it_has_counted() -> None:
    world = World(counter(SourceKind.FREE, UNIT))
    world.at_ms = END_MS - 30_000
    assert world.ask(500).granted == 30


def test_units_held_before_a_buckets_end_post_to_it_and_no_more() -> None:
    source = bucket(1, 1, 1)
    world = World(source)
    world.row(source, 1_000)
    world.at_ms = END_MS - 30_000
    world.ask(500)
    world.at_ms = END_MS + 1_000
    world.use(33)
    assert (world.used(source), world.account.posted_micros) == (30, 3 * UNIT)


def test_a_row_that_has_not_begun_or_is_not_there_gives_nothing() -> None:
    later, none = bucket(1, 1, 1, start_ms=AT_MS + HOUR_MS), bucket(2, 1, 1)
    world = World(later, none, credit=5 * UNIT)
    world.row(later, 1_000)
    granted = world.ask(10)
    assert (granted.granted, granted.validity_s) == (5, 7_200)


def test_what_is_open_of_a_row_that_ended_is_used_up_and_its_successor_gives_the_rest() -> None:
    old = bucket(1, 60, 60)
    new = bucket(1, 60, 60, start_ms=END_MS, until_ms=END_MS + DAY_MS)
    world = World(old)
    world.row(old, 600)
    world.row(new, 600)
    world.at_ms = END_MS - 100_000
    world.ask(60)
    world.at_ms, world.sources = END_MS, (new,)
    world.use(20, 100)
    assert (world.opens(), world.pending(old), world.pending(new)) == ([40, 0], 0, 60)
    world.use(100)
    assert (world.used(old), world.used(new), world.opens()) == (60, 60, [0, 0])
    assert (world.charged.lines[0].allowance_units, world.account.posted_micros) == (100, 0)


def test_a_leftover_gives_what_is_open_and_nothing_else() -> None:
    home, abroad = bucket(1, 10, 10), bucket(2, 1, 1)
    world = World(home)
    world.row(home, 500)
    world.ask(5)
    world.sources = (abroad,)
    world.use(5, 10)
    world.use(9, 1)
    assert (world.used(home), world.account.posted_micros) == (10, 4 * UNIT)


def test_a_service_keeps_so_many_parts_and_the_newest_leftovers() -> None:
    old = [Part(bucket(each, 10, 10), open=each, held=3) for each in range(1, 7)]
    sources = tuple(bucket(each, 10, 10) for each in range(6, 6 + SOURCES_MAX))
    leftovers, fresh = renewed(old, sources)
    assert len(leftovers) + len(fresh) == PARTS_MAX
    assert [(part.source.id, part.open, part.held) for part in leftovers] == [
        (2, 2, 0), (3, 3, 0), (4, 4, 0), (5, 5, 0)
    ]  # fmt: skip
    assert [part.open for part in fresh] == [6, 0, 0, 0, 0, 0, 0, 0]


def test_a_grant_on_allowances_alone_holds_no_money_though_a_minimum_is_due() -> None:
    near, far = price_of(Unit.SECONDS, (0, 1, 1, 1)), price_of(Unit.SECONDS, (0, 1, 1, 1), minimum=500)
    rates = (Rate("home", (near,), networks=frozenset({"home"})), Rate("far", (far,)))
    source = bucket(1, 1, 1)
    world = World(rates=rates, credit=10)
    world.by_rate = {"far": (source,)}
    world.row(source, 10)
    world.ask(5)
    world.account.sessions["s"].place = Place(network="far")
    granted = world.use(5, 12)
    assert (granted.granted, granted.final, world.account.pending_micros) == (10, True, 0)
    world.use(10)
    assert (world.account.posted_micros, world.charged.lines[0].allowance_units) == (5, 10)


def test_a_report_of_nothing_prices_nothing_though_another_rates_minimum_is_above_what_was_posted() -> None:
    near, far = price_of(Unit.SECONDS, (0, 1, 1, 1)), price_of(Unit.SECONDS, (0, 1, 1, 1), minimum=500)
    rates = (Rate("home", (near,), networks=frozenset({"home"})), Rate("far", (far,)))
    world = World(rates=rates)
    world.ask(5)
    world.account.sessions["s"].place = Place(network="far")
    world.use(5, 10)
    world.use(0, 10)
    assert world.account.posted_micros == 5
    world.use(1)
    assert world.account.posted_micros == 500


def test_a_report_after_an_expiry_draws_on_what_is_free_and_not_beyond_the_rows_end() -> None:
    source = bucket(1, 1, 1)
    world = World(source)
    world.row(source, 30)
    world.ask(20)
    world.ask(25, "t")
    world.model.expire(world.account, "s", world.at_ms, forced=True)
    world.use(8)
    assert (world.used(source), world.account.posted_micros) == (8, 0)
    world.at_ms = END_MS
    world.use(8)
    assert (world.used(source), world.account.posted_micros) == (8, 8 * UNIT)


def test_a_standing_answer_passes_no_edge_either() -> None:
    source = bucket(1, 1, 1)
    world = World(source)
    world.row(source, 30)
    world.ask(20)
    world.send((1, 0, 20), number=5)
    world.at_ms = END_MS - 7_000
    again = world.send((1, None, 20), number=4).services[0]
    assert (again.granted, again.validity_s, world.charged.notes) == (20, 7, Note.STANDING)


# ---------------------------------------------------------------- scarce credit


def test_scarce_credit_goes_to_the_first_by_priority_and_the_answer_keeps_the_requests_order() -> None:
    price = price_of(Unit.SECONDS, (0, 1, UNIT, 1))
    rates = tuple(
        Rate(f"r{group}", (price,), groups=frozenset({group}), priority=priority)
        for group, priority in ((1, 5), (2, 1), (3, 5))
    )
    world = World(rates=rates, credit=12 * UNIT)
    world.family = "voice"
    outcome = world.send((1, None, 10), (2, None, 10), (3, None, 10))
    assert [each.granted for each in outcome.services] == [2, 10, 0]
    assert [line.key for line in world.charged.lines] == ["1", "2", "3"]
