"""Trees of parties in SQL: the way up, what hangs below, and the lock that lets one change of a tree come after the other.

Laws
1. Whoever changes a tree, or what is decided by it (who pays), holds the row of its top (``held_tops``) before looking at it.
2. No statement names each node of a large tree: what hangs below is found by the database.
"""

from collections.abc import Iterable

from sqlalchemy import CTE, Connection, literal, select

from ocs.care.customers import tree
from ocs.care.customers.shapes import conflict, missing
from ocs.care.customers.tables import parties
from ocs.limits import PARTIES_BELOW_MAX, PARTY_DEPTH_MAX
from ocs.sql import locked

__all__ = ["below", "below_of", "climb", "held_tops", "parents_below", "parents_of"]

_TRIES = 8


def climb(look: Connection, party: int) -> tuple[int, ...]:
    """Return a party and all above it, the nearest first. Raises CustomerFault, and what tree.path raises of a damaged tree."""
    return tree.path(parents_of(look, party), party)


def parents_of(look: Connection, party: int) -> dict[int, int | None]:
    """Return the parents of a party and of all above it. Raises CustomerFault."""
    found: dict[int, int | None] = {}
    node: int | None = party
    while node is not None and node not in found:
        row = look.execute(select(parties.c.parent).where(parties.c.id == node)).one_or_none()
        if row is None:
            raise missing(f"party {node}")
        found[node] = row.parent
        node = row.parent
    return found


def below(party: int) -> CTE:
    """Build the common table (id, parent, depth) of a party and all below it (law 2)."""
    top = select(parties.c.id, parties.c.parent, literal(0).label("depth")).where(parties.c.id == party)
    found = top.cte("below", recursive=True)
    deeper = select(parties.c.id, parties.c.parent, found.c.depth + 1).where(
        parties.c.parent == found.c.id, found.c.depth < PARTY_DEPTH_MAX
    )
    return found.union_all(deeper)


def below_of(look: Connection, party: int) -> list[int]:
    """Return a party and all below it, each level before the next. Raises CustomerFault."""
    return list(parents_below(look, party))


def parents_below(look: Connection, party: int) -> dict[int, int | None]:
    """Return the parents of a party and of all below it, each level before the next. Raises CustomerFault."""
    found = below(party)
    rows = look.execute(
        select(found.c.id, found.c.parent).order_by(found.c.depth, found.c.id).limit(PARTIES_BELOW_MAX + 1)
    ).all()
    if not rows:
        raise missing(f"party {party}")
    if len(rows) > PARTIES_BELOW_MAX:
        raise conflict(
            f"party {party}", f"more than {PARTIES_BELOW_MAX} parties hang below it", "change a part of it"
        )
    return {row.id: row.parent for row in rows}


def held_tops(work: Connection, nodes: Iterable[int]) -> None:
    """Hold the tops of the trees that parties are in, until the unit of work ends. Raises CustomerFault."""
    wanted = sorted(set(nodes))
    for _ in range(_TRIES):
        tops = sorted({climb(work, node)[-1] for node in wanted})
        for top in tops:
            work.execute(locked(select(parties.c.id).where(parties.c.id == top)))
        if tops == sorted({climb(work, node)[-1] for node in wanted}):
            return
    raise conflict(f"party {wanted[0]}", "its tree is being changed", "ask again")
