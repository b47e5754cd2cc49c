from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ocs.limits import BOOK_MICROS_MAX
from ocs.rating.counters import MEMBER, counter_id
from ocs.rating.numbering import EMERGENCY, read_numbering
from ocs.rating.openings import Held
from ocs.rating.product_reading import read_bonus, read_product
from ocs.rating.products import Catalogue
from ocs.rating.rates import Facts, Rate
from ocs.rating.sources import SOURCES_MAX, Source, SourceKind
from ocs.rating.tariff import Tariff, read_tariff
from ocs.rating.wallet import LISTS_KEPT_MAX, Due, Wallet

BERLIN = ZoneInfo("Europe/Berlin")
PLANS = {
    "sample": read_numbering(
        'numbering: sample\ncountry_code: "49"\nzones: [near]\nprefixes: p\nroaming_zones: [home, eu]\nnetworks: n\n',
        "sample.yaml",
        {"p": "prefix,zone\n49,near\n", "n": "network,zone\n262,home\n208,eu\n"},
    )
}
STEPS = 'steps: [{block: 1, price: "1.00", per: MiB}]'
TARIFF = f"""
tariff: sample
version: 1
currency: EUR
zone: Europe/Berlin
numbering: sample
spend_caps:
  - {{name: roaming, service: data, roaming: [eu], amount: "50.00", per: month, then: disconnect}}
  - {{name: all, service: data, amount: "90.00", per: day, then: free, each_member: true}}
rates:
  - {{name: chat, service: data, rating_groups: [9], free: true}}
  - {{name: web, service: data, axis: period, period: month, cap_per_day: {{amount: "9.00", then: free}}, {STEPS}}}
  - {{name: timed, service: mms, unit: octets, {STEPS}}}
services:
  voice: {{unit: seconds, steps: [{{block: 1, price: "1.00", per: 1}}]}}
"""
HEAD = 'version: 1\nprice: "1.00"\ncurrency: EUR\nzone: Europe/Berlin\nnumbering: sample\n'
DATA = "unit: octets, amount: 1000, uses: [{service: data, block: 1}]"
MONTHLY = "charge: recurring\nperiod: calendar-month\ngrace_days: 3\n"
PRODUCTS = {
    "monthly": f"{MONTHLY}allowances: [{{name: a, rollover: true, {DATA}}}]",
    "late": f"{MONTHLY}allowances: [{{name: a, priority: 9, {DATA}}}]",
    "first": f"{MONTHLY}allowances: [{{name: a, priority: 1, {DATA}}}]",
    "pass": f"charge: once\nperiod: day\nallowances: [{{name: a, {DATA}}}]",
    "kids": f"{MONTHLY}allowances: [{{name: a, blocker: true, rollover: true, {DATA}}}]",
    "family": f"{MONTHLY}shared: true\nallowances: [{{name: a, {DATA}}}]",
    "open": f"{MONTHLY}lifts: [roaming]",
    "abroad": f"{MONTHLY}allowances: [{{name: a, {DATA.replace('data,', 'data, roaming: [eu], access: [nr],')}}}]",
    "money": 'charge: once\nperiod: {days: 2}\nallowances: [{name: a, unit: money, amount: "1.00", uses: [{service: data}]}]',
    "flex": f"{MONTHLY}allowances: [{{name: a, unit: units, amount: 9, uses: [{{service: data, roaming: [eu], block: kB, take: 2}}, "
    "{service: data, block: kB, take: 1}]}]",
    "timed": f"{MONTHLY}allowances: [{{name: a, unit: seconds, amount: 9, uses: [{{service: data, block: 1}}]}}]",
    "crowd": "charge: once\nperiod: day\nallowances:\n" + "".join(f"  - {{name: a{n}, {DATA}}}\n" for n in range(8)),
}  # fmt: skip
CATALOGUE = Catalogue(
    [read_product(f"product: {name}\n{HEAD}{text}", f"{name}.yaml", PLANS) for name, text in PRODUCTS.items()],
    [read_bonus('bonus: topup\nversion: 1\ncurrency: EUR\nzone: UTC\nfrom: "1.00"\npercent: "10"\ndays: 3\n'
                "uses: [{service: voice}]", "b.yaml")],
)  # fmt: skip
ON: Tariff = read_tariff(TARIFF, "t.yaml", PLANS)
HERE = Facts("data")
ABROAD = Facts("data", roaming="eu")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * 1000


NOON = ms("2026-06-20T12:00")
DAY = ms("2026-06-20"), ms("2026-06-21")
MONTH = ms("2026-06-01"), ms("2026-07-01")
LONG_AGO, PAID = ms("2026-01-10T08:00"), MONTH[1]


def rate(facts: Facts) -> Rate:
    found = ON.rate(facts)
    assert found is not None
    return found


def wallet(
    *names: str, cap: int = 0, member: bool = False, start_ms: int = LONG_AGO, until_ms: int = PAID
) -> Wallet:
    held = tuple(Held(place, f"{name}@1", start_ms, until_ms) for place, name in enumerate(names, 1))
    return Wallet(ON, CATALOGUE, held, cap, member)


def sources(on: Wallet, facts: Facts = HERE, at_ms: int = NOON) -> tuple[Source, ...]:
    return on.sources(rate(facts), facts, at_ms)


def buckets(on: Wallet, facts: Facts = HERE, at_ms: int = NOON) -> list[int]:
    """Rows of buckets by number; a blocker is 0."""
    return [
        each.id
        for each in sources(on, facts, at_ms)
        if each.kind in {SourceKind.UNITS, SourceKind.MONEY, SourceKind.BLOCK}
    ]


def test_counters_come_first_the_rates_then_the_caps_then_the_members() -> None:
    found = sources(wallet("monthly", cap=7, member=True), ABROAD)
    assert found == (
        Source(SourceKind.TIER, 0, counter_id("tier/web"), *MONTH),
        Source(SourceKind.FREE, 0, counter_id("day/web"), *DAY, cap_micros=9_000_000),
        Source(SourceKind.STOP, 0, counter_id("spend/roaming"), *MONTH, cap_micros=50_000_000),
        Source(SourceKind.FREE, 1, counter_id("spend/all"), *DAY, cap_micros=90_000_000),
        Source(SourceKind.STOP, 1, counter_id(MEMBER), *MONTH, cap_micros=7),
        Source(SourceKind.UNITS, 1, 33, *MONTH, 1, 1),
        Source(SourceKind.UNITS, 1, 32, *MONTH, 1, 1),
    )


def test_a_cap_that_is_elsewhere_does_not_hold_and_one_that_is_lifted_counts_without_a_bound() -> None:
    caps = [[(each.id, each.cap_micros) for each in found if each.kind == SourceKind.STOP] for found in (
        sources(wallet(), HERE), sources(wallet(), ABROAD), sources(wallet("open"), ABROAD),
        sources(wallet("open", until_ms=NOON + 1), ABROAD, NOON),
    )]  # fmt: skip
    roaming = counter_id("spend/roaming")
    held, lifted = [(roaming, 50_000_000)], [(roaming, BOOK_MICROS_MAX)]
    assert caps == [[], held, lifted, lifted]


def test_an_account_that_is_no_member_has_no_members_cap_and_one_book() -> None:
    found = sources(wallet("monthly", "family", cap=7))
    assert counter_id(MEMBER) not in [each.id for each in found]
    assert {each.own for each in found} == {0}


def test_what_is_shared_is_in_the_accounts_book_and_the_rest_in_the_members() -> None:
    found = {each.id: each.own for each in sources(wallet("pass", "family", start_ms=DAY[0], member=True))}
    assert (found[32], found[64]) == (1, 0)


def test_buckets_go_by_priority_then_by_what_ends_first_then_by_number() -> None:
    on = Wallet(ON, CATALOGUE, (
        Held(1, "late@1", LONG_AGO, PAID), Held(2, "monthly@1", LONG_AGO, PAID), Held(3, "money@1", DAY[0], 0),
        Held(4, "pass@1", DAY[0], 0), Held(5, "first@1", LONG_AGO, PAID), Held(6, "monthly@1", DAY[0], 0),
    ))  # fmt: skip
    assert buckets(on) == [160, 128, 96, 65, 64]  # law 3: the eighth source is the last
    assert buckets(wallet("late", "monthly", "first")) == [96, 65, 64, 32]


def test_the_rest_of_a_period_goes_before_its_fresh_allowance_and_a_first_period_has_none() -> None:
    assert buckets(wallet("monthly")) == [33, 32]
    assert buckets(wallet("monthly", start_ms=DAY[0])) == [32]


def test_nothing_stands_behind_a_blocker() -> None:
    assert buckets(wallet("first", "kids", "late")) == [32, 65, 64, 0]


def test_a_blocker_is_never_crowded_out() -> None:
    found = sources(wallet("crowd", "kids", start_ms=DAY[0]))
    assert len(found) == SOURCES_MAX
    assert found[-1] == Source(SourceKind.BLOCK)


def test_more_buckets_than_there_is_room_for_are_cut_and_counters_never() -> None:
    found = sources(wallet("crowd", "crowd", start_ms=DAY[0]), ABROAD)
    assert len(found) == SOURCES_MAX
    assert [each.kind for each in found[:4]] == [
        SourceKind.TIER,
        SourceKind.FREE,
        SourceKind.STOP,
        SourceKind.FREE,
    ]


def test_what_is_free_has_no_sources() -> None:
    chat = HERE._replace(rating_group=9)
    assert sources(wallet("monthly", "kids", cap=7, member=True), chat) == ()
    assert sources(wallet("monthly", cap=7, member=True), Facts("voice", EMERGENCY)) == ()


def test_only_uses_that_fit_bring_their_bucket() -> None:
    on = wallet("abroad")
    assert buckets(on, ABROAD._replace(access="nr")) == [33 - 1]
    assert buckets(on, ABROAD) == buckets(on, HERE) == []
    assert buckets(wallet("monthly"), Facts("voice")) == []
    assert on.facts_looked_at("data") == frozenset({"roaming", "access"})
    assert on.facts_looked_at("voice") == frozenset()


def test_of_an_allowances_uses_the_first_that_fits_is_the_one() -> None:
    taken = [
        [each.take for each in sources(wallet("flex"), facts) if each.id == 32] for facts in (ABROAD, HERE)
    ]
    assert taken == [[2], [1]]


def test_blocks_of_seconds_are_not_good_for_what_is_measured_in_octets() -> None:
    assert buckets(wallet("timed")) == []


def test_a_bonus_pays_what_it_is_good_for() -> None:
    found = sources(wallet("topup", start_ms=NOON, until_ms=0), Facts("voice"))
    assert found == (Source(SourceKind.MONEY, 0, 32, NOON, NOON + 3 * 86_400_000),)


@pytest.mark.parametrize(
    ("name", "start_ms", "until_ms", "renews", "at_ms", "there"),
    [
        ("pass", DAY[0], 0, True, DAY[0] - 1, False),
        ("pass", DAY[0], 0, True, DAY[0], True),
        ("pass", DAY[0], 0, True, DAY[1] - 1, True),
        ("pass", DAY[0], 0, True, DAY[1], False),
        ("pass", DAY[0], NOON, True, NOON, False),  # ended before its time
        ("monthly", LONG_AGO, PAID, True, PAID, True),  # its renewal comes with the plan
        ("monthly", LONG_AGO, PAID, False, PAID - 1, True),
        ("monthly", LONG_AGO, PAID, False, PAID, False),  # cancelled
        ("monthly", LONG_AGO, 0, False, NOON, False),  # cancelled before anything was opened
    ],
)
def test_a_bucket_is_named_while_its_period_holds(
    name: str,
    start_ms: int,
    until_ms: int,
    renews: bool,  # noqa: FBT001
    at_ms: int,
    there: bool,  # noqa: FBT001
) -> None:
    on = Wallet(ON, CATALOGUE, (Held(1, f"{name}@1", start_ms, until_ms, renews),))
    for _ in range(2):
        assert (32 in buckets(on, HERE, at_ms)) is there


def test_a_remembered_list_ends_with_the_first_change() -> None:
    on = Wallet(ON, CATALOGUE, (Held(1, "monthly@1", LONG_AGO, PAID), Held(2, "pass@1", NOON, 0)))
    facts = HERE
    assert buckets(on, facts, NOON - 1) == [33, 32]
    assert buckets(on, facts, NOON) == [64, 33, 32]
    first = sources(on, facts, NOON)
    assert sources(on, facts, DAY[1] - 1) is first
    assert buckets(on, facts, DAY[1]) == [33, 32]
    assert [each.start_ms for each in sources(on, facts, PAID) if each.id == 32] == [PAID]
    assert sources(on, facts, NOON) == first  # late usage of an earlier instant


def test_a_remembered_list_ends_with_the_day_that_its_counters_count() -> None:
    on = wallet()
    assert [each.start_ms for each in sources(on)] == [MONTH[0], DAY[0], DAY[0]]
    assert [each.start_ms for each in sources(on, HERE, DAY[1])] == [MONTH[0], DAY[1], DAY[1]]


def test_lists_of_another_rate_are_not_taken_for_its_own() -> None:
    on = wallet("monthly")
    sources(on)
    chat = rate(HERE._replace(rating_group=9))
    assert on.sources(chat, HERE, NOON) == ()


def test_a_wallet_remembers_so_many_lists_and_no_more() -> None:
    on = wallet("monthly")
    for group in range(10, 2 * LISTS_KEPT_MAX):
        sources(on, HERE._replace(rating_group=group))
    assert len(on._listed) <= LISTS_KEPT_MAX


def test_what_has_to_be_opened_is_due_until_it_lapses() -> None:
    on = wallet("monthly", "pass", "late")
    assert on.due(PAID - 1) == ()
    found = on.due(PAID)
    august = ms("2026-08-01")
    assert [each.held.number for each in found] == [1, 3]
    product = CATALOGUE.product("monthly@1")
    assert product is not None
    assert found[0] == Due(
        Held(1, "monthly@1", LONG_AGO, PAID), product, (PAID, august), PAID + 3 * 86_400_000
    )
    assert on.due(ms("2026-09-10"))[0].period == (ms("2026-09-01"), ms("2026-10-01"))


def test_what_was_just_bought_is_due_at_once_and_what_was_cancelled_never() -> None:
    bought = Wallet(ON, CATALOGUE, (Held(1, "monthly@1", NOON, 0),))
    assert (bought.due(NOON - 1), [each.period for each in bought.due(NOON)]) == ((), [(NOON, MONTH[1])])
    assert bought.due(NOON)[0].lapses_ms == NOON + 3 * 86_400_000
    assert Wallet(ON, CATALOGUE, (Held(1, "monthly@1", LONG_AGO, PAID, False),)).due(PAID) == ()
    later = Wallet(ON, CATALOGUE, (Held(1, "monthly@1", NOON, 0), Held(2, "monthly@1", NOON + 1, 0)))
    assert [each.held.number for each in later.due(NOON)] == [1]


def test_what_the_catalogue_does_not_know_is_named() -> None:
    assert wallet("monthly", "gone").unknown == ("gone@1",)
    assert buckets(wallet("monthly", "gone")) == [33, 32]


@pytest.mark.parametrize(
    ("names", "bought", "crowded"),
    [
        ((), "monthly", None),
        (("monthly",), "monthly", None),  # 4 counters and 4 buckets
        (("monthly",), "kids", "data"),
        (("monthly", "pass", "late"), "abroad", "data"),
        (("crowd",), "open", None),
        ((), "topup", None),
    ],
)
def test_a_product_that_would_crowd_a_service_is_told_before_it_is_bought(
    names: tuple[str, ...], bought: str, crowded: str | None
) -> None:
    product = CATALOGUE.newest(bought)
    assert product is not None
    assert wallet(*names).crowded(product) == crowded
