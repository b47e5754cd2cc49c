"""What a wallet names is what an opening opens; periods follow each other, and what rolls over comes from the one before."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.rating.openings import Held, opening
from ocs.rating.periods import CALENDAR_DAY, HOUR_MS, PeriodKind, Recurrence
from ocs.rating.products import Allowance, Catalogue, Product, Use
from ocs.rating.rates import ANYTHING, Facts
from ocs.rating.tariff import read_tariff
from ocs.rating.wallet import Wallet
from ocs.units import Unit

TARIFF = read_tariff(
    'tariff: a\nversion: 1\ncurrency: EUR\nservices: {data: {unit: octets, steps: [{block: 1, price: "1.00", per: MiB}]}}',
    "a.yaml",
)
FACTS = Facts("data")
RATE = TARIFF.choice.rates[0]
FIRST_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1000
starts = st.integers(FIRST_MS, FIRST_MS + 6 * 365 * 24 * HOUR_MS)
kinds = st.one_of(
    st.integers(1, 31).map(lambda day: PeriodKind(Recurrence.MONTH, day)),
    st.just(CALENDAR_DAY),
    st.integers(1, 40).map(lambda days: PeriodKind(Recurrence.DAYS, days)),
    st.integers(1, 100).map(lambda hours: PeriodKind(Recurrence.HOURS, hours)),
)
zones = st.sampled_from(("Europe/Berlin", "America/New_York", "UTC")).map(ZoneInfo)


def product(kind: PeriodKind, zone: ZoneInfo, *, prorated: bool) -> Product:
    uses = (Use("data", ANYTHING, Unit.OCTETS, 1, 1),)
    allowances = tuple(
        Allowance(f"a{most}", "octets", 1_000_003, 5, blocker=False, rollover_most=most, uses=uses)
        for most in (0, 500)
    )
    month = kind.recurrence == Recurrence.MONTH
    return Product("p", 1, "", 9_990_001, "EUR", "standard", recurring=True, kind=kind, zone=zone,
                   prorated=prorated and month, allowances=allowances)  # fmt: skip


@settings(max_examples=300)
@given(kinds, zones, starts, st.integers(0, 100 * 24 * HOUR_MS), st.booleans())
def test_a_wallet_names_the_rows_that_were_opened(
    kind: PeriodKind,
    zone: ZoneInfo,
    start_ms: int,
    later_ms: int,
    prorated: bool,  # noqa: FBT001
) -> None:
    on = product(kind, zone, prorated=prorated)
    at_ms = start_ms + later_ms
    made = opening(on, Held(5, "p@1", start_ms, 0), at_ms)
    begun_ms, until_ms = made.period
    assert begun_ms <= at_ms < until_ms
    wallet = Wallet(TARIFF, Catalogue([on]), (Held(5, "p@1", start_ms, until_ms),))
    opened = {(row.id, row.start_ms, row.until_ms) for row in made.rows}
    opened |= {(each.to_id, each.to_start_ms, each.to_until_ms) for each in made.rolled}
    assert {(each.id, each.start_ms, each.until_ms) for each in wallet.sources(RATE, FACTS, at_ms)} == opened
    assert (wallet.due(until_ms - 1), [each.period[0] for each in wallet.due(until_ms)]) == ((), [until_ms])


@settings(max_examples=200)
@given(kinds, zones, starts, st.booleans())
def test_each_period_begins_where_the_last_one_ended_and_takes_over_its_rest(
    kind: PeriodKind,
    zone: ZoneInfo,
    start_ms: int,
    prorated: bool,  # noqa: FBT001
) -> None:
    on = product(kind, zone, prorated=prorated)
    held = Held(5, "p@1", start_ms, 0)
    before = opening(on, held, start_ms)
    assert (before.period[0], before.rolled) == (start_ms, ())
    assert 0 <= before.price_micros <= on.price_micros
    assert all(0 <= row.amount <= 1_000_003 for row in before.rows)
    for _ in range(4):
        made = opening(on, held, before.period[1])
        assert made.period[0] == before.period[1]
        assert (made.price_micros, {row.amount for row in made.rows}) == (on.price_micros, {1_000_003})
        (rolled,) = made.rolled
        assert (rolled.from_id, rolled.from_start_ms) in {(row.id, row.start_ms) for row in before.rows}
        assert rolled.most == 500
        before = made
