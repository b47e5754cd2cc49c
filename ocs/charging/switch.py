"""Sessions that go on with a tariff's next version while they run (`running_sessions: switch`); pure.

Laws
1. A session goes on with the next version at the first request that asks for a grant, of all its services: what was granted before
   is priced on the version of its grant, and its chain is closed there (plan.py, law 2).
2. It keeps its version where what is known of it does not tell the rates of the next one, or where the next one does not price
   what it asks for in the unit that it is measured in: nobody's call is cut by a new price list.
3. The store keeps the version of a session, and marks of services that are still on an earlier one with their version before them:
   "mobile@2:calls/0". Other marks are the session's version's.
4. No grant passes the instant at which the next version takes the session along.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ocs.charging.ask import Ask
from ocs.charging.information import kept, merged, told
from ocs.rating.rates import Rate
from ocs.rating.rerate import rate_told
from ocs.rating.tariff import Tariff
from ocs.units import Unit

_OF_DATA = ("roaming", "access", "apn")
"""Facts that a request of a data session may tell anew (information.py, law 2)."""


def version_of(mark: str, tariff: str) -> tuple[str, str]:
    """Return the tariff's key and the rate's mark that a mark of a session of a tariff stands for (law 3)."""
    key, colon, rest = mark.partition(":")
    return (key, rest) if colon else (tariff, mark)


def with_version(mark: str, tariff: str) -> str:
    """Return a mark of a session that leaves a tariff, with the version that it is of."""
    return mark if ":" in mark else f"{tariff}:{mark}"


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


class Course(NamedTuple):
    """The versions of one request: grants are made on ``tariff``, the session was on ``began``, an earlier mark may be of others.

    ``next`` is the key that the session goes on with, "" where it stays; no grant lasts beyond ``until_ms``. ``alone`` tells
    that there is but one version after all, ``lost`` that one that the session needs is not known.
    """

    tariff: Tariff
    began: Tariff
    next: str
    until_ms: int | None
    of: Callable[[str], Tariff | None]
    alone: bool
    lost: bool

    def marked(self, mark: str, service: str) -> tuple[Rate, int] | None:
        """Return the rate and ladder of a service's mark."""
        key, rest = version_of(mark, self.began.key)
        tariff = self.began if key == self.began.key else self.of(key)
        return None if tariff is None else tariff.marked(rest, service)

    def left(self, mark: str) -> bool:
        """Tell whether a mark is of another version than the next grant: then its chain is closed (law 1)."""
        return version_of(mark, self.began.key)[0] != self.tariff.key


class Session(Protocol):
    """What is known of a session (plan.py, Known)."""

    @property
    def facts(self) -> str:
        """What it is rated by."""

    @property
    def marks(self) -> Mapping[str, str]:
        """The mark of each of its services."""


def course(
    versions: Versions, ask: Ask, tariff: Tariff, known: Session | None, at_ms: int, within_s: int
) -> Course:
    """Return the versions of a request of a session on a tariff.

    ``known`` is what is known of the session, None when nothing is; a grant lasts ``within_s`` seconds at most.
    """
    following, others, lost = None, False, False
    if known is not None:
        keys = {version_of(mark, tariff.key)[0] for mark in known.marks.values()} - {tariff.key}
        others, lost = bool(keys), any(versions.of_session(key) is None for key in keys)
        newer = versions.next_of(tariff, at_ms)
        if not lost and newer is not None and _goes_on(versions, ask, tariff, newer, known):
            following = newer
    priced_by = following or tariff
    until_ms = versions.taken_ms(priced_by, at_ms)
    if until_ms is not None and until_ms >= at_ms + 1000 * within_s:
        until_ms = None
    key = following.key if following is not None else ""
    alone = following is None and until_ms is None and not others
    return Course(priced_by, tariff, key, until_ms, versions.of_session, alone, lost)


def _goes_on(versions: Versions, ask: Ask, began: Tariff, newer: Tariff, known: Session) -> bool:
    """Tell whether a request makes its session go on with a newer version (laws 1 and 2)."""
    family = ask.family
    asking = [each for each in ask.services if each.wanted is not None]
    looked_at = newer.looked_at(family) if family is not None else None
    if family is None or looked_at is None or not asking:
        return False
    now = told(family, ask.information, newer.numbering, looked_at)
    holds = merged(family, kept(known.facts), now)
    anew = family == "data" and all(getattr(now, name) for name in _OF_DATA if name in looked_at)
    for asked in asking:
        about = holds.facts(family, asked.rating_group, asked.service_identifier)
        rate = newer.rate(about)
        if not anew:
            found = rate_told(began, newer, about, one_plan=lambda: versions.one_plan(began, newer))
            rate = found if isinstance(found, Rate) else None
        unit = _unit(versions, known.marks.get(asked.key), began, family)
        if rate is None or (unit is not None and unit != rate.unit):
            return False
    return True


def _unit(versions: Versions, mark: str | None, began: Tariff, family: str) -> Unit | None:
    """Return the unit of the rate that a service is on; None of one that the session does not have."""
    if mark is None:
        return None
    key, rest = version_of(mark, began.key)
    tariff = versions.of_session(key)
    found = tariff.marked(rest, family) if tariff is not None else None
    return found[0].unit if found is not None else None
