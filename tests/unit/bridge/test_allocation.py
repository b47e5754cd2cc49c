"""Known answers: the worked example of the law's page, and one row for each rule of BGB sections 366 and 367 and TKG section 62(3)."""

from datetime import date, timedelta

import pytest

from postpaid_bridge.allocation import Claim, ClaimKind, Wish, allocate

EURO = 1_000_000
DAY = date(2026, 11, 30)
OLD, NEW = DAY - timedelta(days=60), DAY - timedelta(days=30)
FEE, INTEREST, PRINCIPAL = ClaimKind


def owed(
    number: int, euros: float, debt: str = "", kind: ClaimKind = PRINCIPAL, since: date = NEW, due: date = DAY, *,
    secured: bool = False, burden: int = 0,
) -> Claim:  # fmt: skip
    return Claim(
        number, debt or f"d{number}", kind, int(euros * EURO), since, due, debt.upper(), secured, burden
    )


LATER = DAY + timedelta(days=1)
ROWS: dict[str, tuple[float, list[Claim], tuple[Wish, ...], dict[int, float]]] = {
    "own and third-party claims of a bill pro rata": (50, [owed(1, 70, "b"), owed(2, 30, "b")], (), {1: 35, 2: 15}),
    "due before not due, though younger": (10, [owed(1, 10, since=OLD, due=LATER), owed(2, 10)], (), {2: 10}),
    "less secured before secured, though younger": (10, [owed(1, 10, since=OLD, secured=True), owed(2, 10)], (), {2: 10}),
    "more burdensome before less, though younger": (10, [owed(1, 10, since=OLD), owed(2, 10, burden=1)], (), {2: 10}),
    "older before younger": (15, [owed(1, 10), owed(2, 10, since=OLD)], (), {1: 5, 2: 10}),
    "equal ones pro rata": (15, [owed(1, 10), owed(2, 20)], (), {1: 5, 2: 10}),
    "costs, interest, principal": (6, [owed(1, 10, "b"), owed(2, 4, "b", INTEREST), owed(3, 3, "b", FEE)], (), {2: 3, 3: 3}),
    "a debt's costs go with it and not before an older debt": (10, [owed(1, 10, "a", since=OLD), owed(2, 10, "b"), owed(3, 3, "b", FEE)], (), {1: 10}),
    "what the payer names first": (15, [owed(1, 10, "a", since=OLD), owed(2, 10, "b")], (Wish("B"),), {1: 5, 2: 10}),
    "a sum that the payer names, and the rest by law": (15, [owed(1, 10, "a", since=OLD), owed(2, 10, "b")], (Wish("B", amount_micros=2 * EURO),), {1: 10, 2: 5}),
    "a claim that the payer names": (5, [owed(1, 10, "b"), owed(2, 3, "b", FEE)], (Wish(claim=1),), {1: 5}),
    "thirds in cents, the odd cent to the lowest id": (10, [owed(1, 10, "b"), owed(2, 10, "b"), owed(3, 10, "b")], (), {1: 3.34, 2: 3.33, 3: 3.33}),
    "micro-units where something is no whole cent": (0.000002, [owed(1, 0.000001, "b"), owed(2, 0.000003, "b")], (), {1: 0.000001, 2: 0.000001}),
    "more than there is": (25, [owed(1, 10), owed(2, 10)], (), {1: 10, 2: 10}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_known_answers(name: str) -> None:
    euros, claims, wishes, expected = ROWS[name]
    done = allocate(round(euros * EURO), claims, DAY, wishes)
    assert {each.claim: each.amount_micros for each in done.shares} == {
        claim: round(share * EURO) for claim, share in expected.items()
    }
    assert done.rest_micros == round(euros * EURO) - sum(each.amount_micros for each in done.shares)


def test_what_is_below_zero_is_no_payment_and_no_claim() -> None:
    for amount, claims in ((-1, []), (1, [owed(1, -1)])):
        with pytest.raises(ValueError, match="0 or more"):
            allocate(amount, claims, DAY)
