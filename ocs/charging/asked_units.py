"""The units of a request as its groups tell them, of each kind, and the faults of what cannot be read; pure.

Laws
1. What cannot be read as a number, or as an amount of money, is a fault with Failed-AVP, never "nothing used" (DESIGN law 10).
2. Nothing is rounded that a client has rated itself: an amount is whole micro-units, or refused.
"""

from typing import Any, Final, NamedTuple

from ocs import limits
from ocs.charging.amounts import failed_currency, micros_of
from ocs.diameter.faults import DecodeFault, ResultCode
from ocs.diameter.writers import encode_avps
from ocs.units import UNITS_MAX, Unit

NOT_GIVEN = -1


class Units(NamedTuple):
    """Units of each kind, in the order of Unit, NOT_GIVEN where the request has none; octets are the total, or input plus output (CLIENTS 10)."""

    octets: int = NOT_GIVEN
    seconds: int = NOT_GIVEN
    events: int = NOT_GIVEN
    money: int = NOT_GIVEN
    """Micro-units of the account's currency (RFC 8506 section 8.22), as the client has rated itself."""


class AskFault(DecodeFault):
    """A well-formed request that cannot be charged as it stands, and the answer to it (its ``avps`` are the request's)."""

    __slots__ = ()


FINAL = 2
"""Reporting-Reason FINAL (TS 32.299 clause 7.2.175): the service is over, whatever else the report says."""
_AFTER_TARIFF_CHANGE = 1
"""Tariff-Change-Usage UNIT_AFTER_TARIFF_CHANGE (RFC 8506 section 8.27)."""
SERVER_CHOOSES: Final = Units()


def reported_final(reports: list[dict[str, Any]] | None) -> bool:
    """Tell whether a report says that the service is over (Reporting-Reason inside Used-Service-Unit)."""
    return reports is not None and any(report.get("Reporting-Reason") == FINAL for report in reports)


def used_units(reports: list[dict[str, Any]], currencies: list[int]) -> Units:
    """Add up the reports of one service: RFC 8506 section 8.16 allows several, around a tariff change (section 8.27) they are disjoint."""
    total = SERVER_CHOOSES
    for report in reports:
        told = read_units(report, "Used-Service-Unit", currencies)
        if told is SERVER_CHOOSES:
            # DESIGN law 10: a report without a number is malformed, never "nothing used"; who used nothing says 0
            failed = copied("Used-Service-Unit", report)
            raise ask_fault(ResultCode.INVALID_AVP_VALUE, failed, "used units without a number")
        total = told if total is SERVER_CHOOSES else Units(*map(_sum, total, told))
    return total


def units_after(reports: list[dict[str, Any]] | None) -> Units | None:
    """Add up what was used after a tariff change; None where no report says so."""
    if reports is None or (len(reports) == 1 and "Tariff-Change-Usage" not in reports[0]):
        return None
    later = [each for each in reports if each.get("Tariff-Change-Usage") == _AFTER_TARIFF_CHANGE]
    return used_units(later, []) if later else None


def _sum(one: int, other: int) -> int:
    """Add two counts of one kind, each perhaps not given."""
    return max(one, other) if NOT_GIVEN in {one, other} else min(one + other, UNITS_MAX)


def read_units(group: dict[str, Any], name: str, currencies: list[int]) -> Units:
    """Read the kinds of units in a group.

    CC-Total-Octets decides where it is given; else input plus output, as Open5GS reports (CLIENTS 10). A number beyond
    UNITS_MAX stands for UNITS_MAX: asked, it is more than any grant; used, it is absurd and set aside (DESIGN law 8).
    """
    get = group.get
    octets, seconds, events = (
        get("CC-Total-Octets"),
        get("CC-Time", NOT_GIVEN),
        get("CC-Service-Specific-Units", NOT_GIVEN),
    )
    if octets is None:
        received, sent = get("CC-Input-Octets"), get("CC-Output-Octets")
        octets = NOT_GIVEN if received is None and sent is None else (received or 0) + (sent or 0)
    if octets > UNITS_MAX or events > UNITS_MAX:
        octets, events = min(octets, UNITS_MAX), min(events, UNITS_MAX)
    if "CC-Money" in group:
        return Units(octets, seconds, events, _money(group["CC-Money"], name, currencies))
    if octets == seconds == events == NOT_GIVEN:
        return SERVER_CHOOSES
    return Units(octets, seconds, events)


def _money(amount: dict[str, Any], name: str, currencies: list[int]) -> int:
    """Read CC-Money (RFC 8506 section 8.22) in micro-units; what is no amount is a fault, and never rounded or cut (law 2)."""
    micros = micros_of(amount["Unit-Value"])
    if micros is None:
        failed = copied(name, {"CC-Money": amount})
        raise ask_fault(ResultCode.INVALID_AVP_VALUE, failed, f"{name} in money that is no amount of money")
    currencies.append(amount.get("Currency-Code", 0))
    return micros


def one_currency(currencies: list[int]) -> int:
    """Return the currency of a request's units in money, 0 where none is named; a fault where there are two, since no account has them."""
    named = [each for each in dict.fromkeys(currencies) if each]
    if len(named) > 1:
        raise ask_fault(
            ResultCode.CONTRADICTING_AVPS, failed_currency(named[1]), "units in two currencies in one request"
        )
    return named[0] if named else 0


def tells_money(used: Units | None, wanted: Units | None) -> bool:
    """Tell whether a service of a request has units in money (RFC 8506 section 8.22), used or wanted."""
    return (used is not None and used.money >= 0) or (wanted is not None and wanted.money >= 0)


def rated_elsewhere(unit: Unit, wanted: Units) -> bool:
    """Tell whether a request says money where the tariff measures use, or use where its client is to say money: neither is the other."""
    if wanted.money >= 0:
        return unit != Unit.MONEY and max(wanted[:3]) < 0
    return unit == Unit.MONEY and max(wanted[:3]) >= 0


def ask_fault(result_code: ResultCode, failed_avp: bytes, reason: str) -> AskFault:
    """Build the fault of a request that cannot be charged: its code, what failed, encoded, and why, without values."""
    return AskFault(result_code, failed_avp, reason)


def copied(name: str, value: Any) -> bytes:
    """Encode an offending AVP again for a Failed-AVP; one that is too long for it becomes an example, without its content."""
    encoded = encode_avps({name: value})
    if len(encoded) <= limits.FAILED_AVP_OCTETS_MAX:
        return encoded
    return encode_avps({name: type(value)()})
