"""From an Ask to a Plan: the small program that the store runs in one call; pure, and the same data in Python and in Lua.

The store knows what only it can know (cumulative usage, money available); everything that can be decided without it is
decided here: the subscriber's tariff, the rate and ladders of each service, what is wanted at most, how long it holds.

Laws
1. What is used since a grant is priced on the rate that the grant was made on, whose mark the session keeps; the next grant on
   the rate that the facts of now choose. A plan says which mark it was made for, and the store refuses it for another (STALE).
2. Where both rates round alike and have the same minimum and cap, the walk passes on as it is; else the chain is closed: what
   was posted stands, and the next rate begins from it, at the position reached.
3. No grant passes the edge of a window: its life ends there, and seconds are granted no further (DESIGN law 12).
4. A session may go on with its tariff's next version (switch.py); then all grants are made on that one.
5. What allowances, restricted money and counters a service has is named here (sources); what is left of them only the store knows.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ocs.charging.ask import INITIAL, TERMINATION, Ask, AskedService, Units
from ocs.charging.asked_units import rated_elsewhere, tells_money
from ocs.charging.information import NOTHING, kept, merged, told
from ocs.charging.outcome import NO_POOLS, Pooled
from ocs.charging.pools import pooled
from ocs.charging.quota import ByGroup, Sizes
from ocs.charging.switch import Course, version_of
from ocs.names import SubscriberId
from ocs.outcomes import Code
from ocs.rating.ladder import Ladder
from ocs.rating.life import ENDLESS
from ocs.rating.openings import Held
from ocs.rating.rates import INCOMING, Facts, Rate
from ocs.rating.rerate import rate_told
from ocs.rating.sources import SOURCES_MAX, Source
from ocs.rating.tariff import Tariff
from ocs.units import Unit


class Profile(NamedTuple):
    """What a plan needs to know of a subscriber; kept in the store, cached by workers, told apart by ``version``.

    ``member`` names the subscriber among those of a shared account, "" where the account is its own. ``products`` are those that it
    holds, ``shared`` of a member those of its account. ``cap_micros`` is what a member may spend of the account in a month (0: no cap).
    ``barred`` is what dunning has barred it for ("": nothing, barring.py), under ``bar_epoch`` (0: never).
    """

    account: str
    partition: int
    version: int
    msisdn: str
    imsi: str
    tariff: str
    kind: str
    currency: str
    member: str = ""
    products: tuple[Held, ...] = ()
    cap_micros: int = 0
    shared: tuple[Held, ...] = ()
    barred: str = ""
    bar_epoch: int = 0

    @property
    def path(self) -> str:
        """Return how the store names the subscriber: the account, and behind a stroke its member."""
        return f"{self.account}/{self.member}" if self.member else self.account

    def owns(self, identity: SubscriberId) -> bool:
        """Tell whether an identity names this account."""
        return identity.value in {self.msisdn, self.imsi}


class QuotaRules(NamedTuple):
    """Config of grants: most units a request gets (and what it gets when it asks for none), their life, greatest rates.

    The rates are the greatest that are believed, in units per second (DESIGN law 8); the kinds are in the order of Unit. Of money, which
    comes last, more is granted where it is asked for (``money_most``) than where nothing is; all three in micro-units.
    """

    octets: int
    seconds: int
    events: int
    validity_s: int
    octets_per_s: int
    seconds_per_s: int
    events_per_s: int
    money: int = 1_000_000
    money_most: int = 100_000_000
    money_per_s: int = 10_000_000


class Wallet(Protocol):
    """What a subscriber has beside money, and is counted on (rating/wallet.py)."""

    @property
    def tariff(self) -> Tariff:
        """The tariff, whose life a balance has."""

    def sources(self, rate: Rate, facts: Facts, at_ms: int) -> tuple[Source, ...]:
        """Return the sources of a service on a rate at an instant, in order; SOURCES_MAX at most."""

    def facts_looked_at(self, service: str) -> frozenset[str]:
        """Return the names of the facts that sources of a service depend on."""

    def due(self, at_ms: int) -> tuple[Any, ...]:
        """Return what is to be opened with the next request: products whose period has begun (rating/wallet.py, Due)."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Keys of products that are held and that nobody here knows; they stay."""

    def cap(self, at_ms: int) -> Source | None:
        """Return the counter of what a member may spend of its account; None where it may spend all."""


class Known(NamedTuple):
    """What a session's rating hangs on, as the store told it last: its account (Profile.path), tariff's key, facts (information.py), marks by service.

    ``mixed`` tells whether some service is on another version than the session (switch.py).
    """

    account: str
    tariff: str
    facts: str
    marks: dict[str, str]
    mixed: bool = False


def known_of(account: str, tariff: str, facts: str, marks: dict[str, str]) -> Known:
    """Build what is known of a session."""
    version = f"{tariff.rpartition('@')[2]}:"
    return Known(account, tariff, facts, marks, not all(mark.startswith(version) for mark in marks.values()))


_NOTHING = Units()
_MONEY = Unit.MONEY
_REFUSED = int(Code.UNRATED)
ANY = "-"
"""In a plan, in the place of a text of the session: whatever that is (words.lua)."""
_TOLD_OF_DATA = ("roaming", "access", "apn")
"""Facts that a request of a data session tells anew (information.py, law 2)."""
_NO_MARK = "?"
"""A mark that no rate has: what is used cannot be priced before the store has said what the session is on."""


_NO_EDGES: Mapping[str, int] = MappingProxyType({})


class Plan(NamedTuple):
    """A request's services as the store reads them (charge.lua, A_KEY and the rest), each list flat.

    ``ladders`` are packed, each once. ``services`` holds WIDTH values for each service: key, refusal, unit, used of each kind (-1:
    not told), wanted, validity in seconds, greatest rate a second, the ladder that a grant is priced on (counted from 1; 0: none),
    how many of the ``pieces`` are its own, the mark that it is on by what is known, the mark of a grant, whether a grant closes the
    chain of another rate, whether it is granted to everybody (1) or is received (2), how many of the ``sources`` are its own, and
    which service is served in its turn, and the ladder of what was granted where pieces are cut by time. ``pieces`` are pairs of a ladder and the units used on it, in the services' order; sources
    are Source's fields, likewise. ``before`` is what the session's facts have to be, ``facts`` what they become; ANY where that does not matter.
    ``marked`` tells whether the session has facts and marks to remember; ``first_ms`` and ``grace_ms`` are of the life of a balance (rating/life.py).
    ``looked_at`` are the names of the facts that the rates of the family look at, ``edges_ms`` where the price of a service changes within
    the life of its grant, by its key. ``in_money`` tells that some service is measured in money; ``pools`` are the services whose grant is to go into a pool, by key.
    """

    ladders: list[bytes]
    services: list[Any]
    pieces: list[int]
    before: str
    facts: str
    marked: bool
    sources: list[Any]
    first_ms: int = 0
    grace_ms: int = 0
    looked_at: frozenset[str] = frozenset()
    edges_ms: Mapping[str, int] = _NO_EDGES
    in_money: bool = False
    pools: Mapping[str, Pooled] = NO_POOLS

    def marks(self) -> list[str]:
        """Return the mark of each service's grant, in the order of the services."""
        return self.services[13::WIDTH]

    def units(self) -> list[int]:
        """Return the unit of each service, in the order of the services."""
        return self.services[2::WIDTH]


WIDTH = 19
_TURN = 17
EMERGENCY_CALL, RECEIVED = 1, 2
"""Of a service: granted to everybody, or received (plan.lua, A_ALWAYS)."""

LadderText = Callable[[Ladder], bytes]


def plan(
    ask: Ask,
    tariff: Tariff | None,
    rules: QuotaRules,
    ladder_text: LadderText,
    at_ms: int,
    known: Known | None = None,
    wallet: Wallet | None = None,
    course: Course | None = None,
    own: ByGroup[Sizes] | None = None,
    *,
    foreign: bool = False,
) -> Plan:
    """Make the plan of a request at an instant, on a tariff; one that is not known (None) refuses every service.

    ``known`` is what the store told of the session, None when it is not known here: then the plan is made as if the request told
    all, and the store compares. ``ladder_text`` packs a ladder. ``wallet`` is what the subscriber has beside money, None where
    that is nothing. ``course`` names the versions where the request has to do with more than ``tariff``, which is the last of them.
    ``own`` are the sizes of the request's family, where it has some of its own (quota.py); else ``rules`` has them. ``foreign`` tells that its
    units in money are in another currency than the account's: they are set aside, their services refused, what is measured is posted.
    """
    family = ask.family
    if tariff is None or family is None:
        return _unpriced(ask, foreign=foreign)
    priced = tariff.services.get(family)
    # A call or message may be an emergency's or one received, which only its information tells; money is no use that is measured.
    plain = (
        priced is not None
        and (course is None or course.alone)
        and ask.currency is None
        and (family == "data" or ask.information is None)
    )
    if not plain or wallet is not None or (known is not None and not _is_plain(known, tariff)):
        looked_at = tariff.looked_at(family)
        if looked_at is None:
            return _unpriced(ask, foreign=foreign)
        rated = _Rated(ask, tariff, rules, ladder_text, at_ms, known, wallet, course, own)
        rated.foreign = foreign
        return rated.plan(looked_at)
    assert priced is not None
    services: list[Any] = []
    pieces: list[int] = []
    at, mark = priced.unit - 1, tariff.plain_mark
    chosen = most = rules[at]
    rate, validity_s, pools = rules[at + 4], rules.validity_s, NO_POOLS
    if own is not None:
        pools = pooled(ask, ask.services, own, (priced.ladder,), priced.unit)
    for place, (key, group, _, used, wanted, _) in enumerate(ask.services, 1):
        if own is not None:
            sizes = own[group]
            chosen, most, validity_s = sizes.chosen[at], sizes.most[at], sizes.validity_s
        octets, seconds, events, money = reported = _NOTHING if used is None else used
        wants = 0
        if wanted is not None:
            # nothing asked, zero asked, or another kind asked than the tariff measures: the server chooses (INTERFACE, Grants)
            wants = wanted[at] if 0 < wanted[at] < most else chosen if wanted[at] <= 0 else most
        count = 0
        if reported[at] >= 0:
            pieces += (1, reported[at])
            count = 1
        services += (
            key, 0, at + 1, octets, seconds, events, money, wants, validity_s, rate, 1, count, mark, mark, 0, 0, 0, place, 0,
        )  # fmt: skip
    before = (
        ANY if family == "data" else ""
    )  # nothing that is known of a session changes the price of data here
    made = [ladder_text(priced.ladder)]
    return Plan(made, services, pieces, before, ANY, marked=False, sources=[], pools=pools)


def _is_plain(known: Known, tariff: Tariff) -> bool:
    """Tell whether all that is known of a session is that it is on its tariff's plain rates."""
    plain = tariff.plain_mark
    for mark in known.marks.values():  # a loop, not all(): on the way of every request
        if mark != plain:
            return False
    return not known.facts


def _unpriced(ask: Ask, *, foreign: bool) -> Plan:
    services: list[Any] = []
    asks = ask.kind != TERMINATION
    for place, (key, _, _, used, wanted, _) in enumerate(ask.services, 1):
        refusal = _REFUSED if (asks and wanted is not None) or (foreign and tells_money(used, wanted)) else 0
        reported = _NOTHING if used is None else used
        services += (key, refusal, 1, *reported, 0, 0, 0, 0, 0, ANY, "", 0, 0, 0, place, 0)
    return Plan([], services, [], ANY, ANY, marked=False, sources=[])


class _On(NamedTuple):
    """A rate, which of its ladders, and its version of the tariff."""

    rate: Rate
    place: int
    tariff: Tariff

    @property
    def mark(self) -> str:
        return self.tariff.mark(self.rate, self.place)


class _Rated:
    """A plan on the tariff's rates: chosen by facts, cut at the edges of windows."""

    def __init__(
        self,
        ask: Ask,
        tariff: Tariff,
        rules: QuotaRules,
        ladder_text: LadderText,
        at_ms: int,
        known: Known | None,
        wallet: Wallet | None,
        course: Course | None,
        own: ByGroup[Sizes] | None,
    ) -> None:
        assert ask.family is not None
        self.course, self.own = course, own
        self.ask, self.tariff, self.rules, self.at_ms, self.known = ask, tariff, rules, at_ms, known
        self.wallet = wallet
        self.family = ask.family
        self.ladder_text = ladder_text
        self.ladders: dict[bytes, int] = {}
        self.services: list[Any] = []
        self.pieces: list[int] = []
        self.sources: list[Any] = []
        self.priorities: list[int] = []
        self.facts = NOTHING
        self.anew = False
        self.edges_ms: dict[str, int] = {}
        self.in_money = self.foreign = False
        self.pools: dict[str, Pooled] = {}

    def plan(self, looked_at: frozenset[str]) -> Plan:
        wallet, known, family = self.wallet, self.known, self.family
        if wallet is not None and (more := wallet.facts_looked_at(family)):
            looked_at |= more
        if known is None:
            before = self.facts = told(family, self.ask.information, self.tariff.numbering, looked_at)
            told_before = before.text
        else:
            before, told_before = kept(known.facts), known.facts
            # a call or message stays what it was, also one of which nothing is known
            now = before
            if family == "data":
                now = told(family, self.ask.information, self.tariff.numbering, looked_at)
            self.facts = merged(family, before, now)
            if self.course is not None and family == "data":
                self.anew = all(getattr(now, name) for name in _TOLD_OF_DATA if name in looked_at)
        for asked in self.ask.services:
            self._service(asked)
        self._take_turns()
        life = wallet.tariff.life if wallet is not None else ENDLESS
        return Plan(
            list(self.ladders), self.services, self.pieces, ANY if self.ask.kind == INITIAL else told_before,
            told_before if self.facts is before else self.facts.text, True, self.sources, life.first_ms, life.grace_ms,
            looked_at, self.edges_ms or _NO_EDGES, self.in_money, self.pools or NO_POOLS,
        )  # fmt: skip

    def _take_turns(self) -> None:
        """Say in whose turn each service is served: by the priority of its rate, then by its place."""
        if len(self.priorities) > 1:
            turns = sorted(range(len(self.priorities)), key=self.priorities.__getitem__)
            self.services[_TURN::WIDTH] = [place + 1 for place in turns]

    def _service(self, asked: AskedService) -> None:
        facts, following = self._following(asked)
        mark, earlier = self._earlier(asked.key, following)
        if earlier is not None and earlier.tariff is not self.tariff:
            following = self._moved(facts, following, earlier)
        on = earlier or following
        unit = on.rate.unit if on is not None else Unit.OCTETS
        at = unit - 1
        reported = _NOTHING if asked.used is None else asked.used
        in_money = unit is _MONEY
        if in_money:
            self.in_money = True
        refusal = wants = ladder = validity_s = closes = 0
        foreign = self.foreign and tells_money(asked.used, asked.wanted)
        if foreign:
            refusal = _REFUSED
        elif asked.wanted is None or self.ask.kind == TERMINATION:
            pass
        elif (
            following is None
            or following.rate.unit != unit
            or ((in_money or asked.wanted.money >= 0) and rated_elsewhere(unit, asked.wanted))
        ):  # a service has one axis, and that one kind of unit
            refusal = _REFUSED
        else:
            chosen, most, validity_s = self._sizes(asked, at, in_money=in_money)
            wants = chosen if asked.wanted[at] <= 0 else min(asked.wanted[at], most)
            refusal = 0 if wants else _REFUSED  # the money of an event is not chosen (event.py, law 1)
            edge_ms = self._edge_ms(following.rate, self.at_ms + 1000 * validity_s)
            if edge_ms is not None:
                self.edges_ms[asked.key] = edge_ms
                validity_s = max(1, (edge_ms - self.at_ms) // 1000)
                if unit == Unit.SECONDS:  # so that no second is granted at another window's price
                    wants = min(wants, validity_s)
            ladder = self._place(following.rate.ladders[following.place])
            closes = earlier is not None and (
                earlier.tariff is not following.tariff or not following.rate.follows(earlier.rate)
            )
        after = asked.after[at] if asked.after is not None else 0
        # without pieces what is reported is set aside
        pieces = self._pieces(earlier, reported[at], after) if not (foreign and in_money) else []
        for piece in pieces:
            self.pieces += (self._place(piece[0]), piece[1])
        granted = 0
        if earlier is not None and after <= 0 and earlier.rate.cuts_by_time and reported[at] > 0:
            granted = self._place(earlier.rate.ladders[earlier.place])
        sources = self._sources(following, facts) if wants else ()
        for source in sources:
            self.sources += source
        if wants and not sources and self.own is not None and following is not None:
            self.pools |= pooled(self.ask, (asked,), self.own, following.rate.ladders, unit)
        always = RECEIVED if facts.direction == INCOMING else 0
        if following is not None and following.rate.emergency:
            always = EMERGENCY_CALL
        self.priorities.append(following.rate.priority if following is not None else 0)
        self.services += (
            asked.key, refusal, unit, *reported, wants, validity_s,
            self.rules.money_per_s if in_money else self.rules[at + 4], ladder, len(pieces),
            mark, following.mark if following is not None else "", int(closes), always, len(sources), len(self.priorities), granted,
        )  # fmt: skip

    def _sizes(self, asked: AskedService, at: int, *, in_money: bool) -> tuple[int, int, int]:
        """Return the units where nothing is asked, the most of them, and their life in seconds; money has no sizes by family."""
        rules = self.rules
        if self.own is None:
            if in_money:
                return rules.money, rules.money_most, rules.validity_s
            return rules[at], rules[at], rules.validity_s
        sizes = self.own[asked.rating_group]
        if in_money:
            return rules.money, rules.money_most, sizes.validity_s
        return sizes.chosen[at], sizes.most[at], sizes.validity_s

    def _edge_ms(self, rate: Rate, until_ms: int) -> int | None:
        """Return the first instant before ``until_ms`` with another price: another window, or another version (switch.py, law 3)."""
        edge_ms = rate.edge_after(self.at_ms, until_ms)
        taken_ms = self.course.until_ms if self.course is not None else None
        # a family's grants may live shorter than the longest, for which the course looked ahead
        return taken_ms if taken_ms is not None and taken_ms <= (edge_ms or until_ms) else edge_ms

    def _sources(self, following: _On | None, facts: Facts) -> tuple[Source, ...]:
        """Return what a grant may be paid from beside the account's money, and what it is counted on."""
        if self.wallet is None or following is None or following.rate.free:
            return ()
        return self.wallet.sources(following.rate, facts, self.at_ms)[:SOURCES_MAX]

    def _following(self, asked: AskedService) -> tuple[Facts, _On | None]:
        """Return what is known of a service now, and what prices a grant that is made now."""
        facts = self.facts.facts(self.family, asked.rating_group, asked.service_identifier)
        rate = self.tariff.rate(facts)
        return facts, None if rate is None else _On(rate, rate.index_at(self.at_ms), self.tariff)

    def _earlier(self, key: str, following: _On | None) -> tuple[str, _On | None]:
        """Return the mark that the service is on, and what prices the units used since; a new service is on what follows."""
        if self.known is None or key not in self.known.marks:
            return (_NO_MARK, None) if following is None else (following.mark, following)
        mark = self.known.marks[key]
        tariff: Tariff | None = self.tariff
        if self.course is not None:
            tariff = self.course.of(version_of(mark, self.tariff.key))
        found = tariff.marked(mark, self.family) if tariff is not None else None
        return mark, None if found is None or tariff is None else _On(*found, tariff)

    def _moved(self, facts: Facts, following: _On | None, earlier: _On) -> _On:
        """Return what prices a grant now of a service that is on another version: the rate of its mark where it is to stay (switch.py, law 2)."""
        assert self.course is not None
        one_plan, mine = self.course.one_plan, self.tariff
        if (
            following is not None
            and following.rate.unit == earlier.rate.unit
            and earlier.tariff.version < mine.version
            and (
                self.anew
                or isinstance(
                    rate_told(earlier.tariff, mine, facts, one_plan=lambda: one_plan(earlier.tariff, mine)),
                    Rate,
                )
            )
        ):
            return following
        return earlier._replace(place=earlier.rate.index_at(self.at_ms))

    def _pieces(self, on: _On | None, units: int, after: int) -> list[tuple[Ladder, int]]:
        """Cut used units at the edges (rates.py, law 3); ``after`` of them were used after a tariff change (RFC 8506 section 8.27)."""
        if on is None or units < 0:
            return []
        rate, ladders = on.rate, on.rate.ladders
        if len(ladders) == 1:
            return [(ladders[0], units)]
        after = min(max(after, 0), units)
        if rate.unit != Unit.SECONDS or after:
            return [
                (ladder, count)
                for ladder, count in ((ladders[on.place], units - after), (rate.ladder_at(self.at_ms), after))
                if count or not units
            ][: 2 if units else 1]
        return [(ladders[index], count) for index, count in rate.pieces_until(units, self.at_ms)] or [
            (ladders[on.place], 0)
        ]

    def _place(self, ladder: Ladder) -> int:
        """Return a ladder's place among the plan's."""
        return self.ladders.setdefault(self.ladder_text(ladder), len(self.ladders) + 1)
