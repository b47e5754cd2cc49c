"""Which AVPs a message or a group asks for, allows once, or allows many times: in the standards' own notation.

`< X >` and `{ X }` once and required, `[ X ]` at most once, `*[ X ]` any number, `*n[ X ]` at most n, `1*{ X }` at least
one. The order of AVPs is free, the Session-Id's too: RFC 6733 section 8.8 says SHOULD where its grammars say fixed.
The standards' `*[ AVP ]` (any other) ends every grammar here and is not written: an unknown AVP without the M-bit is passed over,
with it the message is refused with 5001 (RFC 6733 section 4.1).

Laws
1. A grammar says what its document says. Where a real client breaks it, a Leniency names the rule it may break,
   the paragraph of CLIENTS.md, and why; nothing else is forgiven.
2. Inside service information unknown AVPs with the M-bit are passed over and counted (CLIENTS 8): it informs,
   and nothing in it moves money by being unknown.
"""

import re
from typing import Final, NamedTuple

from ocs.limits import SERVICES_PER_REQUEST_MAX

BASE_APPLICATION: Final = 0
CREDIT_CONTROL_APPLICATION: Final = 4
ACCOUNTING_APPLICATION: Final = 3

MANY: Final = 1 << 24  # beyond what a message can hold: no bound of its own


class Rule(NamedTuple):
    """What a grammar says of one AVP.

    `least` is 0 or 1, `most` 1 or more; `listed` says that its value is a list; `twice` that a second one is passed over,
    which no standard allows.
    """

    name: str
    least: int
    most: int
    listed: bool
    twice: bool = False


class Command(NamedTuple):
    """One message of one application; `error` is the answer with the E-bit (RFC 6733 section 7.2)."""

    name: str
    code: int
    application: int
    request: bool
    grammar: str
    source: str


class Leniency(NamedTuple):
    """One rule of one grammar that real clients break, and what is accepted instead."""

    grammar: str
    rule: str
    clients: int
    why: str
    twice: bool = False


_RULE = re.compile(
    r"(?P<bound>1\*|\*(?P<most>\d*))?\s*(?P<bracket>[<{\[])\s*(?P<name>[A-Za-z0-9-]+)\s*[>}\]]"
)


def rules(grammar: str) -> list[Rule]:
    """Read a grammar in the standards' notation."""
    found = []
    for match in _RULE.finditer(grammar):
        listed = match["bound"] is not None
        least = int(match["bracket"] != "[")
        found.append(Rule(match["name"], least, int(match["most"] or MANY) if listed else 1, listed))
    return found


COMMANDS: Final = (
    Command(
        "CER",
        257,
        BASE_APPLICATION,
        True,
        """{ Origin-Host } { Origin-Realm } 1*{ Host-IP-Address } { Vendor-Id } { Product-Name }
        [ Origin-State-Id ] *[ Supported-Vendor-Id ] *[ Auth-Application-Id ] *[ Inband-Security-Id ]
        *[ Acct-Application-Id ] *[ Vendor-Specific-Application-Id ] [ Firmware-Revision ]""",
        "RFC 6733 5.3.1",
    ),
    Command(
        "CEA",
        257,
        BASE_APPLICATION,
        False,
        """{ Result-Code } { Origin-Host } { Origin-Realm } 1*{ Host-IP-Address } { Vendor-Id } { Product-Name }
        [ Origin-State-Id ] [ Error-Message ] [ Failed-AVP ] *[ Supported-Vendor-Id ] *[ Auth-Application-Id ]
        *[ Inband-Security-Id ] *[ Acct-Application-Id ] *[ Vendor-Specific-Application-Id ] [ Firmware-Revision ]""",
        "RFC 6733 5.3.2",
    ),
    Command(
        "DPR",
        282,
        BASE_APPLICATION,
        True,
        "{ Origin-Host } { Origin-Realm } { Disconnect-Cause }",
        "RFC 6733 5.4.1",
    ),
    Command(
        "DPA",
        282,
        BASE_APPLICATION,
        False,
        "{ Result-Code } { Origin-Host } { Origin-Realm } [ Error-Message ] [ Failed-AVP ]",
        "RFC 6733 5.4.2",
    ),
    Command(
        "DWR",
        280,
        BASE_APPLICATION,
        True,
        "{ Origin-Host } { Origin-Realm } [ Origin-State-Id ]",
        "RFC 6733 5.5.1",
    ),
    Command(
        "DWA",
        280,
        BASE_APPLICATION,
        False,
        "{ Result-Code } { Origin-Host } { Origin-Realm } [ Error-Message ] [ Failed-AVP ] [ Origin-State-Id ]",
        "RFC 6733 5.5.2",
    ),
    Command(
        "CCR",
        272,
        CREDIT_CONTROL_APPLICATION,
        True,
        f"""< Session-Id > {{ Origin-Host }} {{ Origin-Realm }} {{ Destination-Realm }} {{ Auth-Application-Id }}
        {{ Service-Context-Id }} {{ CC-Request-Type }} {{ CC-Request-Number }} [ Destination-Host ] [ User-Name ]
        [ CC-Sub-Session-Id ] [ Acct-Multi-Session-Id ] [ Origin-State-Id ] [ Event-Timestamp ] *[ Subscription-Id ]
        *[ Subscription-Id-Extension ] [ Service-Identifier ] [ Termination-Cause ] [ Requested-Service-Unit ]
        [ Requested-Action ] *[ Used-Service-Unit ] [ Multiple-Services-Indicator ]
        *{SERVICES_PER_REQUEST_MAX}[ Multiple-Services-Credit-Control ] *[ Service-Parameter-Info ]
        [ CC-Correlation-Id ] [ User-Equipment-Info ] [ User-Equipment-Info-Extension ] *[ Proxy-Info ]
        *[ Route-Record ] [ Service-Information ]""",
        "RFC 8506 3.1, TS 32.299 6.4.2",
    ),
    Command(
        "CCA",
        272,
        CREDIT_CONTROL_APPLICATION,
        False,
        """< Session-Id > { Result-Code } { Origin-Host } { Origin-Realm } { Auth-Application-Id } { CC-Request-Type }
        { CC-Request-Number } [ User-Name ] [ CC-Session-Failover ] [ CC-Sub-Session-Id ] [ Acct-Multi-Session-Id ]
        [ Origin-State-Id ] [ Event-Timestamp ] [ Granted-Service-Unit ] *[ Multiple-Services-Credit-Control ]
        [ Cost-Information ] [ Final-Unit-Indication ] [ QoS-Final-Unit-Indication ] [ Check-Balance-Result ]
        [ Credit-Control-Failure-Handling ] [ Direct-Debiting-Failure-Handling ] [ Validity-Time ] *[ Redirect-Host ]
        [ Redirect-Host-Usage ] [ Redirect-Max-Cache-Time ] *[ Proxy-Info ] *[ Route-Record ] *[ Failed-AVP ]
        [ Error-Message ] [ Error-Reporting-Host ] [ Experimental-Result ] [ Low-Balance-Indication ]
        [ Remaining-Balance ] [ Service-Information ]""",
        "RFC 8506 3.2, RFC 6733 7.3 and 7.4, TS 32.299 6.4.3",
    ),
    Command(
        "RAR",
        258,
        CREDIT_CONTROL_APPLICATION,
        True,
        """< Session-Id > { Origin-Host } { Origin-Realm } { Destination-Realm } { Destination-Host }
        { Auth-Application-Id } { Re-Auth-Request-Type } [ User-Name ] [ Origin-State-Id ] *[ Proxy-Info ]
        *[ Route-Record ] [ CC-Sub-Session-Id ] [ G-S-U-Pool-Identifier ] [ Service-Identifier ] [ Rating-Group ]""",
        "RFC 6733 8.3.1, RFC 8506 5.5",
    ),
    Command(
        "RAA",
        258,
        CREDIT_CONTROL_APPLICATION,
        False,
        """< Session-Id > { Result-Code } { Origin-Host } { Origin-Realm } [ User-Name ] [ Origin-State-Id ]
        [ Error-Message ] [ Error-Reporting-Host ] [ Failed-AVP ] *[ Redirect-Host ] [ Redirect-Host-Usage ]
        [ Redirect-Max-Cache-Time ] *[ Proxy-Info ] [ CC-Sub-Session-Id ] [ G-S-U-Pool-Identifier ]
        [ Service-Identifier ] [ Rating-Group ]""",
        "RFC 6733 8.3.2, RFC 8506 5.5",
    ),
    Command(
        "ASR",
        274,
        CREDIT_CONTROL_APPLICATION,
        True,
        """< Session-Id > { Origin-Host } { Origin-Realm } { Destination-Realm } { Destination-Host }
        { Auth-Application-Id } [ User-Name ] [ Origin-State-Id ] *[ Proxy-Info ] *[ Route-Record ]""",
        "RFC 6733 8.5.1",
    ),
    Command(
        "ASA",
        274,
        CREDIT_CONTROL_APPLICATION,
        False,
        """< Session-Id > { Result-Code } { Origin-Host } { Origin-Realm } [ User-Name ] [ Origin-State-Id ]
        [ Error-Message ] [ Error-Reporting-Host ] [ Failed-AVP ] *[ Redirect-Host ] [ Redirect-Host-Usage ]
        [ Redirect-Max-Cache-Time ] *[ Proxy-Info ]""",
        "RFC 6733 8.5.2",
    ),
)

ACCOUNTING_COMMANDS: Final = (
    Command(
        "ACR",
        271,
        ACCOUNTING_APPLICATION,
        True,
        """< Session-Id > { Origin-Host } { Origin-Realm } { Destination-Realm } { Accounting-Record-Type }
        { Accounting-Record-Number } [ Acct-Application-Id ] [ Vendor-Specific-Application-Id ] [ User-Name ]
        [ Destination-Host ] [ Accounting-Sub-Session-Id ] [ Acct-Session-Id ] [ Acct-Multi-Session-Id ]
        [ Acct-Interim-Interval ] [ Accounting-Realtime-Required ] [ Origin-State-Id ] [ Event-Timestamp ]
        *[ Proxy-Info ] *[ Route-Record ] { Service-Context-Id } *[ Subscription-Id ] [ Termination-Cause ]
        [ Acct-Session-Time ] [ Service-Information ]""",
        "RFC 6733 9.7.1, TS 32.299 6.2.2",
    ),
    Command(
        "ACA",
        271,
        ACCOUNTING_APPLICATION,
        False,
        """< Session-Id > { Result-Code } { Origin-Host } { Origin-Realm } { Accounting-Record-Type }
        { Accounting-Record-Number } [ Acct-Application-Id ] [ Vendor-Specific-Application-Id ] [ User-Name ]
        [ Accounting-Sub-Session-Id ] [ Acct-Session-Id ] [ Acct-Multi-Session-Id ] [ Error-Message ]
        [ Error-Reporting-Host ] [ Failed-AVP ] [ Acct-Interim-Interval ] [ Accounting-Realtime-Required ]
        [ Origin-State-Id ] [ Event-Timestamp ] *[ Proxy-Info ] *[ Route-Record ]""",
        "RFC 6733 9.7.2, TS 32.299 6.2.3",
    ),
)
"""Those of offline charging, spoken where config serves it."""

ERROR_ANSWER: Final = """[ Session-Id ] { Origin-Host } { Origin-Realm } { Result-Code } [ Origin-State-Id ]
    [ Error-Message ] [ Error-Reporting-Host ] [ Failed-AVP ] [ Experimental-Result ] *[ Proxy-Info ]
    [ Auth-Application-Id ] [ CC-Request-Type ] [ CC-Request-Number ] [ Acct-Application-Id ]
    [ Accounting-Record-Type ] [ Accounting-Record-Number ]"""
"""An answer with the E-bit, of any command: RFC 6733 section 7.2, and what CLIENTS 18 wants in it."""

_UNITS = "[ CC-Time ] [ CC-Money ] [ CC-Total-Octets ] [ CC-Input-Octets ] [ CC-Output-Octets ] [ CC-Service-Specific-Units ]"
_ADDRESS = "[ Address-Type ] [ Address-Data ] [ Address-Domain ]"

GROUPS: Final = {
    # RFC 6733 6.11, 7.6
    "Vendor-Specific-Application-Id": "{ Vendor-Id } [ Auth-Application-Id ] [ Acct-Application-Id ]",
    "Experimental-Result": "{ Vendor-Id } { Experimental-Result-Code }",
    # RFC 8506 8.7, 8.8, 8.22
    "Cost-Information": "{ Unit-Value } { Currency-Code } [ Cost-Unit ]",
    "Unit-Value": "{ Value-Digits } [ Exponent ]",
    "CC-Money": "{ Unit-Value } [ Currency-Code ]",
    # RFC 8506 8.16, and what TS 32.299 7.2.110 adds
    "Multiple-Services-Credit-Control": """[ Granted-Service-Unit ] [ Requested-Service-Unit ] *[ Used-Service-Unit ]
        *[ Service-Identifier ] [ Rating-Group ] *[ G-S-U-Pool-Reference ] [ Validity-Time ] [ Result-Code ]
        [ Final-Unit-Indication ] [ QoS-Final-Unit-Indication ] [ Tariff-Change-Usage ] [ Time-Quota-Threshold ]
        [ Volume-Quota-Threshold ] [ Unit-Quota-Threshold ] [ Quota-Holding-Time ] [ Quota-Consumption-Time ]
        *[ Reporting-Reason ] [ Trigger ] [ PS-Furnish-Charging-Information ] [ Refund-Information ]""",
    # RFC 8506 8.17, 8.18, 8.19; TS 32.299 7.2.240 for the last two of Used-Service-Unit
    "Granted-Service-Unit": f"[ Tariff-Time-Change ] {_UNITS}",
    "Requested-Service-Unit": _UNITS,
    "Used-Service-Unit": f"[ Tariff-Change-Usage ] {_UNITS} [ Reporting-Reason ] *[ Event-Charging-TimeStamp ]",
    # RFC 8506 8.30
    "G-S-U-Pool-Reference": "{ G-S-U-Pool-Identifier } { CC-Unit-Type } { Unit-Value }",
    # RFC 8506 8.34, 8.37, 8.64, 8.68
    "Final-Unit-Indication": "{ Final-Unit-Action } *[ Restriction-Filter-Rule ] *[ Filter-Id ] [ Redirect-Server ]",
    "QoS-Final-Unit-Indication": "{ Final-Unit-Action } *[ Filter-Id ] [ Redirect-Server-Extension ]",
    "Redirect-Server": "{ Redirect-Address-Type } { Redirect-Server-Address }",
    "Redirect-Server-Extension": "[ Redirect-Address-IPAddress ] [ Redirect-Address-URL ] [ Redirect-Address-SIP-URI ]",
    # RFC 8506 8.43, 8.46, 8.49, 8.52, 8.58
    "Service-Parameter-Info": "{ Service-Parameter-Type } { Service-Parameter-Value }",
    "Subscription-Id": "{ Subscription-Id-Type } { Subscription-Id-Data }",
    "Subscription-Id-Extension": """[ Subscription-Id-E164 ] [ Subscription-Id-IMSI ] [ Subscription-Id-SIP-URI ]
        [ Subscription-Id-NAI ] [ Subscription-Id-Private ]""",
    "User-Equipment-Info": "{ User-Equipment-Info-Type } { User-Equipment-Info-Value }",
    "User-Equipment-Info-Extension": """[ User-Equipment-Info-IMEISV ] [ User-Equipment-Info-MAC ]
        [ User-Equipment-Info-EUI64 ] [ User-Equipment-Info-ModifiedEUI64 ] [ User-Equipment-Info-IMEI ]""",
    # TS 29.212 5.3.16, 5.3.32
    "QoS-Information": """[ QoS-Class-Identifier ] [ Max-Requested-Bandwidth-UL ] [ Max-Requested-Bandwidth-DL ]
        [ Guaranteed-Bitrate-UL ] [ Guaranteed-Bitrate-DL ] [ Bearer-Identifier ] [ Allocation-Retention-Priority ]
        [ APN-Aggregate-Max-Bitrate-UL ] [ APN-Aggregate-Max-Bitrate-DL ]""",
    "Allocation-Retention-Priority": "{ Priority-Level } [ Pre-emption-Capability ] [ Pre-emption-Vulnerability ]",
    # TS 32.299 7.2: charging's own groups
    "Trigger": "*[ Trigger-Type ]",
    "PS-Furnish-Charging-Information": "{ 3GPP-Charging-Id } { PS-Free-Format-Data } [ PS-Append-Free-Format-Data ]",
    "Remaining-Balance": "{ Unit-Value } { Currency-Code }",
    # TS 32.299 7.2.192 and the groups inside; nothing in it is required here, because nothing is charged by its absence
    "Service-Information": """*[ Subscription-Id ] [ PS-Information ] [ IMS-Information ] [ MMS-Information ]
        [ SMS-Information ]""",
    "PS-Information": """[ 3GPP-Charging-Id ] [ PDN-Connection-Charging-ID ] [ Node-Id ] [ 3GPP-PDP-Type ] *[ PDP-Address ]
        [ PDP-Address-Prefix-Length ] [ Dynamic-Address-Flag ] [ Dynamic-Address-Flag-Extension ] [ QoS-Information ]
        *[ SGSN-Address ] *[ GGSN-Address ] *[ SGW-Address ] *[ CG-Address ] *[ Serving-Node-Type ] [ SGW-Change ]
        [ 3GPP-IMSI-MCC-MNC ] [ IMSI-Unauthenticated-Flag ] [ 3GPP-GGSN-MCC-MNC ] [ 3GPP-NSAPI ] [ Called-Station-Id ]
        [ 3GPP-Session-Stop-Indicator ] [ 3GPP-Selection-Mode ] [ 3GPP-Charging-Characteristics ]
        [ Charging-Characteristics-Selection-Mode ] [ 3GPP-SGSN-MCC-MNC ] [ 3GPP-MS-TimeZone ]
        *[ Charging-Rule-Base-Name ] [ 3GPP-User-Location-Info ] [ 3GPP-RAT-Type ] [ PS-Furnish-Charging-Information ]
        [ PDP-Context-Type ] [ User-Equipment-Info ] [ Start-Time ] [ Stop-Time ] [ Change-Condition ] [ Diagnostics ]
        *[ Service-Data-Container ] *[ Traffic-Data-Volumes ]""",
    # of these what is charged by; the rest is passed over as all that informs
    "Service-Data-Container": """[ Accounting-Input-Octets ] [ Accounting-Output-Octets ] [ Rating-Group ] [ Service-Identifier ]
        [ Change-Time ] [ Time-First-Usage ] [ Time-Last-Usage ] [ Time-Usage ] [ QoS-Information ] *[ Charging-Rule-Base-Name ]
        [ 3GPP-User-Location-Info ] *[ SGSN-Address ] *[ Change-Condition ]""",
    "Traffic-Data-Volumes": """[ Accounting-Input-Octets ] [ Accounting-Output-Octets ] [ Change-Time ] [ QoS-Information ]
        [ 3GPP-User-Location-Info ] *[ Change-Condition ]""",
    "IMS-Information": """[ Event-Type ] [ Role-Of-Node ] [ Node-Functionality ] [ User-Session-ID ] *[ Outgoing-Session-Id ]
        *[ Calling-Party-Address ] [ Called-Party-Address ] *[ Called-Asserted-Identity ]
        [ Number-Portability-Routing-Information ] [ Carrier-Select-Routing-Information ] [ Time-Stamps ]
        [ IMS-Charging-Identifier ] *[ Access-Network-Information ] *[ Cause-Code ]""",
    "Event-Type": "[ SIP-Method ] [ Event ] [ Expires ]",
    "Time-Stamps": """[ SIP-Request-Timestamp ] [ SIP-Response-Timestamp ] [ SIP-Request-Timestamp-Fraction ]
        [ SIP-Response-Timestamp-Fraction ]""",
    "MMS-Information": "[ Originator-Address ] *[ Recipient-Address ] [ Submission-Time ]",
    "Originator-Address": _ADDRESS,
    "Recipient-Address": f"{_ADDRESS} [ Addressee-Type ]",
    "Address-Domain": "[ Domain-Name ] [ 3GPP-IMSI-MCC-MNC ]",
    "SMS-Information": """[ SMS-Node ] [ Client-Address ] [ Originator-SCCP-Address ] [ SMSC-Address ] [ Data-Coding-Scheme ]
        [ SM-Discharge-Time ] [ SM-Message-Type ] [ SM-Protocol-ID ] [ Reply-Path-Requested ] [ SM-Status ]
        [ SM-User-Data-Header ] [ Number-of-Messages-Sent ] *[ Recipient-Info ] [ Originator-Received-Address ]
        [ SM-Service-Type ]""",
    "Recipient-Info": """*[ Recipient-Address ] *[ Recipient-Received-Address ] [ Recipient-SCCP-Address ]
        [ SM-Protocol-ID ]""",
    "Originator-Received-Address": _ADDRESS,
    "Recipient-Received-Address": _ADDRESS,
}
"""The groups that the codec looks into. Proxy-Info and Failed-AVP are not among them: they are carried, not read."""

TOLERANT: Final = "Service-Information"
"""In this group, and in all groups inside it, an unknown AVP with the M-bit is passed over and counted (CLIENTS 8)."""

LENIENCIES: Final = (
    Leniency("CER", "*[ Host-IP-Address ]", 3, "Kamailio's CER lacks it about once in ten starts"),
    Leniency(
        "CCR", "[ Auth-Application-Id ]", 5, "Kamailio has it inside Vendor-Specific-Application-Id only"
    ),
    Leniency("CCR", "{ Origin-Host }", 6, "Kamailio sends it twice: the first counts", twice=True),
    Leniency("CCR", "{ Origin-Realm }", 6, "Kamailio sends it twice: the first counts", twice=True),
    Leniency("CCR", "[ Vendor-Specific-Application-Id ]", 8, "Kamailio"),
    Leniency("CCR", "[ Accounting-Record-Type ]", 8, "Kamailio"),
    Leniency("CCR", "[ Accounting-Record-Number ]", 8, "Kamailio"),
    Leniency("CCR", "[ AoC-Request-Type ]", 8, "Open5GS, in every request"),
    Leniency("Multiple-Services-Credit-Control", "[ QoS-Information ]", 8, "Open5GS, in every service"),
    Leniency("RAA", "*[ Route-Record ]", 8, "freeDiameter as a relay copies it into the answer"),
    Leniency("ASA", "*[ Route-Record ]", 8, "freeDiameter as a relay copies it into the answer"),
)
"""M-bit leniency (CLIENTS 7) is the decoder's: it never looks at the M-bit of an AVP that the grammar knows."""


def grammar_rules(name: str, grammar: str) -> list[Rule]:
    """Return the rules of a grammar by name, with the leniencies of that name put in."""
    by_name = {rule.name: rule for rule in rules(grammar)}
    for leniency in LENIENCIES:
        if leniency.grammar == name:
            (rule,) = rules(leniency.rule)
            by_name[rule.name] = rule._replace(twice=leniency.twice)
    return list(by_name.values())
