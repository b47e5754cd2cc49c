"""Random trees of parties: everyone has exactly one payer or none, and no move makes a circle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.care.customers import tree
from ocs.limits import PARTY_DEPTH_MAX

NODES = 12


@st.composite
def trees(draw: st.DrawFn) -> dict[int, int | None]:
    """Nodes 1 to 12, each below an earlier one or a top of its own, no deeper than allowed."""
    parents: dict[int, int | None] = {}
    for node in range(1, NODES + 1):
        allowed = [each for each in parents if len(tree.path(parents, each)) < PARTY_DEPTH_MAX]
        parents[node] = draw(st.sampled_from([None, *allowed]))
    names = draw(st.permutations(range(1, NODES + 1)))
    named = dict(zip(range(1, NODES + 1), names, strict=True))
    return {named[node]: None if parent is None else named[parent] for node, parent in parents.items()}


def accounts_of(draw: st.DataObject) -> dict[int, int]:
    nodes = draw.draw(st.sets(st.integers(1, NODES)))
    return {node: 100 + node for node in nodes}


@given(trees(), st.data())
def test_everyone_has_exactly_one_payer_or_none(parents: dict[int, int | None], draw: st.DataObject) -> None:
    accounts = accounts_of(draw)
    paid = {account: tree.paid_by(parents, accounts, account) for account in accounts.values()}
    for node in parents:
        payers = [account for account, nodes in paid.items() if node in nodes]
        payer = tree.payer_of(parents, accounts, node)
        assert payers == ([] if payer is None else [payer])


@given(trees(), st.data())
def test_the_payer_is_the_nearest_upwards_and_a_named_one_comes_before_it(
    parents: dict[int, int | None], draw: st.DataObject
) -> None:
    accounts = accounts_of(draw)
    for node in parents:
        found, at = None, node
        while True:  # the way up as a person would go it
            if at in accounts:
                found = accounts[at]
                break
            above = parents[at]
            if above is None:
                break
            at = above
        assert tree.payer_of(parents, accounts, node) == found
        assert tree.payer_of(parents, accounts, node, 7) == 7


@given(trees(), st.lists(st.tuples(st.integers(1, NODES), st.integers(0, NODES)), max_size=20))
def test_moves_that_are_allowed_leave_a_tree_and_those_that_are_refused_would_not(
    parents: dict[int, int | None], moves: list[tuple[int, int]]
) -> None:
    for node, to in moves:
        below = to or None
        after = {**parents, node: below}
        if tree.move_refusal(parents, node, below):
            with pytest.raises((tree.Circle, tree.TooDeep)):
                list(map(tree.path, [after] * NODES, after))
        else:
            parents = after
            for each in parents:
                assert len(tree.path(parents, each)) <= PARTY_DEPTH_MAX


@given(trees())
def test_what_hangs_below_is_what_has_it_on_the_way_up(parents: dict[int, int | None]) -> None:
    for node in parents:
        found = list(tree.below(parents, node))
        assert sorted(found) == sorted(each for each in parents if node in tree.path(parents, each))
        assert found[0] == node
        assert tree.height(parents, node) == max(
            len(tree.path(parents, each)) - len(tree.path(parents, node)) + 1 for each in found
        )
