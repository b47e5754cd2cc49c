"""Itemised usage under the law (TKG section 65, TDDDG section 11; pure).

Laws
1. Who asked for nothing gets nothing. ``short``: the last three digits of every number are cut; ``full``: they stand.
2. Calls to help lines are never shown, whoever asked for what: neither number nor time nor count. What they cost, if anything, is one sum
   of the service, so that what is shown still adds up.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ocs.units import Unit
from postpaid_bridge.documents.facts import Used

__all__ = ["Itemised", "is_help_line", "itemised", "shown_number"]

_CUT = "xxx"
_DIGIT = re.compile(r"[0-9]")


class Itemised(NamedTuple):
    """What is shown of a service: single uses in order of time, and the sum of what must not be shown (micro-units)."""

    uses: tuple[Used, ...]
    unshown_micros: int


def shown_number(counterpart: str, itemised_as: str) -> str:
    """Return the other side's number as it may be shown: whole (full), or without its last three digits."""
    if itemised_as == "full":
        return counterpart
    head, at, _host = counterpart.partition("@")  # sip:user@host: the digits are the user's
    places = [each.start() for each in _DIGIT.finditer(head)][-3:]
    if len(places) < 3:
        return _CUT if counterpart else ""
    cut = "".join("x" if place in places else each for place, each in enumerate(head))
    return f"{cut}@…" if at else cut


def is_help_line(counterpart: str, help_lines: Sequence[str], country_code: str = "49") -> bool:
    """Tell whether a number is one of the help lines (digits, national with 0 or short codes), however it is written."""
    number = _plain(counterpart, country_code)
    return bool(number) and any(number == _plain(each, country_code) for each in help_lines)


def _plain(number: str, country_code: str) -> str:
    user = number.partition("@")[0].removeprefix("sip:").removeprefix("tel:").partition(";")[0]
    digits = "".join(_DIGIT.findall(user))
    if not user.lstrip().startswith("+"):
        if digits.startswith("00"):
            digits = digits[2:]
        elif digits.startswith("0"):
            digits = country_code + digits[1:]
    return digits.removeprefix(country_code) if len(digits) > 6 else digits


def itemised(used: Iterable[Used], itemised_as: str, help_lines: Sequence[str]) -> dict[int, Itemised]:
    """Return what is shown of each service; nothing where nobody asked (law 1)."""
    if itemised_as not in {"short", "full"}:
        return {}
    shown: dict[int, list[Used]] = {}
    unshown: dict[int, int] = {}
    for each in sorted(used, key=lambda one: (one.service, one.at, one)):
        if is_help_line(each.counterpart, help_lines):
            unshown[each.service] = unshown.get(each.service, 0) + each.amount_micros
        else:
            number = "" if each.unit == Unit.OCTETS else shown_number(each.counterpart, itemised_as)
            one = each._replace(counterpart=number)  # what data goes to is no number, and nobody's business
            shown.setdefault(each.service, []).append(one)
    return {
        key: Itemised(tuple(shown.get(key, ())), unshown.get(key, 0)) for key in sorted({*shown, *unshown})
    }
