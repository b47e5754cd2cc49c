"""Sessions that go on with a tariff's next version while they run (`running_sessions: switch`); pure.

Laws
1. A session goes on with the next version at the first request, in its order, that asks for a grant. What was granted before is priced
   on the version of its grant, which its mark names ("2:calls/0"), and the chain is closed there (plan.py, law 2).
2. Nobody's call is cut by a new price list: a service stays on the rate of its mark where the next version does not price it in its
   unit, or where what is known does not tell its rate there; a session stays where the next version does not sell its family.
3. A grant that is made once the worker knows the next version does not live beyond its instant, or lives a second.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ocs.charging.ask import UPDATE, Ask
from ocs.rating.tariff import Tariff


def version_of(mark: str, tariff: str) -> str:
    """Return the key of the version that a mark of a session is of; ``tariff`` is the key of any version of its tariff."""
    return f"{tariff.partition('@')[0]}@{mark.partition(':')[0]}"


class Versions(Protocol):
    """The versions that are known (rating/versions.py)."""

    def of_session(self, key: str) -> Tariff | None:
        """Return a version by its key."""

    def next_of(self, tariff: Tariff, at_ms: int) -> Tariff | None:
        """Return the version with which sessions of a version go on at an instant."""

    def taken_ms(self, tariff: Tariff, at_ms: int) -> int | None:
        """Return the first instant after ``at_ms`` from which a version's sessions go on with another."""

    def one_plan(self, one: Tariff, other: Tariff) -> bool:
        """Tell whether two versions give every number and network the same zone."""


class Session(Protocol):
    """What is known of a session (plan.py, Known)."""

    @property
    def marks(self) -> dict[str, str]:
        """The mark of each of its services."""


class Course(NamedTuple):
    """The versions of one request: grants are made on ``tariff``, the session was on ``began``, an earlier mark may be of others.

    ``next`` is the key that the session goes on with, "" where it stays; no grant lasts beyond ``until_ms``. ``alone`` tells that there
    is but one version after all, ``lost`` that one that a service of the request is on is not known here.
    """

    tariff: Tariff
    began: Tariff
    next: str
    until_ms: int | None
    of: Callable[[str], Tariff | None]
    one_plan: Callable[[Tariff, Tariff], bool]
    alone: bool
    lost: bool


def course(
    versions: Versions, ask: Ask, tariff: Tariff, known: Session | None, at_ms: int, within_s: int
) -> Course:
    """Return the versions of a request of a session on a tariff.

    ``known`` is what is known of the session, None when nothing is; a grant lasts ``within_s`` seconds at most.
    """
    following, others = None, frozenset[str]()
    if known is not None:
        marks = [known.marks[each.key] for each in ask.services if each.key in known.marks]
        others = frozenset([version_of(mark, tariff.key) for mark in marks]) - {tariff.key}
        newer = versions.next_of(tariff, at_ms)
        asks = ask.kind == UPDATE and any(each.wanted is not None for each in ask.services)
        if newer is not None and asks and ask.family is not None and newer.looked_at(ask.family) is not None:
            following = newer
    priced_by = following or tariff
    until_ms = versions.taken_ms(priced_by, at_ms)
    if until_ms is not None and until_ms > at_ms + 1000 * within_s:
        until_ms = None
    return Course(
        priced_by,
        tariff,
        following.key if following is not None else "",
        until_ms,
        versions.of_session,
        versions.one_plan,
        alone=following is None and until_ms is None and not others,
        lost=any(versions.of_session(key) is None for key in others),
    )
