"""What the operator sells and owes tax on, read from its files: plans, tax classes, billing cycles. All faults of all files are told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ocs.rating.document import DocumentFault
from ocs.roof.ends import Ended, Exit
from postpaid_bridge.periods import CycleKind, PeriodFault, cycle_of, read_cycles
from postpaid_bridge.plans import PlanBook, read_plans
from postpaid_bridge.roof.settings import Settings
from postpaid_bridge.tax import Taxes, read_taxes

__all__ = ["CycleWords", "Sold", "read_catalogue"]


class CycleWords:
    """The words of cycles that a billing account may name: a kind and a day, such as monthly-15."""

    def __init__(self, kinds: Mapping[str, CycleKind]) -> None:
        self._kinds = kinds

    def __contains__(self, word: object) -> bool:
        try:
            cycle_of(str(word), self._kinds)
        except PeriodFault:
            return False
        return True


class Sold(NamedTuple):
    """The operator's plans, taxes and cycles."""

    plans: PlanBook
    taxes: Taxes
    cycles: Mapping[str, CycleKind]

    @property
    def cycle_words(self) -> CycleWords:
        """What a billing account may name as its cycle."""
        return CycleWords(self.cycles)


def read_catalogue(settings: Settings) -> Sold:
    """Read them; Ended (usage) names every fault of every file."""
    problems: list[str] = []
    pages = {str(file): _text(file, problems) for file in sorted(settings.plans_folder.glob("*.yaml"))}
    taxes_text, cycles_text = _text(settings.taxes_file, problems), _text(settings.cycles_file, problems)
    if not problems:
        try:
            taxes = read_taxes(taxes_text, str(settings.taxes_file))
            cycles = read_cycles(cycles_text, str(settings.cycles_file))
            return Sold(read_plans(pages, taxes.classes), taxes, cycles)
        except DocumentFault as fault:
            problems += fault.problems
    raise Ended(Exit.USAGE, "the catalogue cannot be used:\n" + "\n".join(problems))


def _text(file: Path, problems: list[str]) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(f"{file}: cannot be read: {fault}")
        return ""
