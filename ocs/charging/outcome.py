"""The Outcome: what the store decided about one request, the same when it is asked again."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ocs.outcomes import Code, Note
from ocs.rating.ladder import Ladder
from ocs.units import Unit


class ServiceOutcome(NamedTuple):
    """Decision for one service, in the order of the Ask: granted units (0: none), their life, and whether they are the last."""

    code: Code
    unit: Unit
    granted: int
    validity_s: int
    final: bool


class Cost(NamedTuple):
    """What a service of an enquiry would cost in money, restricted or not, and how many of its units allowances would have."""

    money_micros: int
    allowance_units: int


class Charged(NamedTuple):
    """What became of a one-time event: its services as those of an Outcome (their ``granted`` is what was debited, given back or
    asked about), of an enquiry the cost of each, and the account's currency.
    """

    currency: str
    services: tuple[ServiceOutcome, ...] = ()
    costs: tuple[Cost, ...] = ()


class Pooled(NamedTuple):
    """A service whose grant goes into a credit pool (pools.py): the pool's number, and the ladder of the grant."""

    pool: int
    ladder: Ladder


NO_POOLS: Final[Mapping[str, Pooled]] = MappingProxyType({})


class More(NamedTuple):
    """What the answer tells beside the decision, where config says so.

    The names of the facts that the rates of the services look at; what the account has available now, in micro-units of its currency
    (None: not known).
    """

    looked_at: frozenset[str] = frozenset()
    available_micros: int | None = None
    currency: str = ""
    edges_s: Mapping[str, int] | None = None
    """Where the price of a service changes within the life of its grant, by its key: Unix seconds of the client's clock."""
    pools: Mapping[str, Pooled] = NO_POOLS
    """The services of which the store says that their grant went into a pool, by key."""
    foreign: bool = False
    """Whether the request's units in money are in another currency than the account's."""


class Outcome(NamedTuple):
    """Decision for the whole request; ``services`` may be empty where nothing was looked at (conflict, unknown session).

    They are empty for a one-time event too, whose ``event`` says what became of it.
    """

    code: Code
    notes: Note
    services: tuple[ServiceOutcome, ...]
    event: Charged | None = None
    more: More | None = None
