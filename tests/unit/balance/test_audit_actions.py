"""The audit sees what does not hold of actions: what is owed, what a bucket is of, and transfers that do not arrive, or arrive twice."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from ocs.balance.action_steps import Steps
from ocs.balance.actions import Action, ActionState
from ocs.balance.audit import audit
from ocs.balance.audit_actions import Leg, Transfers, transfer_faults
from ocs.balance.claims import Claim, Step, read_claim, write_claim
from ocs.balance.keys import home
from ocs.balance.link import StoreFault
from ocs.balance.stored_book import read_book, write_book
from ocs.records import ActionKind as Kind
from tests.real_valkey import RealValkey
from tests.unit.balance.books import network
from tests.unit.balance.tills import FUNDS, Till, bucket_of_gift


@pytest.fixture
def till(valkey: RealValkey) -> Iterator[Till]:
    with network(valkey) as opened:
        yield Till(opened)


def _faults(till: Till) -> list[str]:
    return [fault.what for fault in till.faults()]


def test_what_is_owed_otherwise_than_the_records_say_is_seen(till: Till) -> None:
    till.do(Kind.EMERGENCY, 100, fee_micros=20)
    where = till.net.account.profile
    key = till.net.charged.parts.keys[where.partition].owed(where.account)
    assert _faults(till) == []
    till.net.execute("SET", key, "119")
    assert _faults(till) == ["owes 119, the records say 120"]
    till.net.execute("DEL", key)
    assert _faults(till) == ["owes 0, the records say 120"]


def test_a_bucket_of_more_than_the_records_say_is_seen(till: Till) -> None:
    till.do(Kind.ADJUST, 25, bucket=bucket_of_gift(till))
    where = till.net.account.profile
    key = till.net.charged.parts.keys[where.partition].book(where.account)
    assert _faults(till) == []
    book = read_book(till.net.execute("GET", key))
    rows = (book.rows[0]._replace(amount=76),)
    till.net.execute("SET", key, write_book(book._replace(rows=rows)))
    assert [what.partition(" is of ")[2] for what in _faults(till)] == ["76, the records say 75"]


def _claim_key(till: Till) -> str:
    parts = till.net.charged.parts
    return parts.keys[home("shop:one", len(parts.keys))].claim("shop", "one")


def test_a_transfer_whose_receivers_step_is_gone_is_seen_once_it_is_not_under_way(till: Till) -> None:
    till.do(Kind.TRANSFER, 100)
    there = till.other.profile
    keys = till.net.charged.parts.keys[there.partition]
    leg = Leg(
        till.net.partition, till.net.account.profile.account, 0, 100, f"{there.partition} {there.account}"
    )
    legs = {("shop", "one"): [leg]}
    assert _judged(till, legs) == []
    till.net.execute("DEL", keys.moved("received", "shop", "one"))
    assert _judged(till, legs) == [("transfer shop:one was given, and neither received nor given back", 0)]
    claim = read_claim(till.net.execute("GET", _claim_key(till)))
    action: Action = claim.action._replace(state=ActionState.CREATED)
    till.net.execute("SET", _claim_key(till), write_claim(claim._replace(action=action, step=Step.FIRST)))
    assert _judged(till, legs) == [("", 100)]


def test_a_transfer_that_was_given_and_whose_claim_is_lost_is_seen(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gave has died, and the master of the claim has forgotten it: nobody finishes it any more."""
    moved = Steps._move

    async def dies(steps: Steps, claim: Claim, kind: Kind, step: str, *more: Any) -> Any:
        if step == "received":
            raise StoreFault("the caller dies here")
        return await moved(steps, claim, kind, step, *more)

    monkeypatch.setattr(Steps, "_move", dies)
    with pytest.raises(StoreFault):
        till.do(Kind.TRANSFER, 100)
    assert _faults(till) == []
    till.net.execute("DEL", _claim_key(till))
    assert _faults(till) == ["transfer shop:one was given, and neither received nor given back"]


STEPS: dict[Kind, tuple[str, int]] = {
    Kind.TOPUP: ("credit", 70), Kind.ADJUST: ("moved:done", -5), Kind.TRANSFER: ("moved:received", 100),
    Kind.RESERVE: ("moved:held", 50), Kind.EMERGENCY: ("moved:done", 60), Kind.REFUND: ("moved:closed", 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", STEPS)
def test_an_action_that_its_account_knows_nothing_of_is_seen(till: Till, kind: Kind) -> None:
    """It was acknowledged, and the master of the account has forgotten it: book and records agree, and the money is gone."""
    step, amount = STEPS[kind]
    till.do(kind, amount)
    assert _faults(till) == []
    (mark,) = till.net.execute("KEYS", f"*:{step}:shop:one")
    till.net.execute("DEL", mark)
    assert _faults(till) == [f"was told that {kind.name} shop:one is done, and knows nothing of it"]


def test_a_vouchers_top_up_is_left_to_no_earlier_release_and_is_in_transit_all_the_same(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier release finishes what is in its list of claims; its record would not say which voucher it is of."""

    async def dies(*_: Any) -> Any:
        raise StoreFault("the caller dies here")

    with monkeypatch.context() as dying:
        dying.setattr(Steps, "act", dies)
        for name, mark in (("cash", ""), ("voucher", "000001-0000001")):
            with pytest.raises(StoreFault):
                till.do(Kind.TOPUP, 70, name, mark=mark)
    every = till.net.charged.parts.keys
    assert [each for keys in every for each in till.net.execute("ZRANGE", keys.claims, 0, -1)] == [
        b"shop:cash"
    ]
    report = till.net.run(audit(till.net.charged.parts))
    assert (report.faults, report.in_transit, report.in_transit_micros) == ([], 2, 140)
    for name in ("cash", "voucher"):
        assert till.net.run(till.actions.resume("shop", name))
    assert till.balance == FUNDS + 140
    assert [till.net.execute("ZCARD", name) for keys in every for name in (keys.claims, keys.actions)] == [
        0
    ] * (2 * len(every))


def test_a_claim_that_is_no_claim_is_seen(till: Till) -> None:
    parts = till.net.charged.parts
    till.net.execute("ZADD", parts.keys[home("shop:one", len(parts.keys))].claims, 1, "shop:one")
    till.net.execute("SET", _claim_key(till), b"\xc1")
    assert ["cannot be read" in what for what in _faults(till)] == [True]


def test_a_top_up_whose_account_was_set_back_is_seen(till: Till) -> None:
    """The whole partition of the account is as it was before, the claim's is not."""
    names = (f"n{number}" for number in count())
    parts = till.net.charged.parts
    name = next(each for each in names if home(f"shop:{each}", len(parts.keys)) != till.net.partition)
    pattern = parts.keys[till.net.partition].prefix + "*"
    before = {each: till.net.execute("DUMP", each) for each in till.net.execute("KEYS", pattern)}
    till.do(Kind.TOPUP, 70, name)
    for each in till.net.execute("KEYS", pattern):
        till.net.execute("DEL", each)
    for each, octets in before.items():
        till.net.execute("RESTORE", each, 0, octets)
    assert till.balance == FUNDS
    assert _faults(till) == [f"was told that TOPUP shop:{name} is done, and knows nothing of it"]


@pytest.mark.parametrize(
    ("moved", "what"),
    [
        ([(0, 100), (0, 100)], "given more than once"),
        ([(0, 100), (100, 0), (0, -100)], "more than once"),
        ([(0, 100), (0, -99)], "did not give back what was given: 1"),
        ([(100, 0)], "was received and never given"),
        ([(0, 100), (101, 0)], "received more than was given: 101 of 100"),
    ],
)
def test_a_transfer_that_makes_or_loses_money_is_seen(
    till: Till, moved: list[tuple[int, int]], what: str
) -> None:
    legs = [Leg(0, "a", came_in, taken, "1 b") for came_in, taken in moved]
    ((found, _),) = _judged(till, {("shop", "none"): legs})
    assert what in found


def _judged(till: Till, legs: dict[tuple[str, str], list[Leg]]) -> list[tuple[str, int]]:
    async def work() -> list[tuple[str, int]]:
        found = transfer_faults(till.net.charged.parts, legs)
        return [(what, micros) async for _, what, micros in found]

    judged: list[tuple[str, int]] = till.net.run(work())
    return judged


def test_a_transfer_is_kept_only_until_the_later_of_its_partitions_was_read() -> None:
    transfers, name = Transfers(), ("shop", "one")
    given, received = Leg(1, "a", 0, 5, "3 b"), Leg(3, "b", 5, 0, "1 a")
    back = Leg(1, "a", 0, -5, "3 b")
    assert transfers.add(0, {}) == {}
    assert transfers.add(1, {name: [given, back]}) == {}
    assert transfers.add(2, {}) == {}
    assert transfers.add(3, {name: [received]}) == {name: [given, back, received]}
    assert transfers.left() == {}
    downwards = given._replace(partition=7, counterpart="2 b")
    assert transfers.add(7, {name: [downwards]}) == {name: [downwards]}
    lost = given._replace(partition=7, counterpart="999 b")
    assert transfers.add(8, {name: [lost]}) == {}
    assert transfers.left() == {name: [lost]}
