"""What a dunning letter says, as documents take it (documents/letter.py, LetterFacts without seller and recipient); pure."""

from datetime import date
from typing import Any

from postpaid_bridge.dunning.calculate import PRINCIPAL, Facts
from postpaid_bridge.dunning.decide import Decision, Step
from postpaid_bridge.tax import CENT_MICROS

__all__ = ["letter_facts"]


def letter_facts(
    facts: Facts, decision: Decision, step: Step, day: date, numbers: list[str]
) -> dict[str, Any]:
    """Return what a letter says: days in ISO 8601, amounts in cents. Claims are one for each bill; fees and interest are with what comes on top.

    ``numbers`` are the services concerned. ``without_interest`` says that days without a base rate bear none.
    """
    bills: dict[str, dict[str, Any]] = {}
    for each in facts.claims:
        if each.kind != PRINCIPAL or each.due >= day:
            continue
        of = bills.setdefault(
            each.bill, {"number": each.bill, "issued": each.issued.isoformat(), "due": each.due.isoformat(), "open_micros": 0}
        )  # fmt: skip
        of["open_micros"] += each.open_micros
    fees = sum(each.open_micros for each in facts.claims if each.kind == "fee") + step.fee_micros
    fees += sum(each.micros for each in step.flat_sums)
    interest = sum(each.open_micros for each in facts.claims if each.kind == "interest")
    interest += sum(each.micros for each in step.interest)
    claims = [
        {"number": each["number"], "issued": each["issued"], "due": each["due"], "open_cents": _cents(each["open_micros"])}
        for each in bills.values()
    ]  # fmt: skip
    return {
        "claims": claims,
        "issued": day.isoformat(),
        "until": step.until.isoformat() if step.until else None,
        "bar_on": step.bar_on.isoformat() if step.bar_on else None,
        "services": numbers,
        "fee_cents": _cents(fees),
        "interest_cents": _cents(interest),
        "contested_cents": _cents(decision.standing.contested_micros),
        "without_interest": any(each.paragraph == "BGB §247" for each in step.reasons),
        "reasons": [list(each) for each in step.reasons],
    }


def _cents(micros: int) -> int:
    return (micros + CENT_MICROS // 2) // CENT_MICROS
