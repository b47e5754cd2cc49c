"""Who pays for whom: parties as a tree, billing accounts at some of its nodes (pure).

Laws
1. A node has one parent or none; no node is above itself; a tree has at most PARTY_DEPTH_MAX levels.
2. A service is paid by the billing account that it names; else by the one of the nearest node upwards, its own first, that has one; else by
   nobody. So everyone has exactly one payer, or none.
3. Of several billing accounts at one node the first one that is open is the node's; the others pay for those who name them.
"""

from collections.abc import Iterator, Mapping

from ocs.limits import PARTY_DEPTH_MAX

__all__ = ["Circle", "TooDeep", "below", "height", "move_refusal", "paid_by", "path", "payer_of"]

Parents = Mapping[int, int | None]
"""Each node's parent, None at the top."""
Accounts = Mapping[int, int]
"""The billing account of each node that has one."""


class Circle(ValueError):
    """A node is above itself."""


class TooDeep(ValueError):
    """A tree has more levels than it may."""


def path(parents: Parents, node: int) -> tuple[int, ...]:
    """Return a node and all above it, the nearest first. Raises Circle, TooDeep, KeyError (a node that is not there)."""
    found = [node]
    while (above := parents[found[-1]]) is not None:
        if above in found:
            raise Circle(f"party {above} is above itself")
        found.append(above)
        if len(found) > PARTY_DEPTH_MAX:
            raise TooDeep(f"party {node} has more than {PARTY_DEPTH_MAX} levels")
    return tuple(found)


def payer_of(parents: Parents, accounts: Accounts, node: int, named: int | None = None) -> int | None:
    """Return the billing account that pays for something at a node (law 2); None: nobody. Raises what ``path`` raises."""
    if named is not None:
        return named
    return next((accounts[each] for each in path(parents, node) if each in accounts), None)


def below(parents: Parents, node: int) -> Iterator[int]:
    """Give a node and all below it, each level before the next."""
    children = _children(parents)
    level = [node]
    while level:
        yield from level
        level = [child for each in level for child in children.get(each, ())]


def height(parents: Parents, node: int) -> int:
    """Return how many levels hang at a node, its own among them."""
    children = _children(parents)
    levels, level = 0, [node]
    while level:
        levels += 1
        level = [child for each in level for child in children.get(each, ())]
    return levels


def paid_by(parents: Parents, accounts: Accounts, account: int) -> frozenset[int]:
    """Return the nodes whose payer is an account: its own and those below, without those that a nearer account pays for."""
    node = next((each for each, held in accounts.items() if held == account), None)
    if node is None:
        return frozenset()
    children = _children(parents)
    found, level = {node}, [node]
    while level:
        level = [child for each in level for child in children.get(each, ()) if child not in accounts]
        found.update(level)
    return frozenset(found)


def move_refusal(parents: Parents, node: int, to: int | None) -> str:
    """Say why a node cannot hang below another one ("": it can); ``to`` None makes it a top."""
    if to is None:
        return ""
    upwards = path(parents, to)
    if node in upwards:
        return f"party {to} is {'the same' if node == to else f'below party {node}'}; name one that is not"
    levels = len(upwards) + height(parents, node)
    if levels > PARTY_DEPTH_MAX:
        return f"the tree would have {levels} levels; at most {PARTY_DEPTH_MAX} are allowed"
    return ""


def _children(parents: Parents) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for node in sorted(parents):
        parent = parents[node]
        if parent is not None:
            found.setdefault(parent, []).append(node)
    return found
