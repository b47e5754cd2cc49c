"""Random scripts of requests, top-ups, rows, bars, expiries and time, and the player who plays them on a Pair."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from ocs.balance.model_books import Service, Terms
from ocs.charging.ask import (
    EVENT,
    INITIAL,
    NOT_GIVEN,
    TERMINATION,
    UPDATE,
    AskedService,
    Units,
)
from ocs.names import service_key
from ocs.records import Status
from tests.charged_store import StoreRoom
from tests.property.bars import Bar, bar, bar_steps
from tests.property.event_steps import OneTime, event_steps, near_events, play_event
from tests.property.offers import KNOWN, OFFERS
from tests.property.pair import TERMS, Pair
from tests.property.script_words import ABOUT, KEYS, SESSIONS, accounts, place_of, told, units_of
from tests.property.wallets import BUCKETS, LONG_MS, SHORT_MS, period

PARTITIONS = 2


class Wish(NamedTuple):
    """One service of a random request; ``used`` is a way to report, measured on the standing grant."""

    key: int
    used: str
    wanted: int | None
    other: int


class Request(NamedTuple):
    """A random request; ``kind`` 0 is what fits the session, ``number`` is a way to choose it, ``own`` who asks, ``about`` ABOUT.

    One that ``stays`` is about the family that its session is about.
    """

    account: int
    session: int
    kind: int
    number: str
    about: tuple[str | None, str]
    wishes: tuple[Wish, ...]
    named: str
    own: bool
    stays: bool


class Repeat(NamedTuple):
    """An earlier request again; ``content`` tells whether it is changed."""

    back: int
    same: bool


class TopUp(NamedTuple):
    account: int
    name: int
    amount_micros: int
    extend_ms: int


class OpenRows(NamedTuple):
    """Rows of all buckets, in their order, each with its amount (0: none), for a price; ``ahead`` is so many periods later."""

    account: int
    ahead: int
    amounts: tuple[int, ...]
    price_micros: int


class Amend(NamedTuple):
    account: int
    status: Status | None
    offer: int | None
    floor_micros: int | None = None


class Release(NamedTuple):
    """A later version of an offer comes to be known, and counts in a while."""

    offer: int
    ahead_ms: int
    takes_along: bool


class Expire(NamedTuple):
    account: int
    session: int
    forced: bool


class Forget(NamedTuple):
    """Another worker answers from here on, who knows of no session."""


class Wait(NamedTuple):
    """Time goes by; no time at all is no step, which is what a script shrinks to."""

    ms: int


USED = (
    "none", *["at"] * 5, *["below"] * 3, *["above"] * 3, "four", "absurd", "zero", "other", "mixed", "huge",
)  # fmt: skip
OUT_OF_THE_BLUE = frozenset({"absurd", "zero", "mixed"})
NUMBERS = ("next", "next", "next", "next", "next", "next", "same", "back", "far back", "jump", "zero")
wishes = st.builds(
    Wish,
    st.sampled_from((*[0] * 5, 1, 1, 2, 3, 4)),
    st.sampled_from(USED),
    st.one_of(st.none(), st.just(NOT_GIVEN), st.integers(0, 200), st.integers(0, 1500), st.just(10**15)),
    st.integers(0, 400),
)
request_steps = st.builds(
    Request,
    accounts,
    st.sampled_from((*[0] * 5, 1, 2, 3, 3)),
    st.sampled_from((*[0] * 12, UPDATE, INITIAL, TERMINATION)),
    st.sampled_from(NUMBERS),
    st.sampled_from(ABOUT),
    st.lists(wishes, max_size=4, unique_by=lambda wish: wish.key).map(tuple),
    st.sampled_from((*["msisdn"] * 4, "both", "nobody")),
    st.sampled_from((*[True] * 9, False)),
    st.sampled_from((*[True] * 5, False)),
)
amend_steps = st.builds(
    Amend,
    accounts,
    st.sampled_from((*[Status.ACTIVE] * 5, *[Status.BARRED] * 3, Status.TERMINATED, None)),
    st.one_of(st.none(), st.integers(0, len(OFFERS) - 1)),
    st.sampled_from((*[None] * 6, 0, -300, -900, -5_000)),
)
release_steps = st.builds(
    Release,
    st.integers(0, len(OFFERS) - 1),
    st.sampled_from((0, 1_000, 30_000, 45_000)),
    st.sampled_from((True, True, True, False)),
)
amounts = st.tuples(*[st.sampled_from((0, 0, 1, 29, 100, 350, 1_500)) for _ in BUCKETS])
opened_rows = st.builds(
    OpenRows, accounts, st.sampled_from((0, 0, 0, 1)), amounts, st.sampled_from((0, 0, 0, 1, 250, 4_000))
)
# How often each is drawn; the first is what a step shrinks to.
STEPS: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "nothing": (1, st.just(Wait(0))),
    "request": (20, request_steps),
    "event": (6, event_steps),
    "repeat": (3, st.builds(Repeat, st.integers(0, 12), st.sampled_from((True, True, False)))),
    "top up": (
        3,
        st.builds(
            TopUp, accounts, st.integers(0, 20), st.integers(1, 2_000), st.sampled_from((0, 0, 30_000))
        ),
    ),
    "open rows": (6, opened_rows),
    "amend": (2, amend_steps),
    "bar": (2, bar_steps),
    "release": (2, release_steps),
    "expire": (2, st.builds(Expire, accounts, st.integers(0, len(SESSIONS) - 1), st.booleans())),
    "forget": (2, st.just(Forget())),
    "wait": (
        3,
        st.builds(
            Wait, st.sampled_from((1, 999, 1_000, 10_000, 31_000, SHORT_MS, LONG_MS, 100_000, 100_001))
        ),
    ),
}


def drawn(weighted: dict[str, tuple[int, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Any]:
    """Draw each by its weight."""
    names = [name for name, (weight, _) in weighted.items() for _ in range(weight)]
    return st.sampled_from(names).flatmap(lambda name: weighted[name][1])


steps = drawn(STEPS)


class Player:
    """Plays random steps on a Pair."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.high: dict[str, int] = {}
        self.about: dict[str, tuple[str | None, str]] = {}
        self.does: dict[type, Callable[[Any], Awaitable[None]]] = {
            Request: self.request,
            OneTime: lambda step: play_event(self.pair, step),
            Repeat: self.repeat,
            TopUp: self.top_up,
            OpenRows: self.open_rows,
            Amend: self.amend,
            Bar: lambda step: bar(self.pair, step),
            Release: self.release,
            Expire: self.expire,
            Forget: self.forget,
            Wait: self.wait,
        }

    async def play(self, step: Any) -> None:
        if step != Wait(0):
            await self.does[type(step)](step)
            await self.pair.agree()

    async def request(self, step: Request) -> None:
        session_id = SESSIONS[step.session]
        index = step.session if step.own else step.account
        high = self.high.get(session_id, 0)
        ways = {"next": high + 1, "same": high, "back": high - 1, "far back": high - 64, "jump": high + 63}
        number = max(0, ways.get(step.number, 0))
        self.high[session_id] = max(high, number)
        kind = step.kind or (UPDATE if session_id in self.pair.homes[index].account.sessions else INITIAL)
        about = self.about.setdefault(session_id, step.about)
        if not step.stays or step.about[0] == about[0]:
            about = step.about
        services = tuple(self.service(index, session_id, about[0], wish) for wish in step.wishes)
        ask = self.pair.ask(
            index,
            session_id,
            kind,
            number,
            services,
            about[0],
            named=step.named,
            information=told(about[1]),
        )
        await self.pair.charge(index, ask)

    def service(self, index: int, session_id: str, family: str | None, wish: Wish) -> AskedService:
        session = self.pair.homes[index].account.sessions.get(session_id)
        services = session.services if session is not None else {}
        # those that the session has come first, since nearly all requests are about them
        keys = sorted(KEYS, key=lambda each: service_key(*each) not in services)
        group, identifier = keys[wish.key]
        key = service_key(group, identifier)
        known = services.get(key)
        place = place_of(family, group, wish.other)
        wanted = None if wish.wanted is None else units_of(place, wish.wanted)
        return AskedService(key, group, identifier, _report(wish, known, place), wanted)

    async def repeat(self, step: Repeat) -> None:
        asks = self.pair.asks
        if step.back >= len(asks):
            return
        index, ask = asks[-1 - step.back]
        again = ask if step.same else ask._replace(digest=ask.digest ^ 1)
        await (self.pair.event if ask.kind == EVENT else self.pair.charge)(index, again)

    async def top_up(self, step: TopUp) -> None:
        await self.pair.credit(step.account, f"id-{step.name}", step.amount_micros, step.extend_ms)

    async def open_rows(self, step: OpenRows) -> None:
        self.pair.charged.clock.keep_up()
        rows = []
        for (id_, bucket), amount in zip(BUCKETS.items(), step.amounts, strict=True):
            if amount:
                start_ms, until_ms = period(self.pair.charged.now_ms, bucket.length_ms, step.ahead)
                rows.append((id_, bucket.unit, start_ms, until_ms, amount))
        await self.pair.open_rows(step.account, rows, step.price_micros)

    async def amend(self, step: Amend) -> None:
        offer = None if step.offer is None else OFFERS[step.offer]
        await self.pair.amend(step.account, status=step.status, offer=offer, floor_micros=step.floor_micros)

    async def release(self, step: Release) -> None:
        await self.pair.release(OFFERS[step.offer], step.ahead_ms, takes_along=step.takes_along)

    async def expire(self, step: Expire) -> None:
        session_id = SESSIONS[step.session]
        owners = [i for i, home in enumerate(self.pair.homes) if session_id in home.account.sessions]
        if owners:  # the sweeper reads from the session whose it is
            index = step.account if step.account in owners else owners[0]
            await self.pair.expire(index, session_id, forced=step.forced)

    async def forget(self, _step: Forget) -> None:
        self.pair.charged.book.known.clear()

    async def wait(self, step: Wait) -> None:
        await self.pair.charged.move_time(step.ms)


def _report(wish: Wish, known: Service | None, place: int) -> Units | None:
    """What a gateway reports: nearly always on what it was granted, now and then out of the blue."""
    if wish.used == "none" or (known is None and wish.used not in OUT_OF_THE_BLUE):
        return None
    grant = known.grant if known is not None else 0
    if wish.used == "other":
        return units_of((place + 1) % 4, wish.other)
    counts = {
        "below": min(wish.other, grant),
        "at": grant,
        "above": grant + 1 + wish.other % 50,
        "four": 4 * grant + wish.other % 2,
        "absurd": 4 * grant + 100 + wish.other,
        "zero": 0,
        "mixed": wish.other,
        "huge": 2**45 + wish.other,
    }
    units = units_of(place, counts[wish.used])
    return units if wish.used != "mixed" else Units(*[each if each >= 0 else 777 for each in units])


class Opened(NamedTuple):
    """How an account begins: offer, floor, credit, amounts of its buckets, milliseconds of its life (0: no end, -1: not used yet)."""

    offer: int
    floor_micros: int
    credit_micros: int
    amounts: tuple[int, ...]
    life_ms: int


Opening = list[Opened]
"""Of each account; the last is a member of the first, and has no money and no life of its own."""
offers = st.sampled_from(
    (*range(len(OFFERS)), *[len(OFFERS) - 3] * 2, *[len(OFFERS) - 2] * 3, *[len(OFFERS) - 1] * 6)
)
_LINEAR = [place for place, offer in enumerate(KNOWN) if offer.key.startswith(("plain", "linear"))]
floors = st.sampled_from((0, 0, -300, -5_000))
openings = st.lists(
    st.builds(
        Opened,
        offers,
        floors,
        st.sampled_from((0, 500, 3_000, 3_000, 20_000)),
        amounts,
        st.sampled_from((0, 0, 0, 0, -1, 60_000, 200_000)),
    ),
    min_size=len(SESSIONS),
    max_size=len(SESSIONS),
)


pool_openings = openings.map(
    lambda opening: [each._replace(offer=_LINEAR[each.offer % len(_LINEAR)]) for each in opening]
)
"""Accounts whose tariffs have what may be in a credit pool."""


async def opened(room: StoreRoom, opening: Opening, charge_name: str = "", terms: Terms = TERMS) -> Pair:
    """Open the accounts of a script; ``charge_name`` is another function than the library's own."""
    pair = await Pair.made(room, PARTITIONS, terms)
    if charge_name:
        pair.charged.book.charge_name = charge_name
    player = Player(pair)
    *of_their_own, of_a_member = opening
    for index, one in enumerate(of_their_own):
        credit_micros = one.credit_micros
        with_it = (
            credit_micros if index == 0 else 0
        )  # one account begins with its credit, the others are topped up
        await pair.open(KNOWN[one.offer], one.floor_micros, with_it, one.life_ms)
        if credit_micros and not with_it:
            await pair.credit(index, f"first-{index}", credit_micros)
    await pair.join(0, KNOWN[of_a_member.offer])
    for index, one in enumerate(opening):
        await player.open_rows(OpenRows(index, 0, one.amounts, 0))
    return pair


async def play(
    room: StoreRoom, opening: Opening, script: list[Any], charge_name: str = "", terms: Terms = TERMS
) -> Pair:
    """Play a script; an AssertionError tells where store and model part."""
    pair = await opened(room, opening, charge_name, terms)
    player = Player(pair)
    await pair.agree()
    for step in script:
        await player.play(step)
    return pair


# ---------------------------------------------------------------- what is paid from buckets, mostly

_WITH_WALLETS = [place for place, offer in enumerate(OFFERS) if offer.first_ms]
rated_openings = st.lists(
    st.builds(
        Opened,
        st.just(next(i for i, each in enumerate(OFFERS) if each.key == "windows@1")),
        floors,
        st.just(20_000),
        amounts,
        st.just(0),
    ),
    min_size=len(SESSIONS),
    max_size=len(SESSIONS),
)
"""Everybody on rates by zone, network and window, and with money."""
wallet_openings = st.tuples(
    *[
        st.builds(
            Opened,
            st.sampled_from(_WITH_WALLETS),
            st.just(0),
            st.sampled_from((20, 700, 20_000)),
            amounts,
            st.sampled_from((0, 0, 0, -1, 60_000, 200_000)),
        )
        for _ in SESSIONS
    ]
).map(list)
"""Accounts whose tariffs have wallets."""
_near_wishes = st.builds(
    Wish,
    st.sampled_from((0, 0, 0, 1, 2)),
    st.sampled_from(("none", "at", "at", "below", "below", "above", "four")),
    st.sampled_from((None, NOT_GIVEN, 1, 20, 45, 100, 230, 230, 1_000)),
    st.integers(0, 90),
)
_near_requests = st.builds(
    Request,
    st.just(0),
    st.sampled_from((0, 0, 1, 3, 3)),
    st.sampled_from((*[0] * 12, TERMINATION)),
    st.sampled_from((*["next"] * 8, "back")),
    st.sampled_from(
        (*[("data", "")] * 3, ("data", "26201"), ("data", "20801"), ("data", "310410"), ("voice", "15551234"),
         *[("voice", "+4930111")] * 2, ("sms", ""), ("sms", ""), ("voice", "received"), ("voice", "112"))
    ),
    st.lists(_near_wishes, min_size=1, max_size=3, unique_by=lambda wish: wish.key).map(tuple),
    st.just("msisdn"),
    st.just(True),
    st.sampled_from((*[True] * 5, False)),
)  # fmt: skip
_NEAR_STEPS: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "nothing": (1, st.just(Wait(0))),
    "request": (24, _near_requests),
    "event": (12, near_events),
    "open rows": (3, opened_rows),
    "wait": (3, st.builds(Wait, st.sampled_from((1, 1_000, 10_000, 31_000, SHORT_MS)))),
    "release": (
        2,
        release_steps.map(lambda each: each._replace(offer=_WITH_WALLETS[each.offer % len(_WITH_WALLETS)])),
    ),
    "expire": (1, STEPS["expire"][1]),
    "top up": (1, STEPS["top up"][1]),
}


def event_scripts(least: int, most: int) -> st.SearchStrategy[list[Any]]:
    """Scripts of so many steps, most of which are one-time events."""
    weights = {"request": 6, "event": 24, "repeat": 3, "amend": 1, "wait": 1}
    return st.lists(
        drawn(
            STEPS | {name: (weights.get(name, weight), each) for name, (weight, each) in _NEAR_STEPS.items()}
        ),
        min_size=least,
        max_size=most,
    )


def wallet_scripts(least: int, most: int) -> st.SearchStrategy[list[Any]]:
    """Scripts of so many steps, nearly all of which meet buckets and counters."""
    return st.lists(drawn(_NEAR_STEPS), min_size=least, max_size=most)


def bar_scripts(least: int, most: int) -> st.SearchStrategy[list[Any]]:
    """Scripts of so many steps, about calls in both directions, emergencies and data of whom a creditor bars again and again."""
    about = st.sampled_from(
        (*[("voice", "received")] * 3, *[("voice", "+4930111")] * 3, ("voice", "112"), ("data", ""))
    )
    asks = st.builds(lambda each, told: each._replace(about=told), _near_requests, about)
    steps = _NEAR_STEPS | {"request": (24, asks), "bar": (12, bar_steps)}
    return st.lists(drawn(steps), min_size=least, max_size=most)


def scripts(least: int, most: int) -> st.SearchStrategy[list[Any]]:
    """Scripts of so many steps."""
    return st.lists(steps, min_size=least, max_size=most)


def where_the_server_chooses(script: list[Any]) -> list[Any]:
    """Return a script whose requests mostly leave it to the server how much they get."""

    def left_open(wish: Wish) -> Wish:
        chooses = wish.wanted is not None and wish.other % 4
        return wish._replace(wanted=NOT_GIVEN) if chooses else wish

    return [
        each._replace(wishes=tuple(map(left_open, each.wishes))) if isinstance(each, Request) else each
        for each in script
    ]


def bought(script: list[Any]) -> list[Any]:
    """Return a script whose requests and events are mostly about what a tariff may leave to its clients to rate."""
    about = ("sms", "")
    return [
        each._replace(about=about) if isinstance(each, Request | OneTime) and place % 5 else each
        for place, each in enumerate(script)
    ]
