"""What always holds of the model's buckets and counters, whatever is asked: by random wallets and scripts, on the model alone."""

from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocs.balance.model_rows import RowKey
from ocs.rating.sources import Source, SourceKind
from ocs.records import Charge
from ocs.units import Unit
from tests.property.ladders import price_of
from tests.unit.balance.rows_world import AT_MS, BLOCKER, World, bucket, counter, money

PRICES = (
    price_of(Unit.SECONDS, (0, 1, 7, 1)),
    price_of(Unit.SECONDS, (0, 7, 10, 3), (20, 11, 5, 2), fee=13),
    price_of(Unit.SECONDS, (0, 10, 0, 1), (30, 1, 3, 7), quantum=10, rounding="up"),
    price_of(Unit.SECONDS, (0, 3, 4, 3), minimum=50, cap=(90, "free")),
    price_of(Unit.SECONDS, (0, 1, 2, 1), cap=(60, "stop")),
)


class Wallet(NamedTuple):
    """Sources in order, and the amount of the row that each has (None: none)."""

    sources: tuple[Source, ...]
    amounts: tuple[int | None, ...]


COUNTERS = st.lists(
    st.one_of(
        st.just(counter(SourceKind.TIER, id_=1)),
        st.builds(lambda cap: counter(SourceKind.STOP, cap, id_=2), st.integers(0, 120)),
        st.builds(lambda cap: counter(SourceKind.FREE, cap, id_=3), st.integers(0, 120)),
    ),
    max_size=3,
    unique_by=lambda source: source.kind,
)
LATER_MS = (0, 20_000, 45_000)


@st.composite
def wallets(draw: st.DrawFn) -> Wallet:
    """Up to three counters, and up to four buckets of units or money, perhaps with a blocker among them."""
    sources = list(draw(COUNTERS))
    amounts: list[int | None] = [None] * len(sources)
    for id_ in range(1, 1 + draw(st.integers(0, 4))):
        start_ms = AT_MS + draw(st.sampled_from(LATER_MS))
        until_ms = start_ms + draw(st.sampled_from((15_000, 60_000, 10**9)))
        made = bucket(
            id_, draw(st.integers(1, 12)), draw(st.integers(1, 12)), start_ms=start_ms, until_ms=until_ms
        )
        if draw(st.booleans()):
            made = money(id_)._replace(start_ms=start_ms, until_ms=until_ms)
        sources.append(made)
        amounts.append(draw(st.one_of(st.none(), st.integers(0, 80))))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(sources)))
        sources.insert(at, BLOCKER)
        amounts.insert(at, None)
    return Wallet(tuple(sources), tuple(amounts))


def world_of(wallet: Wallet, price: int, credit: int) -> World:
    world = World(*wallet.sources, price=PRICES[price], credit=credit)
    for source, amount in zip(*wallet, strict=True):
        if amount is not None:
            world.row(source, amount)
    return world


prices, credits_micros = st.integers(0, len(PRICES) - 1), st.sampled_from((1, 30, 200, 10**6))


@settings(max_examples=300, deadline=None)
@given(wallets(), prices, credits_micros, st.integers(0, 90), st.lists(st.integers(0, 90), max_size=6))
def test_interims_change_nothing_of_what_a_session_uses_and_pays(
    wallet: Wallet, price: int, credit: int, units: int, cuts: list[int]
) -> None:
    ends = [*sorted(cut % (units + 1) for cut in cuts), units]
    worlds = []
    for reports in ([units], [end - begin for begin, end in zip([0, *ends], ends, strict=False)]):
        world = world_of(wallet, price, credit)
        if not world.ask(50).granted:
            return
        for used in reports[:-1]:
            world.use(used, 50)
        world.use(reports[-1])
        worlds.append(world)
    whole, split = worlds
    lines = [each.lines[0] for each in split.account.records if isinstance(each, Charge)]
    assert sum(line.allowance_units for line in lines) == whole.charged.lines[0].allowance_units
    assert split.account.told_rows("") == whole.account.told_rows("")
    assert split.account.posted_micros == whole.account.posted_micros
    assert split.service().used == whole.service().used


class Step(NamedTuple):
    """A request of one of two sessions, some time after the last: units used are told by the standing grant."""

    session: int
    pause_ms: int
    back: int
    used: tuple[int, int]
    wanted: tuple[int, int]
    end: bool


steps = st.builds(
    Step,
    st.integers(0, 1),
    st.sampled_from((0, 0, 0, 500, 9_000, 16_000)),
    st.sampled_from((0, 0, 0, 0, 2)),
    st.tuples(*[st.integers(-1, 45)] * 2),
    st.tuples(*[st.integers(-1, 60)] * 2),
    st.sampled_from((*[False] * 7, True)),
)


class Seen(NamedTuple):
    """What an account's buckets have: amount, used and pending of each, and whether it lives now."""

    rows: dict[RowKey, tuple[int, int, int, bool]]

    @classmethod
    def of(cls, world: World) -> "Seen":
        account = world.account
        return cls(
            {
                key: (row.amount, row.used, account.pending("", 0, key), row.lives(world.at_ms))
                for key, row in account.rows.items()
                if not row.is_counter
            }
        )


def held_by(world: World, session: str) -> dict[RowKey, int]:
    """What one session holds on each row."""
    held: dict[RowKey, int] = {}
    if session in world.account.sessions:
        for service in world.account.sessions[session].services.values():
            for part in service.parts:
                held[part.key] = held.get(part.key, 0) + part.held
    return held


def play(world: World, step: Step, place: int) -> None:
    session = f"s{step.session}"
    pairs = zip((1, 2), step.used, step.wanted, strict=True)
    services = [
        (group, None if used < 0 else used, None if wanted < 0 or step.end else wanted)
        for group, used, wanted in pairs
    ]
    number = max(0, place - step.back) if session in world.numbers else None
    world.send(*services, session=session, end=step.end, number=number)


@settings(max_examples=300, deadline=None)
@given(wallets(), prices, credits_micros, st.lists(steps, max_size=15))
def test_no_grant_exceeds_what_is_free_and_no_row_gives_outside_its_time(
    wallet: Wallet, price: int, credit: int, script: list[Step]
) -> None:
    world = world_of(wallet, price, credit)
    for place, step in enumerate(script, start=1):
        world.at_ms += step.pause_ms
        before, held = Seen.of(world), held_by(world, f"s{step.session}")
        play(world, step, place)
        after = Seen.of(world)
        for key, (amount, used, pending, lives) in after.rows.items():
            assert used + pending <= amount, "no row gives what it has not"
            drawn, begun = used - before.rows[key][1], pending - before.rows[key][2]
            assert lives or drawn <= held.get(key, 0), "outside its time a row gives what was held"
            assert lives or begun <= 0, "nothing is held on a row outside its time"


@settings(max_examples=200, deadline=None)
@given(
    wallets(), prices, credits_micros, st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=5)
)
def test_what_is_used_within_its_grants_never_makes_debts_and_never_passes_a_cap(
    wallet: Wallet, price: int, credit: int, asked: list[tuple[int, int]]
) -> None:
    assume(all(source.kind != SourceKind.TIER for source in wallet.sources))  # it holds no units: see below
    world = world_of(wallet, price, credit)
    granted = dict.fromkeys((1, 2), 0)
    for wanted in asked:
        reports = [
            (group, min(granted[group], want + 3), want) for group, want in zip((1, 2), wanted, strict=True)
        ]
        outcome = world.send(
            *[(group, used if granted[group] else None, want) for group, used, want in reports]
        )
        granted = {
            group: one.granted for group, one in zip((1, 2), outcome.services, strict=False)
        } or granted
        assert world.account.available_micros >= 0
        for source in world.sources:
            if source.kind in {SourceKind.STOP, SourceKind.FREE}:
                spent = world.used(source) + world.pending(source)
                assert spent <= max(source.cap_micros, world.used(source))
                assert world.used(source) <= source.cap_micros
        if not outcome.services or world.account.sessions["s"].state != 1:
            break
    world.send(session="s", end=True)
    assert all(world.pending(source) == 0 for source in world.sources if source.kind != SourceKind.BLOCK)
    assert world.account.pending_micros == 0


def test_two_services_of_a_period_that_grows_dear_are_held_at_its_dearer_end() -> None:
    world = World(
        counter(SourceKind.TIER), price=price_of(Unit.SECONDS, (0, 1, 0, 1), (30, 1, 2, 1)), credit=1
    )
    outcome = world.send((1, None, 30), (2, None, 30))
    assert [each.granted for each in outcome.services] == [30, 0]
    world.send((1, 30, None))
    assert world.account.available_micros == 1
