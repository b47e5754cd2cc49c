"""What happens when the last units are used: Final-Unit-Indication and QoS-Final-Unit-Indication (RFC 8506 section 5.6); pure.

Laws
1. TERMINATE stands alone; REDIRECT goes somewhere; RESTRICT_ACCESS leaves something to reach (RFC 8506 sections 8.34 and 8.68).
2. QoS-Final-Unit-Indication takes the place of Final-Unit-Indication where config says so, never both: a client that knows only one
   of them must not read the other's action into it. It knows Filter-Id, and no Restriction-Filter-Rule.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final, Protocol

from ocs.diameter.writers import encode_avps

ACTIONS: Final = {"TERMINATE": 0, "REDIRECT": 1, "RESTRICT_ACCESS": 2}
"""Final-Unit-Action (RFC 8506 section 8.35)."""
IPV4, IPV6, URL, SIP_URI = 0, 1, 2, 3
"""Redirect-Address-Type (RFC 8506 section 8.38)."""

_URL = re.compile(r"https?://[\x21-\x7e]{1,500}")
_SIP_URI = re.compile(r"sips?:[\x21-\x7e]{1,500}")
_RULE = re.compile(r"(permit|deny) (in|out) [\x20-\x7e]{1,250}")
_NAME = re.compile(r"[\x21-\x7e]{1,100}")
_EXTENSION: Final = {
    IPV4: "Redirect-Address-IPAddress",
    IPV6: "Redirect-Address-IPAddress",
    URL: "Redirect-Address-URL",
    SIP_URI: "Redirect-Address-SIP-URI",
}
"""Members of Redirect-Server-Extension (RFC 8506 section 8.64)."""


class AtTheEnd(Protocol):
    """What config says of the end of credit (quota_text.py)."""

    @property
    def final_action(self) -> str:
        """One of ACTIONS."""

    @property
    def redirect_to(self) -> str:
        """Where to, "" where nothing is redirected."""

    @property
    def filter_rules(self) -> tuple[str, ...]:
        """IPFilterRules of what may still be reached."""

    @property
    def filter_ids(self) -> tuple[str, ...]:
        """Names of filters that the gateway knows."""

    @property
    def final_qos(self) -> bool:
        """Whether it is said in QoS-Final-Unit-Indication."""


def address_type(text: str) -> int:
    """Tell what kind of address a redirection goes to (RFC 8506 section 8.38); raises ValueError for none of them."""
    if _URL.fullmatch(text):
        return URL
    if _SIP_URI.fullmatch(text):
        return SIP_URI
    try:
        return IPV6 if ip_address(text).version == 6 else IPV4
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is nothing to redirect to; write a URL (https://…), a SIP URI (sip:…) or an IP address, in ASCII"
        ) from None


def an_address(text: str) -> str:
    """Return an address to redirect to, or nothing, as it is; raises ValueError."""
    if text:
        address_type(text)
    return text


def a_rule(text: str) -> str:
    """Return an IPFilterRule (RFC 6733 section 4.3.1) as it is; raises ValueError."""
    if not _RULE.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is no filter rule; write an IPFilterRule, such as: permit in ip from any to 192.0.2.1 443"
        )
    return text


def a_filter(text: str) -> str:
    """Return a Filter-Id as it is; raises ValueError."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text[:80]!r} is no name of a filter; write the name by which the gateway knows it"
        )
    return text


def faults(said: AtTheEnd) -> Iterator[str]:
    """Tell what does not go together (law 1)."""
    action, filters = said.final_action, said.filter_rules or said.filter_ids
    if action == "REDIRECT" and not said.redirect_to:
        yield "REDIRECT goes nowhere without redirect_to"
    if action != "REDIRECT" and said.redirect_to:
        yield f"redirect_to is nothing for final_action {action}"
    if action == "RESTRICT_ACCESS" and not filters:
        yield "RESTRICT_ACCESS leaves nothing to reach without filter_rules or filter_ids"
    if action == "TERMINATE" and (filters or said.final_qos):
        yield "filters and final_qos are nothing for final_action TERMINATE"
    if said.final_qos and said.filter_rules:
        yield "filter_rules are not of final_qos, which has filter_ids"


def indication(said: AtTheEnd) -> bytes:
    """Encode the one AVP that says what happens after the last units."""
    group: dict[str, Any] = {"Final-Unit-Action": ACTIONS[said.final_action]}
    if said.filter_rules:
        group["Restriction-Filter-Rule"] = list(said.filter_rules)
    if said.filter_ids:
        group["Filter-Id"] = list(said.filter_ids)
    if said.redirect_to:
        kind = address_type(said.redirect_to)
        if said.final_qos:
            group["Redirect-Server-Extension"] = {_EXTENSION[kind]: said.redirect_to}
        else:
            group["Redirect-Server"] = {
                "Redirect-Address-Type": kind,
                "Redirect-Server-Address": said.redirect_to,
            }
    return encode_avps({"QoS-Final-Unit-Indication" if said.final_qos else "Final-Unit-Indication": group})
