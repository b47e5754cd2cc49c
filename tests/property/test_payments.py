"""Whatever is billed, paid, taken back and paid out, in whatever order: shares add up, the journal is balanced, and no payment makes it worse."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from ocs.care.customers.shapes import CustomerFault
from ocs.sql import engine_of, reading, writing
from postpaid_bridge.allocation import Claim, ClaimKind, Wish, allocate, pro_rata
from postpaid_bridge.payments import Received, Return
from postpaid_bridge.sql.bookings import charge
from postpaid_bridge.sql.payments import receive
from postpaid_bridge.sql.receivables import Item, ItemKind
from postpaid_bridge.sql.returns import charge_back, refund
from tests.bridge_accounts import AT_MS, DAY, EURO, account, bill, broken_laws, standing
from tests.databases import KINDS, database_url

pytestmark = pytest.mark.long

CENT = 10_000


@st.composite
def open_sets(draw: st.DrawFn) -> list[Claim]:
    found = []
    for number in range(1, draw(st.integers(0, 7)) + 1):
        debt = draw(st.sampled_from("abcd"))
        micros = draw(st.one_of(st.integers(1, 10**9), st.integers(1, 10**4).map(lambda n: n * CENT)))
        day = date(2026, 1, 1) + timedelta(days=draw(st.integers(0, 3)))
        due = day + timedelta(days=draw(st.integers(0, 2)))
        found.append(
            Claim(
                number, debt, draw(st.sampled_from(list(ClaimKind))), micros, day, due, debt.upper(), draw(st.booleans()),
                draw(st.integers(0, 1)),
            )
        )  # fmt: skip
    return found


wishes = st.lists(
    st.one_of(
        st.builds(Wish, st.sampled_from("ABCDX"), st.just(0), st.one_of(st.none(), st.integers(1, 10**8))),
        st.builds(Wish, st.just(""), st.integers(1, 8), st.one_of(st.none(), st.integers(1, 10**8))),
    ),
    max_size=3,
)


@given(open_sets(), st.integers(0, 3 * 10**9), wishes, st.randoms(use_true_random=False))
def test_shares_and_rest_are_the_payment_and_no_share_is_above_its_claim_in_any_order(
    claims: list[Claim], amount: int, named: list[Wish], chance: Any
) -> None:
    day = date(2026, 1, 3)
    done = allocate(amount, claims, day, named)
    open_of = {each.id: each.open_micros for each in claims}
    assert sum(each.amount_micros for each in done.shares) + done.rest_micros == amount
    assert all(0 < each.amount_micros <= open_of[each.claim] for each in done.shares)
    paid = sum(each.amount_micros for each in done.shares)
    assert paid == min(amount, sum(open_of.values())), "nothing is left while something is open"
    shuffled = list(claims)
    chance.shuffle(shuffled)
    assert allocate(amount, shuffled, day, named) == done


@given(open_sets(), st.integers(0, 3 * 10**9))
def test_by_law_what_stands_later_gets_nothing_before_what_stands_first_is_paid(
    claims: list[Claim], amount: int
) -> None:
    """The executable words of BGB sections 366(2) and 367(1), pair by pair, without a sort."""
    day = date(2026, 1, 3)
    paid = {each.claim: each.amount_micros for each in allocate(amount, claims, day).shares}
    debts: dict[str, list[Claim]] = {}
    for each in claims:
        debts.setdefault(each.debt, []).append(each)
    ranks = list(ClaimKind)

    def place(of: list[Claim]) -> tuple[Any, ...]:
        last = max(ranks.index(each.kind) for each in of)
        lead = [each for each in of if ranks.index(each.kind) == last]
        return (
            not any(each.due <= day for each in lead),
            any(each.secured for each in lead),
            -max(each.burden for each in lead),
            min(each.since for each in lead),
        )

    for one in debts.values():
        is_paid = all(paid.get(each.id, 0) == each.open_micros for each in one)
        for other in debts.values():
            if place(one) < place(other) and not is_paid:
                assert not any(paid.get(each.id) for each in other)
        for first in one:
            for second in one:
                if (
                    ranks.index(first.kind) < ranks.index(second.kind)
                    and paid.get(first.id, 0) < first.open_micros
                ):
                    assert not paid.get(second.id)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=8), st.data())
def test_pro_rata_is_exact_and_never_off_by_a_whole_unit(weights: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    shares = pro_rata(amount, weights)
    assert sum(shares) == amount
    unit = CENT if all(each % CENT == 0 for each in (amount, *weights)) else 1
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - amount * weight) < unit * sum(weights)
        assert 0 <= share <= weight


@contextmanager
def opened(kind: str) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder, database_url(kind, Path(folder)) as url:
        engine = engine_of(url)
        yield engine
        engine.dispose()


def owed(engine: Engine, of: int) -> int:
    found = standing(engine, of)
    return sum(micros for name, micros in found.items() if name != "credit")


cents = st.integers(1, 20_000).map(lambda n: n * CENT)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("bill"),
            st.lists(st.tuples(st.sampled_from(["", "b1", "b2"]), st.sampled_from(["", "premium"]), st.integers(-5_000, 20_000).filter(bool).map(lambda n: n * CENT)), min_size=1, max_size=3),
        ),
        st.tuples(st.just("fee"), cents),
        st.tuples(st.just("pay"), cents, st.integers(0, 3)),
        st.tuples(st.just("back"), st.integers(0, 3), st.integers(1, 4)),
        st.tuples(st.just("refund"), st.integers(0, 3), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(lived=steps)
def test_after_any_steps_the_laws_hold_and_a_payment_never_makes_it_worse(
    kind: str, lived: list[tuple[Any, ...]]
) -> None:
    with opened(kind) as engine:
        of = account(engine)
        paid: list[Any] = []
        numbers: list[str] = []
        due = 0
        for n, (what, *how) in enumerate(lived, 1):
            before = owed(engine, of)
            if what == "bill":
                numbers.append(bill(engine, of, n, [(b, c, m) for b, c, m in how[0]]))
                due += sum(m for _, _, m in how[0])
            elif what == "fee":
                with writing(engine) as work:
                    charge(work, of, Item(f"fee:{n}", ItemKind.FEE, how[0], "b1"), DAY, AT_MS)
                due += how[0]
            elif what == "pay":
                wish = tuple(Wish(each) for each in numbers[how[1] : how[1] + 1] if has(engine, each))
                with writing(engine) as work:
                    row, _ = receive(
                        work, Received("bank", f"p{n}", how[0], "EUR", DAY, of, wishes=wish), AT_MS
                    )
                paid.append(row)
                due -= how[0]
                assert owed(engine, of) <= before
            elif paid:
                row = paid[how[0] % len(paid)]
                do = charge_back if what == "back" else refund
                amount = max(row.amount_micros * how[1] // 4 // CENT * CENT, CENT)
                try:
                    with writing(engine) as work:
                        do(work, Return("bank", f"r{n}", row.id, DAY, amount), AT_MS)
                except CustomerFault:
                    assert owed(engine, of) == before
                    continue
                due += amount
                if what == "refund":
                    assert owed(engine, of) == before
            with reading(engine) as look:
                assert broken_laws(look) == []
            found = standing(engine, of)
            assert sum(found.values()) - 2 * found.get("credit", 0) == due


def has(engine: Engine, number: str) -> bool:
    """Whether a bill has any item: one of nothing cannot be named."""
    from sqlalchemy import select  # noqa: PLC0415

    from postpaid_bridge.sql.receivables import items  # noqa: PLC0415

    with reading(engine) as look:
        return look.execute(select(items.c.id).where(items.c.bill_number == number)).first() is not None


ACTS = ("bill", "one", "two", "back", "fee")


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_bills_payments_and_a_charge_back_ends_in_the_same_standing(kind: str) -> None:
    ends = set()
    for order in permutations(ACTS):
        if order.index("back") < order.index("one"):
            continue
        with opened(kind) as engine:
            of = account(engine)
            bill(engine, of, 1, [("b1", "", 30 * EURO)])
            rows: dict[str, Any] = {}
            for act in order:
                if act == "bill":
                    bill(engine, of, 2, [("b1", "", 70 * EURO), ("b2", "", 20 * EURO)])
                    continue
                with writing(engine) as work:
                    if act == "fee":
                        charge(work, of, Item("fee:1", ItemKind.FEE, 2 * EURO, "b1", "bill:1", 1), DAY, AT_MS)
                    elif act == "back":
                        charge_back(
                            work, Return("bank", "r", rows["one"].id, DAY, fee_micros=3 * EURO), AT_MS
                        )
                    else:
                        micros = {"one": 60 * EURO, "two": 45 * EURO}[act]
                        rows[act], _ = receive(work, Received("bank", act, micros, "EUR", DAY, of), AT_MS)
            with reading(engine) as look:
                assert broken_laws(look) == []
            found = standing(engine, of)
            ends.add(
                (sum(micros for name, micros in found.items() if name != "credit"), found.get("credit", 0))
            )
    assert ends == {(80 * EURO, 0)}
