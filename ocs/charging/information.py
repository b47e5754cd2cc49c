"""What a request tells of its service (TS 32.299 clause 7.2.192), brought to what rates look at; pure.

Laws
1. Only what a rate of the tariff looks at is told, and that it is an emergency or a free help line, which pass a bar: the rest changes
   no price, and a session need not keep it.
2. What a session was opened with stays with it. Data sessions move, so a later request's network, access or access point take
   the place of what was known; calls and messages do not, and what real clients send in later requests is nonsense (CLIENTS 16).
3. What a network says and the tariff does not know (a foreign network without a zone) is unknown, never "at home".
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ocs.limits import FACTS_KEPT_MAX
from ocs.rating.numbering import EMERGENCY, Numbering
from ocs.rating.numbers import Home, Party, called
from ocs.rating.rates import AT_HOME, INCOMING, OUTGOING, Facts

_UNKNOWN = "?"
TERMINATING = 1
"""Role-Of-Node TERMINATING_ROLE (TS 32.299 clause 7.2.153): the subscriber is called."""
_ACCESSES = {
    1: "utran", 2: "geran", 3: "wlan", 4: "gan", 5: "hspa-evolution", 6: "eutran", 7: "virtual", 8: "nb-iot", 9: "lte-m",
    10: "nr", 51: "nr", 52: "nr", 53: "wlan", 54: "wlan",
}  # fmt: skip
"""3GPP-RAT-Type (TS 29.061 clause 16.4.7.2): the first of its octets. Networks write 5G as 51 (and 52, unlicensed), or as GTP's 10."""
_APN = re.compile(r"[a-z0-9.-]{1,100}")
_OPERATOR = re.compile(r"\.mnc[0-9]{3}\.mcc[0-9]{3}\.gprs$")
"""Operator identifier of an access point name (TS 23.003 clause 9.1.2), which rates leave out."""
_NETWORK = re.compile(r"[0-9]{5,6}")
_ANYWHERE = Home("", "", "", False, frozenset(), frozenset({"112", "911"}))
"""Numbers where a tariff has no numbering plan: only those of an emergency are told apart (TS 22.101 clause 10.1.1)."""


class Told(NamedTuple):
    """What is known of a session's service; an empty text is what nobody told."""

    zone: str = ""
    roaming: str = ""
    access: str = ""
    apn: str = ""
    called_party: str = ""
    direction: str = ""

    @property
    def text(self) -> str:
        """Return it as a session keeps it: one short text, empty when nothing is known."""
        return ",".join(self).rstrip(",")

    def facts(self, service: str, rating_group: int | None, service_identifier: int | None) -> Facts:
        """Return what the rates are asked; data goes to no number. Remembered: most sessions share a few."""
        return _facts(self, service, rating_group, service_identifier)


@lru_cache(FACTS_KEPT_MAX)
def _facts(told: Told, service: str, rating_group: int | None, service_identifier: int | None) -> Facts:
    zone, roaming, access, apn, called_party, direction = (
        None if each == _UNKNOWN else each for each in told
    )
    roaming = AT_HOME if roaming == "" else roaming
    if service == "data":
        return Facts(service, None, roaming, rating_group, service_identifier, access or None, apn or None)
    return Facts(
        service,
        zone or None,
        roaming,
        rating_group,
        service_identifier,
        access or None,
        apn or None,
        called_party or None,
        direction or OUTGOING,
    )


NOTHING = Told()


def rat_type(access: str) -> bytes:
    """Return the 3GPP-RAT-Type of an access type by name; raises StopIteration for none."""
    return bytes([next(number for number, name in _ACCESSES.items() if name == access)])


@lru_cache(FACTS_KEPT_MAX)
def kept(text: str) -> Told:
    """Read what a session keeps; raises TypeError for a text of another layout."""
    return Told(*text.split(",")) if text else NOTHING


def told(
    service: str,
    information: Mapping[str, Any] | None,
    numbering: Numbering | None,
    looked_at: frozenset[str],
) -> Told:
    """Read what a request tells; ``looked_at`` are the names of the facts that matter to the tariff (law 1)."""
    if not information or (service == "data" and not looked_at):
        return NOTHING
    bearer = information.get("PS-Information", {})
    roaming = access = apn = ""
    if "roaming" in looked_at and numbering is not None and "3GPP-SGSN-MCC-MNC" in bearer:
        roaming = _roaming(bearer["3GPP-SGSN-MCC-MNC"], numbering)
    if "access" in looked_at and "3GPP-RAT-Type" in bearer:
        access = _ACCESSES.get(next(iter(bearer["3GPP-RAT-Type"]), 0), _UNKNOWN)
    if "apn" in looked_at and "Called-Station-Id" in bearer:
        apn = _apn(bearer["Called-Station-Id"])
    if service == "data":
        return Told(roaming=roaming, access=access, apn=apn)
    if information.get("IMS-Information", {}).get("Role-Of-Node") == TERMINATING:
        return Told("", roaming, access, apn, "", INCOMING)
    number = _called_number(information)
    zone, called_party = _destination(number, numbering) if number is not None else ("", "")
    if (
        zone != EMERGENCY
        and "zone" not in looked_at
        and (numbering is None or zone not in numbering.help_lines)
    ):
        zone = ""
    return Told(zone, roaming, access, apn, called_party if "called_party" in looked_at else "")


def is_emergency(information: Mapping[str, Any], plans: Iterable[Numbering] = ()) -> bool:
    """Tell whether a request is about an emergency call or message, by any of the numbering plans, or by the numbers known without one."""
    number = _called_number(information)
    if number is None:
        return False
    return any(_destination(number, plan)[0] == EMERGENCY for plan in (None, *plans))


def merged(service: str, before: Told, now: Told) -> Told:
    """Return what holds once a request was read (law 2)."""
    if before == NOTHING:
        return now
    if service != "data" or now in (NOTHING, before):
        return before
    return Told(*[later or earlier for earlier, later in zip(before, now, strict=True)])


def _roaming(text: str, numbering: Numbering) -> str:
    found = numbering.roaming_zone(text) if _NETWORK.fullmatch(text) else None
    return _UNKNOWN if found is None else found


def _apn(text: str) -> str:
    name = _OPERATOR.sub("", text.strip().lower())
    return name if _APN.fullmatch(name) else _UNKNOWN


def _called_number(information: Mapping[str, Any]) -> str | None:
    """Return the number called, or the first recipient of a message."""
    call = information.get("IMS-Information", {})
    if "Called-Party-Address" in call:
        return str(call["Called-Party-Address"])
    for identity in call.get("Called-Asserted-Identity", ()):
        return str(identity)
    recipients = information.get("MMS-Information", {}).get("Recipient-Address", ())
    for group in information.get("SMS-Information", {}).get("Recipient-Info", ()):
        recipients = (
            *recipients,
            *group.get("Recipient-Address", ()),
            *group.get("Recipient-Received-Address", ()),
        )
    for recipient in recipients:
        if "Address-Data" in recipient:
            return str(recipient["Address-Data"])
    return None


def _destination(number: str, numbering: Numbering | None) -> tuple[str, str]:
    """Return the zone of a called number, and its kind."""
    if numbering is None:
        emergency = called(number, _ANYWHERE).party == Party.EMERGENCY
        return (EMERGENCY if emergency else ""), ""
    party, _, zone = numbering.destination(number)
    return _UNKNOWN if zone is None else zone, party.value
