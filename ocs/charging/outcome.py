"""The Outcome: what the store decided about one request, the same when it is asked again."""

from typing import NamedTuple

from ocs.outcomes import Code, Note
from ocs.units import Unit


class ServiceOutcome(NamedTuple):
    """Decision for one service, in the order of the Ask: granted units (0: none), their life, and whether they are the last."""

    code: Code
    unit: Unit
    granted: int
    validity_s: int
    final: bool


class More(NamedTuple):
    """What the answer tells beside the decision, where config says so.

    The names of the facts that the rates of the services look at; what the account has available now, in micro-units of its currency
    (None: not known).
    """

    looked_at: frozenset[str] = frozenset()
    available_micros: int | None = None
    currency: str = ""


class Outcome(NamedTuple):
    """Decision for the whole request; ``services`` may be empty where nothing was looked at (conflict, unknown session)."""

    code: Code
    notes: Note
    services: tuple[ServiceOutcome, ...]
    more: More | None = None
