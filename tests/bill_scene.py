"""What tests of billing rules are made of: the tables of config, plans written in a line, held plans, charges, sums of usage."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ocs.roof.build import read_tariffs
from postpaid_bridge.charges import Charge, ChargeKind, HeldPlan, Payer, UsageSum
from postpaid_bridge.periods import Cycle, cycle_of
from postpaid_bridge.plans import PlanBook, read_plans
from postpaid_bridge.tax import Basis, Taxes, read_taxes

ROOT = Path(__file__).parents[1]
MONTHLY = cycle_of("monthly-1")
EUR = 1_000_000
CENT = 10_000


def taxes_of_config() -> Taxes:
    return read_taxes((ROOT / "config/taxes.yaml").read_text(), "config/taxes.yaml")


def plan_pages() -> dict[str, str]:
    return {
        f"config/plans/{file.name}": file.read_text()
        for file in sorted((ROOT / "config/plans").glob("*.yaml"))
    }


def plans_of_config() -> PlanBook:
    return read_plans(plan_pages(), TAXES.classes, tariffs_of_config())


def tariffs_of_config() -> dict[str, Basis]:
    return {
        found.name: Basis.GROSS if found.gross else Basis.NET
        for found in read_tariffs(ROOT / "config/tariffs").values()
    }


TAXES = taxes_of_config()


def book(*pages: str) -> PlanBook:
    """Read plans; what every plan needs and a test does not care for is added."""
    told = "names: {{de: {0}, en: {0}}}\ncurrency: EUR\n"
    texts = {}
    for number, page in enumerate(pages):
        kind, _, key = page.strip().partition("\n")[0].partition(": ")
        text = page.strip() + "\n" + told.format(key)
        if kind == "plan":
            text += "kind: mobile\n"
        if "\nprices:" not in text:
            text += "prices: gross\n"
        texts[f"{number}.yaml"] = text
    return read_plans(texts, TAXES.classes)


def called(name: str) -> str:
    return f"names: {{de: {name}, en: {name}}}"


def rent(
    amount: str, due: str = "arrear", *, item: str = "base", per: str = "month", tax: str = "standard"
) -> str:
    return f'{{item: {item}, {called(item)}, amount: "{amount}", per: {per}, due: {due}, tax_class: {tax}}}'


def held(
    since: str,
    until: str | None = None,
    *,
    number: int = 1,
    plan: str = "p",
    service: int = 1,
    party: int = 1,
) -> HeldPlan:
    return HeldPlan(
        number,
        service,
        plan,
        date.fromisoformat(since),
        date.fromisoformat(until) if until else None,
        f"b{service}",
        party,
    )


def payer(
    cycle: Cycle = MONTHLY, *, status: str = "domestic", plan: str = "", since: str = "2020-01-01"
) -> Payer:
    return Payer(7, 1, "A-7", cycle, tax_status=status, discount_plan=plan, since=date.fromisoformat(since))


def used(
    micros: int,
    usage_class: str = "voice",
    *,
    service: int = 1,
    party: int = 1,
    basis: Basis = Basis.GROSS,
    tax: str = "standard",
    plan: str = "",
) -> UsageSum:
    return UsageSum(service, party, f"b{service}", usage_class, 3, 180, micros, tax, basis, plan=plan)


def granted(key: str, micros: int, *, day: str = "2026-11-10", basis: Basis = Basis.GROSS) -> Charge:
    """Give an adjustment of a caller."""
    first = date.fromisoformat(day)
    return Charge(
        key, ChargeKind.ADJUSTMENT, 1, 1, "b1", "goodwill", first, date.fromordinal(first.toordinal() + 1), micros,
        "adjustment", "standard", basis,
    )  # fmt: skip
