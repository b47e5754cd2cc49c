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


class Outcome(NamedTuple):
    """Decision for the whole request; ``services`` may be empty where nothing was looked at (conflict, unknown session)."""

    code: Code
    notes: Note
    services: tuple[ServiceOutcome, ...]
