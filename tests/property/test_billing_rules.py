"""Laws of charges, taxes and bills on random plans, days and usage."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from postpaid_bridge.bill import Bill, BillLine, content, drafted, entries_of
from postpaid_bridge.charges import Charge, ChargeKind, HeldPlan, Payer, UsageSum, charges_due, share_micros
from postpaid_bridge.journal import Ledger, Posting, balances, check, posting
from postpaid_bridge.periods import Cycle, Period, cycle_of
from postpaid_bridge.plans import Commitment, Discount, DiscountPlan, Names, Plan, PlanBook, Rent
from postpaid_bridge.tax import Basis, half_up, taxed
from tests.bill_scene import CENT, TAXES

NAMES = Names("x", "x")
START = date(2023, 1, 1)
days = st.integers(0, 1_500).map(lambda number: START + timedelta(days=number))
cycles = st.sampled_from(
    [
        "monthly-1",
        "monthly-15",
        "monthly-28",
        "bimonthly-3",
        "quarterly-1",
        "yearly-5",
        "weekly-1",
        "weekly-6",
    ]
).map(cycle_of)
pers = st.sampled_from(["week", "month", "quarter", "year"])
prices = st.one_of(
    st.integers(0, 20_000).map(lambda cents: cents * CENT), st.integers(0, 200_000_000)
)  # micro-units
percents = st.integers(1, 100).map(lambda whole: whole * 1_000_000)
bases = st.sampled_from(list(Basis))
classes = st.sampled_from(["standard", "reduced", "exempt"])


# ---------------------------------------------------------------- rents


@given(prices, pers, cycles, st.lists(days, min_size=2, max_size=8, unique=True))
def test_the_pieces_of_any_partition_add_up_to_the_whole(
    price: int, per: str, cycle: Cycle, edges: list[date]
) -> None:
    edges.sort()
    pieces = [share_micros(price, per, cycle, *each) for each in pairwise(edges)]
    assert sum(pieces) == share_micros(price, per, cycle, edges[0], edges[-1])
    assert all(each >= 0 for each in pieces)


@given(prices, days, st.sampled_from(["monthly-1", "monthly-28", "bimonthly-3", "yearly-5"]).map(cycle_of))
def test_a_whole_period_costs_whole_months(price: int, day: date, cycle: Cycle) -> None:
    period = cycle.period_of(day)
    assert share_micros(price, "month", cycle, period.first, period.next) == price * cycle.kind.months


@given(cycles, days)
def test_every_day_lies_in_one_period(cycle: Cycle, day: date) -> None:
    period = cycle.period_of(day)
    assert period.holds(day)
    assert cycle.period_of(period.first) == cycle.period_of(period.last) == period
    assert cycle.period_of(period.next).first == period.next


@st.composite
def histories(draw: st.DrawFn) -> tuple[Cycle, list[date], list[list[HeldPlan]]]:
    """Give a cycle, the ends of its bills, and what was known of one held plan at each: its end comes, moves and goes again."""
    cycle = draw(cycles)
    since = draw(days)
    reached, ends, known = since, [], []
    until: date | None = None
    for _ in range(draw(st.integers(1, 6))):
        whole = cycle.period_of(reached)
        left = (whole.next - reached).days
        cut = draw(st.one_of(st.just(left), st.integers(1, left)))
        reached += timedelta(days=cut)
        if draw(st.booleans()):
            until = draw(st.one_of(st.none(), st.integers(0, 400).map(lambda n: since + timedelta(days=n))))
        ends.append(reached)
        known.append([HeldPlan(1, 1, "p", since, until, "b", 1)])
    return cycle, ends, known


@given(histories(), prices, pers, st.sampled_from(["advance", "arrear"]))
def test_what_is_charged_less_what_is_given_back_is_the_rent_of_the_days_held(
    history: tuple[Cycle, list[date], list[list[HeldPlan]]], price: int, per: str, due: str
) -> None:
    cycle, ends, known = history
    in_advance = due == "advance"
    rent = Rent("base", NAMES, price, per, in_advance, "standard")
    plans = {"p": Plan("p", NAMES, "mobile", Basis.GROSS, "EUR", "t", rents=(rent,))}
    made: dict[str, Charge] = {}
    begun = known[0][0].since
    for end, mine in zip(ends, known, strict=True):
        period = Period(begun, end)
        found = charges_due(mine, plans, cycle, period, made)
        assert len({each.key for each in found}) == len(found)
        assert not {each.key for each in found} & set(made)
        made |= {each.key: each for each in found}
        assert charges_due(mine, plans, cycle, period, made) == []
        begun = end
    last = known[-1][0]
    horizon = cycle.period_of(ends[-1]).next if in_advance else ends[-1]
    reached = min(horizon, last.until or horizon)
    held = share_micros(price, per, cycle, last.since, reached) if last.since < reached else 0
    assert sum(each.amount_micros for each in made.values()) == held
    paid = Counter[date]()
    for each in made.values():
        step = 1 if each.kind is ChargeKind.RENT else -1
        paid.update({each.since + timedelta(days=n): step for n in range((each.until - each.since).days)})
    assert all(times in {0, 1} for times in paid.values())


# ---------------------------------------------------------------- taxes

lines_of_code = st.lists(st.tuples(st.integers(-100_000, 100_000), bases), max_size=12)


@given(lines_of_code, st.sampled_from([19, 16, 7, 5, 0]))
def test_a_tax_code_is_within_half_a_cent_and_each_line_s_cents_add_up(
    lines: list[tuple[int, Basis]], percent: int
) -> None:
    found = taxed(lines, percent * 1_000_000)
    exact = Fraction(0)
    for cents, basis in lines:
        exact += Fraction(cents * percent, 100 if basis is Basis.NET else 100 + percent)
    assert 2 * abs(exact - sum(each.tax for each in found)) <= 1
    for (cents, basis), (net, tax, gross) in zip(lines, found, strict=True):
        assert net + tax == gross
        assert cents == (net if basis is Basis.NET else gross)
        assert abs(tax - Fraction(cents * percent, 100 if basis is Basis.NET else 100 + percent)) <= 2


# ---------------------------------------------------------------- bills


@st.composite
def discounts(draw: st.DrawFn, item: str, rents: list[str]) -> Discount:
    single = [f"rent:{name}" for name in rents]
    targets = draw(
        st.one_of(
            st.sampled_from(
                [("rent",), ("usage",), ("rent", "usage"), ("usage:voice",), ("rent", "usage", "once")]
            ),
            st.sampled_from([(each,) for each in single]) if single else st.just(("rent",)),
        )
    )
    amount = draw(st.booleans())
    return Discount(
        item,
        NAMES,
        targets,
        0 if amount else draw(percents),
        draw(st.integers(1, 3_000)) * CENT if amount else 0,
        draw(pers),
        draw(st.none() | st.integers(1, 24)),
    )


@st.composite
def books(draw: st.DrawFn) -> PlanBook:
    plans = {}
    for key in ("p", "q"):
        rents = [
            Rent(item, NAMES, draw(prices), draw(pers), draw(st.booleans()), draw(classes))
            for item in ("a", "b")[: draw(st.integers(0, 2))]
        ]
        taken = [
            draw(discounts(f"d{n}", [each.item for each in rents])) for n in range(draw(st.integers(0, 3)))
        ]
        least = Commitment(NAMES, draw(prices), "month", ("rent", "usage"), "standard")
        plans[key] = Plan(
            key, NAMES, "mobile", draw(bases), "EUR", draw(st.sampled_from(["t", ""])), (), tuple(rents), (), tuple(taken),
            draw(st.none() | st.just(least)),
        )  # fmt: skip
    frame = DiscountPlan(
        "frame", NAMES, draw(bases), "EUR", tuple(draw(discounts(f"f{n}", ["a"])) for n in range(draw(st.integers(0, 2)))),
        draw(st.none() | st.just(Commitment(NAMES, draw(prices), "month", ("rent", "usage"), "standard"))),
    )  # fmt: skip
    return PlanBook(plans, {"frame": frame})


Given = tuple[Payer, Period, list[HeldPlan], list[UsageSum], list[Charge], PlanBook]


@st.composite
def accounts(draw: st.DrawFn, *, granted: bool = True) -> Given:
    """Give all that a bill is made of: services of several branches, plans that end, usage of either sign, adjustments."""
    plans, cycle = draw(books()), draw(cycles)
    period = cycle.period_of(draw(days))
    mine: list[HeldPlan] = []
    usage: list[UsageSum] = []
    for service in range(1, draw(st.integers(1, 4)) + 1):
        party = draw(st.integers(1, 3))
        since = period.first + timedelta(days=draw(st.integers(-40, period.days - 1)))
        held_days = draw(st.none() | st.integers(1, 60))
        until = None if held_days is None else since + timedelta(days=held_days)
        key = draw(st.sampled_from(["p", "q"]))
        mine.append(HeldPlan(service, service, key, since, until, f"b{service % 3}", party))
        for of in ("voice", "data")[: draw(st.integers(0, 2))]:
            micros = draw(st.integers(0 if not granted else -1_000_000, 90_000_000))
            usage.append(
                UsageSum(
                    service,
                    party,
                    f"b{service % 3}",
                    of,
                    1,
                    60,
                    micros,
                    draw(classes),
                    plans.plans[key].prices,
                )
            )
    made = charges_due(mine, plans.plans, cycle, period, {})
    if granted:
        made += [
            Charge(
                f"adj:{n}", ChargeKind.ADJUSTMENT, 1, 1, "b1", "x", period.first, period.next,
                draw(st.integers(-50_000_000, 50_000_000)), "adjustment", draw(classes), draw(bases),
            )
            for n in range(draw(st.integers(0, 2)))
        ]  # fmt: skip
    status = draw(st.sampled_from(["domestic", "domestic", "reverse_charge", "exempt"]))
    plan = draw(st.sampled_from(["", "frame"]))
    return (
        Payer(7, 1, "A-7", cycle, tax_status=status, discount_plan=plan, since=START),
        period,
        mine,
        usage,
        made,
        plans,
    )


def billed(given: Given) -> Bill:
    by, period, mine, usage, made, plans = given
    return drafted(by, period, mine, usage, made, TAXES, plans)


@given(accounts())
def test_parts_taxes_and_lines_add_up_to_the_bill(given: Given) -> None:
    bill = billed(given)
    assert bill.net_cents + bill.tax_cents == bill.gross_cents
    for rows in (bill.lines, bill.parts, bill.taxes):
        assert sum(each.net_cents for each in rows) == bill.net_cents
        assert sum(each.tax_cents for each in rows) == bill.tax_cents
        assert sum(each.gross_cents for each in rows) == bill.gross_cents
        assert all(each.net_cents + each.tax_cents == each.gross_cents for each in rows)
    of_parts = Counter[str]()
    for part in bill.parts:
        of_parts.update({each.code: each.tax_cents for each in part.taxes})
        assert sum(each.gross_cents for each in part.taxes) == part.gross_cents
    assert {code: cents for code, cents in of_parts.items() if cents} == {
        each.code: each.tax_cents for each in bill.taxes if each.tax_cents
    }


@given(accounts())
def test_a_bill_s_entries_balance_and_leave_nothing_unbilled(given: Given) -> None:
    bill = billed(given)
    entries = [check(each) for each in entries_of(bill, key="bill:1", day=START, at_ms=1)]
    assert len({each.key for each in entries}) == len(entries)
    unbilled, receivable = Counter[str](), Counter[str]()

    def count(of: Posting) -> None:
        for counted, ledger in ((unbilled, Ledger.UNBILLED), (receivable, Ledger.RECEIVABLE)):
            counted[of.book] += of.amount_micros * ((of.debit is ledger) - (of.credit is ledger))

    for one in given[3]:
        for each in posting(Ledger.UNBILLED, Ledger.REVENUE, one.amount_micros, one.book):
            count(each)
    for entry in entries:
        for each in entry.postings:
            count(each)
    assert {book: micros for book, micros in unbilled.items() if micros} == {}
    of_books = Counter[str]()
    for line in bill.lines:
        of_books[line.book] += line.gross_cents * CENT
    assert receivable == of_books
    found = balances(each for entry in entries for each in entry.postings)
    assert found.get(Ledger.TAX, 0) == -bill.tax_cents * CENT
    assert found.get(Ledger.RECEIVABLE, 0) == bill.gross_cents * CENT
    assert abs(found.get(Ledger.ROUNDING, 0)) <= len(bill.lines) * CENT


def stands(line: BillLine) -> int:
    """Return a line's cents in its own basis, with the tax that its payer may not owe."""
    return half_up(line.amount_micros, CENT)


@given(accounts(granted=False))
def test_discounts_never_go_below_zero(given: Given) -> None:
    charged = Counter[tuple[object, ...]]()
    for line in billed(given).lines:
        if line.kind in {"rent", "usage", "discount"}:
            charged[line.service, line.of_class, line.basis, line.since, line.until, line.tax_code] += stands(
                line
            )
        if line.kind == "discount":
            assert line.amount_micros < 0
            assert line.amount_micros % CENT == 0
    assert all(cents >= 0 for cents in charged.values())


@given(accounts(granted=False))
def test_what_a_plan_has_committed_to_is_reached_and_not_passed(given: Given) -> None:
    by, period, mine, _, _, plans = given
    bill = billed(given)
    for each in mine:
        plan, days = plans.plans[each.plan], period.common(each.since, each.until)
        if not (plan.tariff and plan.commitment and days):
            continue
        least = share_micros(plan.commitment.amount_micros, "month", by.cycle, days.first, days.next)
        lines = [line for line in bill.lines if line.service == each.service]
        assert sum(map(stands, lines)) >= half_up(least, CENT)
        if missing := sum(stands(line) for line in lines if line.kind == "commitment"):
            assert sum(map(stands, lines)) == half_up(least, CENT)
            assert missing > 0


@given(accounts(), st.randoms(use_true_random=False))
def test_the_same_input_in_any_order_gives_the_same_bytes(given: Given, chance: Random) -> None:
    by, period, mine, usage, made, plans = given
    raw = content(billed(given))
    again = [list(each) for each in (mine, usage, made)]
    for each in again:
        chance.shuffle(each)
    bill = drafted(by, period, again[0], again[1], again[2], TAXES, plans)  # type: ignore[arg-type]
    assert content(bill) == raw
    assert len({each.key for each in bill.charges}) == len(bill.charges)
