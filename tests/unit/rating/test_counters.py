from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ocs.rating.counters import MEMBER, counter, counter_id
from ocs.rating.periods import CALENDAR_DAY, CALENDAR_MONTH
from ocs.rating.rates import Rate
from ocs.rating.sources import COUNTER_IDS, Source, SourceKind
from ocs.rating.tariff import Tariff, TariffError, read_tariff

BERLIN = ZoneInfo("Europe/Berlin")
HEAD = "tariff: sample\nversion: 1\ncurrency: EUR\nzone: Europe/Berlin\nrates:\n"
STEPS = 'steps: [{block: 1, price: "1.00", per: 1}]'
CAP = 'cap_per_day: {amount: "30.00", then: free}'


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * 1000


def rate(more: str) -> Rate:
    return tariff(f"  - {{name: calls, service: voice, {more}, {STEPS}}}").choice.rates[0]


def tariff(*rates: str, head: str = HEAD) -> Tariff:
    return read_tariff(head + "\n".join(rates), "t.yaml")


def faults(*rates: str, head: str = HEAD) -> list[str]:
    with pytest.raises(TariffError) as told:
        tariff(*rates, head=head)
    return told.value.problems


def test_a_counters_number_is_made_of_its_name_and_never_changes() -> None:
    assert counter_id("day/national") == 2_829_625_541  # as b2sum -l 32 has it
    assert counter_id(MEMBER) != counter_id("day/national")
    assert all(COUNTER_IDS <= counter_id(f"day/{name}") < 2 * COUNTER_IDS for name in range(1_000))


def test_a_cap_per_day_counts_money_by_the_days_of_the_tariffs_zone() -> None:
    (found,) = rate(CAP).counters
    assert (found.kind, found.name, found.cap_micros) == (SourceKind.FREE, "day/calls", 30_000_000)
    day = ms("2026-10-25"), ms("2026-10-26")
    assert day[1] - day[0] == 25 * 3_600_000
    assert found.source(ms("2026-10-25T23:30")) == Source(
        SourceKind.FREE, 0, counter_id("day/calls"), *day, cap_micros=30_000_000
    )
    (found,) = rate(CAP.replace("free", "disconnect")).counters
    assert found.kind == SourceKind.STOP


@pytest.mark.parametrize(("word", "per"), [("month", CALENDAR_MONTH), ("day", CALENDAR_DAY)])
def test_tiers_count_units_of_a_period(word: str, per: object) -> None:
    on = rate(f"axis: period, period: {word}")
    (found,) = on.counters
    assert (found.kind, found.name, found.per, found.cap_micros) == (SourceKind.TIER, "tier/calls", per, 0)
    assert on.ladders[0] == rate("description: the same").ladders[0]


def test_a_cap_is_the_accounts_or_each_members() -> None:
    caps = [rate(CAP).counters[0], rate(CAP.replace("free", "free, each_member: true")).counters[0]]
    assert [each.each_member for each in caps] == [False, True]


def test_tiers_come_before_the_cap_of_a_day() -> None:
    kinds = [each.kind for each in rate(f"{CAP}, axis: period, period: month").counters]
    assert kinds == [SourceKind.TIER, SourceKind.FREE]


def test_the_calendars_zone_is_the_tariffs() -> None:
    zoned = "calendar: {zone: America/New_York, default: all}"
    line = f"  - {{name: a, service: voice, {CAP}, {STEPS}}}"
    on = tariff(line, head=HEAD.replace("zone: Europe/Berlin", zoned))
    assert on.choice.rates[0].counters[0].zone == on.zone == ZoneInfo("America/New_York")
    (fault,) = faults(line, head=HEAD.replace("rates:", f"{zoned}\nrates:"))
    assert fault == "t.yaml:4: the calendar has a zone already, which holds for all; strike this one"


@pytest.mark.parametrize("more", [CAP, "axis: period, period: day"])
def test_days_and_months_need_a_zone(more: str) -> None:
    line = f"  - {{name: a, service: voice, {more}, {STEPS}}}"
    (fault,) = faults(line, head=HEAD.replace("zone: Europe/Berlin\n", ""))
    assert "t.yaml:5: days and months of which time zone? write one: zone: Europe/Berlin" in fault
    (fault,) = faults(line, head=HEAD.replace("Berlin", "Bonn"))
    assert fault == "t.yaml:4: 'Europe/Bonn' is no time zone; write one such as Europe/Berlin or UTC"


def test_two_names_that_make_one_number_are_refused() -> None:
    assert counter_id("day/r41323") == counter_id("day/r75615")
    one, other = (
        f"  - {{name: {name}, service: voice, rating_groups: [{group}], {CAP}, {STEPS}}}"
        for group, name in enumerate(("r41323", "r75615"))
    )
    assert faults(one, other) == [
        "t.yaml:7: day/r75615 and day/r41323 have one number in the store; rename either"
    ]


def test_a_counter_is_built_with_its_number() -> None:
    made = counter(SourceKind.STOP, MEMBER, CALENDAR_MONTH, BERLIN, 10)
    found = made.source(ms("2026-02-10"), own=1)
    assert found == Source(
        SourceKind.STOP, 1, counter_id(MEMBER), ms("2026-02-01"), ms("2026-03-01"), cap_micros=10
    )
