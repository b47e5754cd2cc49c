"""Spend caps: the most that an account spends on part of its services in a period, as for roaming data in the EU; pure.

Laws
1. A cap is compared with prices as they stand in the tariff. One that is given before tax is brought to gross prices exactly, and
   rounded down to the micro-unit: never later than the law says.
2. Notices are data: per cents of the cap at which the customer is told (Regulation (EU) 2022/612 Article 14: 80 and 100).
"""

from typing import NamedTuple
from zoneinfo import ZoneInfo

from ocs.money import MICROS
from ocs.rating.conditions import Fault, conditions
from ocs.rating.counters import Counter, counter
from ocs.rating.numbering import Numbering
from ocs.rating.periods import CALENDAR_DAY, CALENDAR_MONTH, PeriodKind
from ocs.rating.rates import Conditions, Facts
from ocs.rating.sources import SourceKind
from ocs.rating.tariff_text import SpendCapText, TariffText, micros

PERIODS: dict[str, PeriodKind] = {"month": CALENDAR_MONTH, "day": CALENDAR_DAY}
CAP_KINDS = {"free": SourceKind.FREE, "disconnect": SourceKind.STOP}
SPEND_CAPS_MAX = 3
"""Spend caps of one service: more would leave its products no room among a service's sources."""


class SpendCap(NamedTuple):
    """A cap on what a service costs where its conditions hold; ``notices`` are per cents of it."""

    name: str
    service: str
    conditions: Conditions
    counter: Counter
    notices: tuple[int, ...]

    def fits(self, facts: Facts) -> bool:
        """Tell whether what is spent now counts on it."""
        return facts.service == self.service and self.conditions.hold(facts)


def spend_caps(
    text: TariffText, plan: Numbering | None, zone: ZoneInfo | None, fault: Fault
) -> list[tuple[SpendCap, int]]:
    """Return the spend caps of a tariff, each with its place in the file; faults are noted.

    Without a zone no cap is returned: the tariff's own fault was noted before.
    """
    found: list[tuple[SpendCap, int]] = []
    names: list[str] = []
    services: list[str] = []
    for place, each in enumerate(text.spend_caps):
        path = ("spend_caps", place)
        if each.name in names:
            fault((*path, "name"), f"{each.name} is another spend cap's name already; choose one of its own")
        if services.count(each.service) == SPEND_CAPS_MAX:
            fault(path, f"more than {SPEND_CAPS_MAX} spend caps of {each.service}; leave {SPEND_CAPS_MAX}")
        if not micros(each.amount):
            fault((*path, "amount"), "a cap of nothing; it has to be above zero")
        if list(each.notices) != sorted(set(each.notices)):
            fault((*path, "notices"), "notices are per cents that rise; sort them and leave each once")
        names.append(each.name)
        services.append(each.service)
        holds = conditions(each, each.service, plan, text.numbering, (path, fault))
        cap_micros = _cap_micros(each, text)
        if cap_micros is None:
            fault((*path, "before_tax"), 'before which tax? write it beside prices: tax_percent: "19"')
        elif zone is not None:
            on = counter(
                CAP_KINDS[each.then],
                f"spend/{each.name}",
                PERIODS[each.per],
                zone,
                cap_micros,
                each_member=each.each_member,
            )
            found.append((SpendCap(each.name, each.service, holds, on, tuple(each.notices)), place))
    return found


def _cap_micros(cap: SpendCapText, text: TariffText) -> int | None:
    """Return a cap in the tariff's own prices (law 1); None when the tax is not known."""
    amount_micros = micros(cap.amount)
    if not cap.before_tax or text.prices == "net":
        return amount_micros
    if text.tax_percent is None:
        return None
    hundred = 100 * MICROS
    return amount_micros * (hundred + micros(text.tax_percent)) // hundred
