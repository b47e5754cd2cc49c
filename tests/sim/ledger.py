"""What the clients know: every request that they have sent, every answer that they have seen, every top-up.

It knows nothing of how the server reckons. Judged later (judge.py) against the store's records.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

INITIAL, UPDATE, TERMINATION, EVENT = 1, 2, 3, 4
DEBIT, REFUND, CHECK, PRICE = 0, 1, 2, 3
SUCCESS, TOO_BUSY, UNKNOWN_SESSION, CONFLICT, UNKNOWN_SUBSCRIBER = 2001, 3004, 5002, 5012, 5030
OCTETS, SECONDS, EVENTS = 1, 2, 3
UNIT_AVPS = {OCTETS: "CC-Total-Octets", SECONDS: "CC-Time", EVENTS: "CC-Service-Specific-Units"}


class Report(NamedTuple):
    """One service of a request: its rating group, the kind of unit, what was used (None: no report), what is wanted (None: nothing, 0: any)."""

    group: int
    unit: int
    used: int | None
    wanted: int | None


class Request(NamedTuple):
    """One credit-control request: session, kind and number are its identity, the services and the action its content."""

    session: str
    msisdn: str
    kind: int
    number: int
    context: str
    services: tuple[Report, ...]
    action: int | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        return self.session, self.kind, self.number


class Granted(NamedTuple):
    """One service of an answer."""

    code: int
    units: int
    final: bool


class Answer(NamedTuple):
    """What came back: the command's result code, and what each rating group got."""

    code: int
    services: Mapping[int, Granted]

    @property
    def weighs(self) -> bool:
        """Tell whether it says that the request was looked at and is on record; refusals before that leave nothing behind."""
        return self.code not in {
            TOO_BUSY,
            UNKNOWN_SESSION,
            CONFLICT,
            UNKNOWN_SUBSCRIBER,
        }


Key = tuple[str, int, int]


@dataclass(slots=True)
class Sent:
    """One identity and one content: how often it was sent, and every answer."""

    request: Request
    times: int = 0
    answers: list[Answer] = field(default_factory=list)
    behaved: bool = True
    """Whether its client reports no more than it was granted, one request after the other."""
    malformed: bool = False


@dataclass(slots=True)
class TopUp:
    """Money that a channel brings, under its id."""

    msisdn: str
    amount_micros: int
    acknowledged: bool = False
    span_s: tuple[float, float] = (0.0, 0.0)
    """When its first try began, and when it was acknowledged."""


@dataclass(slots=True)
class Life:
    """A session as its client lives it: when it was opened (0: never), when it began to end, when the server asked it to report."""

    msisdn: str
    opened_s: float = 0.0
    ended_s: float = 0.0
    told_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Ledger:
    """Everything that is known outside the server."""

    sent: dict[Key, list[Sent]] = field(default_factory=dict)
    topups: dict[str, TopUp] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    opened: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Accounts by number: their credit at the opening, and their floor."""
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def sending(self, request: Request, *, behaved: bool, malformed: bool = False) -> Sent:
        """Note that a request goes out, for the first time or again."""
        self.counts["sent"] += 1
        contents = self.sent.setdefault(request.key, [])
        for each in contents:
            if each.request == request and each.malformed == malformed:
                each.times += 1
                return each
        contents.append(Sent(request, 1, [], behaved, malformed))
        return contents[-1]

    def answered(self, sent: Sent, answer: Answer) -> None:
        """Note an answer."""
        self.counts["answered"] += 1
        self.counts[f"code {answer.code}"] += 1
        sent.answers.append(answer)
