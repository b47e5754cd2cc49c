"""Random scripts of requests, top-ups, bars, expiries and time, and the player who plays them on a Pair."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from ocs.balance.model_books import Service
from ocs.charging.ask import INITIAL, NOT_GIVEN, TERMINATION, UPDATE, AskedService, Units
from ocs.names import service_key
from ocs.records import Status
from tests.charged_store import StoreRoom
from tests.property.offers import NETWORKS, OFFERS
from tests.property.offers import NUMBERS as CALLED
from tests.property.pair import Pair

PARTITIONS = 2
SESSIONS = ("gw;1", "gw;2", "gw;3")
KEYS = ((10, None), (20, None), (10, 5), (None, 7), (None, None))


class Wish(NamedTuple):
    """One service of a random request; ``used`` is a way to report, measured on the standing grant."""

    key: int
    used: str
    wanted: int | None
    other: int


class Request(NamedTuple):
    """A random request; ``kind`` 0 is what fits the session, ``number`` is a way to choose it, ``own`` who asks, ``about`` ABOUT."""

    account: int
    session: int
    kind: int
    number: str
    about: tuple[str | None, str]
    wishes: tuple[Wish, ...]
    named: str
    own: bool


class Repeat(NamedTuple):
    """An earlier request again; ``content`` tells whether it is changed."""

    back: int
    same: bool


class TopUp(NamedTuple):
    account: int
    name: int
    amount_micros: int


class Amend(NamedTuple):
    account: int
    status: Status | None
    offer: int | None


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
    "none",
    "at",
    "below",
    "at",
    "at",
    "above",
    "above",
    "four",
    "absurd",
    "zero",
    "other",
    "mixed",
    "huge",
)
OUT_OF_THE_BLUE = frozenset({"absurd", "zero", "mixed"})
NUMBERS = ("next", "next", "next", "next", "next", "next", "same", "back", "far back", "jump", "zero")
ABOUT: tuple[tuple[str | None, str], ...] = (
    *[("data", "")] * 8, *[("data", network) for network in NETWORKS] * 2, ("data", "112"),
    *[("voice", number) for number in CALLED], ("voice", "112"), ("voice", "received"), ("voice", ""), ("voice", "26201"),
    ("sms", ""), ("sms", "112"), (None, ""),
)  # fmt: skip
"""A request's family, and what its information tells of."""
accounts = st.integers(0, 2)
wishes = st.builds(
    Wish,
    st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4)),
    st.sampled_from(USED),
    st.one_of(st.none(), st.just(NOT_GIVEN), st.integers(0, 1500), st.just(10**15)),
    st.integers(0, 400),
)
request_steps = st.builds(
    Request,
    accounts,
    st.integers(0, len(SESSIONS) - 1),
    st.sampled_from((*[0] * 12, UPDATE, INITIAL, TERMINATION)),
    st.sampled_from(NUMBERS),
    st.sampled_from(ABOUT),
    st.lists(wishes, max_size=4, unique_by=lambda wish: wish.key).map(tuple),
    st.sampled_from((*["msisdn"] * 4, "both", "nobody")),
    st.sampled_from((*[True] * 9, False)),
)
amend_steps = st.builds(
    Amend,
    accounts,
    st.sampled_from((*[Status.ACTIVE] * 5, *[Status.BARRED] * 3, Status.TERMINATED, None)),
    st.one_of(st.none(), st.integers(0, len(OFFERS) - 1)),
)
# How often each is drawn; the first is what a step shrinks to.
STEPS: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "nothing": (1, st.just(Wait(0))),
    "request": (20, request_steps),
    "repeat": (3, st.builds(Repeat, st.integers(0, 12), st.sampled_from((True, True, False)))),
    "top up": (3, st.builds(TopUp, accounts, st.integers(0, 20), st.integers(1, 2_000))),
    "amend": (2, amend_steps),
    "expire": (2, st.builds(Expire, accounts, st.integers(0, len(SESSIONS) - 1), st.booleans())),
    "forget": (2, st.just(Forget())),
    "wait": (3, st.builds(Wait, st.sampled_from((1, 999, 1_000, 10_000, 31_000, 100_000, 100_001)))),
}
steps = st.sampled_from([name for name, (weight, _) in STEPS.items() for _ in range(weight)]).flatmap(
    lambda name: STEPS[name][1]
)


class Player:
    """Plays random steps on a Pair."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.high: dict[str, int] = {}
        self.does: dict[type, Callable[[Any], Awaitable[None]]] = {
            Request: self.request,
            Repeat: self.repeat,
            TopUp: self.top_up,
            Amend: self.amend,
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
        kind = step.kind or (UPDATE if session_id in self.pair.homes[index][1].sessions else INITIAL)
        services = tuple(self.service(index, session_id, step.about[0], wish) for wish in step.wishes)
        ask = self.pair.ask(
            index,
            session_id,
            kind,
            number,
            services,
            step.about[0],
            named=step.named,
            information=_told(step.about[1]),
        )
        await self.pair.charge(index, ask)

    def service(self, index: int, session_id: str, family: str | None, wish: Wish) -> AskedService:
        group, identifier = KEYS[wish.key]
        key = service_key(group, identifier)
        session = self.pair.homes[index][1].sessions.get(session_id)
        known = session.services.get(key) if session is not None else None
        place = {"voice": 1, "sms": 2}.get(family or "", 0)
        wanted = None if wish.wanted is None else _units(place, wish.wanted)
        return AskedService(key, group, identifier, _report(wish, known, place), wanted)

    async def repeat(self, step: Repeat) -> None:
        asks = self.pair.asks
        if step.back >= len(asks):
            return
        index, ask = asks[-1 - step.back]
        await self.pair.charge(index, ask if step.same else ask._replace(digest=ask.digest ^ 1))

    async def top_up(self, step: TopUp) -> None:
        await self.pair.credit(step.account, f"id-{step.name}", step.amount_micros)

    async def amend(self, step: Amend) -> None:
        offer = None if step.offer is None else OFFERS[step.offer]
        await self.pair.amend(step.account, status=step.status, offer=offer)

    async def expire(self, step: Expire) -> None:
        session_id = SESSIONS[step.session]
        owners = [i for i, (_, account) in enumerate(self.pair.homes) if session_id in account.sessions]
        if owners:  # the sweeper reads from the session whose it is
            index = step.account if step.account in owners else owners[0]
            await self.pair.expire(index, session_id, forced=step.forced)

    async def forget(self, _step: Forget) -> None:
        self.pair.charged.book.known.clear()

    async def wait(self, step: Wait) -> None:
        await self.pair.charged.move_time(step.ms)


def _told(what: str) -> dict[str, Any] | None:
    """Service-Information that tells of a number called, of a call received, or of a network visited."""
    if not what:
        return None
    if what in NETWORKS:
        return {"PS-Information": {"3GPP-SGSN-MCC-MNC": what}}
    call = (
        {"Role-Of-Node": 1, "Called-Party-Address": "+4930999"}
        if what == "received"
        else {"Called-Party-Address": what}
    )
    return {"IMS-Information": call}


def _units(place: int, count: int) -> Units:
    fields = [NOT_GIVEN] * 3
    fields[place] = count
    return Units(*fields)


def _report(wish: Wish, known: Service | None, place: int) -> Units | None:
    """What a gateway reports: nearly always on what it was granted, now and then out of the blue."""
    if wish.used == "none" or (known is None and wish.used not in OUT_OF_THE_BLUE):
        return None
    grant = known.grant if known is not None else 0
    if wish.used == "other":
        return _units((place + 1) % 3, wish.other)
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
    units = _units(place, counts[wish.used])
    return units if wish.used != "mixed" else Units(*[each if each >= 0 else 777 for each in units])


Opening = list[tuple[int, int, int]]
offers = st.sampled_from((*range(len(OFFERS)), len(OFFERS) - 1, len(OFFERS) - 1))
floors = st.sampled_from((0, 0, -300, -5_000))
openings = st.lists(
    st.tuples(offers, floors, st.sampled_from((0, 500, 3_000, 3_000, 20_000))),
    min_size=3,
    max_size=3,
)


async def opened(room: StoreRoom, opening: Opening, charge_name: str = "") -> Pair:
    """Open the accounts of a script; ``charge_name`` is another function than the library's own."""
    pair = await Pair.made(room, PARTITIONS)
    if charge_name:
        pair.charged.book.charge_name = charge_name
    for index, (offer, floor_micros, credit_micros) in enumerate(opening):
        with_it = (
            credit_micros if index == 0 else 0
        )  # one account begins with its credit, the others are topped up
        await pair.open(OFFERS[offer], floor_micros, with_it)
        if credit_micros and not with_it:
            await pair.credit(index, f"first-{index}", credit_micros)
    return pair


async def play(room: StoreRoom, opening: Opening, script: list[Any], charge_name: str = "") -> Pair:
    """Play a script; an AssertionError tells where store and model part."""
    pair = await opened(room, opening, charge_name)
    player = Player(pair)
    await pair.agree()
    for step in script:
        await player.play(step)
    return pair


def scripts(least: int, most: int) -> st.SearchStrategy[list[Any]]:
    """Scripts of so many steps."""
    return st.lists(steps, min_size=least, max_size=most)
