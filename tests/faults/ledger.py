"""The network elements' own ledger: what was sent, what was acknowledged, and what every balance has to be by that.

It knows nothing of how the server reckons: one flat price per started MiB, per session and service, in three lines below.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MIB = 1_048_576
PRICE_MICROS = 10_000
"""flat-data: 0.01 per started MiB (INTERFACE, Diameter)."""

INITIAL, UPDATE, TERMINATION, EVENT = 1, 2, 3, 4
DIRECT_DEBITING, REFUND_ACCOUNT = 0, 1
SUCCESS, CREDIT_LIMIT, TOO_BUSY = 2001, 4012, 3004


def price_micros(octets: int) -> int:
    """What so many octets of one service of one session cost."""
    return -(-octets // MIB) * PRICE_MICROS


class Reported(NamedTuple):
    """One service of a request: what was used (None: no report) and what is wanted (None: nothing)."""

    group: int
    used: int | None
    wants: int | None


class Request(NamedTuple):
    """One credit-control request; session, kind and number are its identity, the services its content, and of an event the action."""

    session: str
    msisdn: str
    kind: int
    number: int
    services: tuple[Reported, ...]
    action: int | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        return self.session, self.kind, self.number


class Answer(NamedTuple):
    """What came back: the command's result code, and code and granted octets of each rating group."""

    code: int
    granted: Mapping[int, tuple[int, int]]


@dataclass(slots=True)
class SessionBook:
    """One session as its client knows it."""

    msisdn: str
    used: Counter[int] = field(default_factory=Counter)
    standing: dict[int, int] = field(default_factory=dict)
    is_open: bool = False

    def posted_micros(self) -> int:
        return sum(price_micros(octets) for octets in self.used.values())

    def held_micros(self) -> int:
        """What the standing grants hold back: the price up to their end, less what is posted."""
        return sum(
            price_micros(self.used[group] + octets) - price_micros(self.used[group])
            for group, octets in self.standing.items()
        )


@dataclass(slots=True)
class Ledger:
    """Everything that the network knows to be acknowledged."""

    credits_micros: Counter[str] = field(default_factory=Counter)
    topups: dict[str, tuple[str, int]] = field(default_factory=dict)
    acknowledged: dict[tuple[str, int, int], dict[int, int]] = field(default_factory=dict)
    sessions: dict[str, SessionBook] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def opened(self, msisdn: str, credit_micros: int) -> None:
        """An account was created with this credit."""
        self.credits_micros[msisdn] += credit_micros

    def topped_up(self, topup_id: str, msisdn: str, amount_micros: int) -> None:
        """A top-up was acknowledged, for the first time or again."""
        if topup_id not in self.topups:
            self.topups[topup_id] = (msisdn, amount_micros)
            self.credits_micros[msisdn] += amount_micros

    def take(self, request: Request, answer: Answer) -> None:
        """Enter one acknowledged request; an answer that no rule allows is kept as wrong."""
        self.counts["acknowledged"] += 1
        session = self.sessions.setdefault(request.session, SessionBook(request.msisdn))
        if answer.code not in {SUCCESS, CREDIT_LIMIT}:
            self.wrong.append(f"{request.key}: answered {answer.code}")
            return
        if request.key in self.acknowledged:
            self.wrong.append(f"{request.key}: acknowledged twice")
        if request.kind == EVENT:
            self._take_event(request, answer)
            return
        self.acknowledged[request.key] = {each.group: each.used or 0 for each in request.services}
        session.is_open = request.kind == UPDATE or (request.kind == INITIAL and answer.code == SUCCESS)
        for group, used, wants in request.services:
            session.used[group] += used or 0
            code, octets = answer.granted.get(group, (0, 0))
            if wants is None:
                session.standing.pop(group, None)
            elif code not in {SUCCESS, CREDIT_LIMIT} or octets > wants or (code == SUCCESS and not octets):
                self.wrong.append(f"{request.key}: wanted {wants} of {group}, got {code} with {octets}")
            else:
                session.standing[group] = octets
        if not session.is_open:
            session.standing.clear()

    def _take_event(self, request: Request, answer: Answer) -> None:
        """Enter an event: all that it wanted was debited, or nothing; a refund is of all that the debit of its Session-Id took."""
        book = self.sessions[request.session]
        self.acknowledged[request.key] = {}
        for group, _, wants in request.services:
            code, octets = answer.granted[group]
            before = book.used[group]
            if request.action == DIRECT_DEBITING and octets not in {0, wants}:
                self.wrong.append(f"{request.key}: wanted {wants} of {group}, got {code} with {octets}")
            book.used[group] = before + octets if request.action == DIRECT_DEBITING else 0
            self.acknowledged[request.key][group] = book.used[group] - before

    # -- what the books have to say

    def posted_micros(self, msisdn: str) -> int:
        return sum(each.posted_micros() for each in self.sessions.values() if each.msisdn == msisdn)

    def held_micros(self, msisdn: str) -> int:
        return sum(each.held_micros() for each in self.sessions.values() if each.msisdn == msisdn)

    def open_sessions(self, msisdn: str) -> int:
        return sum(each.is_open for each in self.sessions.values() if each.msisdn == msisdn)
