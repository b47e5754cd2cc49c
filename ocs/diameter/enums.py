"""The values of the Enumerated AVPs, by AVP name.

Laws
1. A closed list is judged by the codec: a value outside it is 5004 (RFC 6733 section 7.1.5).
2. A list that grows with each 3GPP release is open: the codec passes any value on and only its reader judges it.
   Nothing in charging turns on those; refusing a call because a radio access is new would be wrong.
"""

from typing import Final

CLOSED: Final[dict[str, dict[int, str]]] = {
    # RFC 6733 5.4.3
    "Disconnect-Cause": {0: "REBOOTING", 1: "BUSY", 2: "DO_NOT_WANT_TO_TALK_TO_YOU"},
    # RFC 6733 6.13
    "Redirect-Host-Usage": {
        0: "DONT_CACHE",
        1: "ALL_SESSION",
        2: "ALL_REALM",
        3: "REALM_AND_APPLICATION",
        4: "ALL_APPLICATION",
        5: "ALL_HOST",
        6: "ALL_USER",
    },
    # RFC 6733 8.7
    "Auth-Request-Type": {1: "AUTHENTICATE_ONLY", 2: "AUTHORIZE_ONLY", 3: "AUTHORIZE_AUTHENTICATE"},
    # RFC 6733 8.11
    "Auth-Session-State": {0: "STATE_MAINTAINED", 1: "NO_STATE_MAINTAINED"},
    # RFC 6733 8.12
    "Re-Auth-Request-Type": {0: "AUTHORIZE_ONLY", 1: "AUTHORIZE_AUTHENTICATE"},
    # RFC 6733 8.15; from 11 on RFC 7155 4.4.10 (the RADIUS causes plus 10)
    "Termination-Cause": {
        1: "LOGOUT",
        2: "SERVICE_NOT_PROVIDED",
        3: "BAD_ANSWER",
        4: "ADMINISTRATIVE",
        5: "LINK_BROKEN",
        6: "AUTH_EXPIRED",
        7: "USER_MOVED",
        8: "SESSION_TIMEOUT",
        11: "USER_REQUEST",
        12: "LOST_CARRIER",
        13: "LOST_SERVICE",
        14: "IDLE_TIMEOUT",
        15: "SESSION_TIMEOUT_NAS",
        16: "ADMIN_RESET",
        17: "ADMIN_REBOOT",
        18: "PORT_ERROR",
        19: "NAS_ERROR",
        20: "NAS_REQUEST",
        21: "NAS_REBOOT",
        22: "PORT_UNNEEDED",
        23: "PORT_PREEMPTED",
        24: "PORT_SUSPENDED",
        25: "SERVICE_UNAVAILABLE",
        26: "CALLBACK",
        27: "USER_ERROR",
        28: "HOST_REQUEST",
        29: "SUPPLICANT_RESTART",
        30: "REAUTHENTICATION_FAILURE",
        31: "PORT_REINIT",
        32: "PORT_DISABLED",
    },
    # RFC 6733 8.18
    "Session-Server-Failover": {
        0: "REFUSE_SERVICE",
        1: "TRY_AGAIN",
        2: "ALLOW_SERVICE",
        3: "TRY_AGAIN_ALLOW_SERVICE",
    },
    # RFC 6733 9.8.1
    "Accounting-Record-Type": {1: "EVENT_RECORD", 2: "START_RECORD", 3: "INTERIM_RECORD", 4: "STOP_RECORD"},
    # RFC 6733 9.8.7
    "Accounting-Realtime-Required": {1: "DELIVER_AND_GRANT", 2: "GRANT_AND_STORE", 3: "GRANT_AND_LOSE"},
    # RFC 8506 8.3
    "CC-Request-Type": {
        1: "INITIAL_REQUEST",
        2: "UPDATE_REQUEST",
        3: "TERMINATION_REQUEST",
        4: "EVENT_REQUEST",
    },
    # RFC 8506 8.4
    "CC-Session-Failover": {0: "FAILOVER_NOT_SUPPORTED", 1: "FAILOVER_SUPPORTED"},
    # RFC 8506 8.6
    "Check-Balance-Result": {0: "ENOUGH_CREDIT", 1: "NO_CREDIT"},
    # RFC 8506 8.13
    "Credit-Control": {0: "CREDIT_AUTHORIZATION", 1: "RE_AUTHORIZATION"},
    # RFC 8506 8.14
    "Credit-Control-Failure-Handling": {0: "TERMINATE", 1: "CONTINUE", 2: "RETRY_AND_TERMINATE"},
    # RFC 8506 8.15
    "Direct-Debiting-Failure-Handling": {0: "TERMINATE_OR_BUFFER", 1: "CONTINUE"},
    # RFC 8506 8.27
    "Tariff-Change-Usage": {
        0: "UNIT_BEFORE_TARIFF_CHANGE",
        1: "UNIT_AFTER_TARIFF_CHANGE",
        2: "UNIT_INDETERMINATE",
    },
    # RFC 8506 8.32
    "CC-Unit-Type": {
        0: "TIME",
        1: "MONEY",
        2: "TOTAL-OCTETS",
        3: "INPUT-OCTETS",
        4: "OUTPUT-OCTETS",
        5: "SERVICE-SPECIFIC-UNITS",
    },
    # RFC 8506 8.35
    "Final-Unit-Action": {0: "TERMINATE", 1: "REDIRECT", 2: "RESTRICT_ACCESS"},
    # RFC 8506 8.38
    "Redirect-Address-Type": {0: "IPv4 Address", 1: "IPv6 Address", 2: "URL", 3: "SIP URI"},
    # RFC 8506 8.40
    "Multiple-Services-Indicator": {
        0: "MULTIPLE_SERVICES_NOT_SUPPORTED",
        1: "MULTIPLE_SERVICES_SUPPORTED",
    },
    # RFC 8506 8.41
    "Requested-Action": {0: "DIRECT_DEBITING", 1: "REFUND_ACCOUNT", 2: "CHECK_BALANCE", 3: "PRICE_ENQUIRY"},
    # RFC 8506 8.47
    "Subscription-Id-Type": {
        0: "END_USER_E164",
        1: "END_USER_IMSI",
        2: "END_USER_SIP_URI",
        3: "END_USER_NAI",
        4: "END_USER_PRIVATE",
    },
    # RFC 8506 8.50
    "User-Equipment-Info-Type": {0: "IMEISV", 1: "MAC", 2: "EUI64", 3: "MODIFIED_EUI64"},
    # TS 32.299 7.2.99A
    "Low-Balance-Indication": {0: "NOT-APPLICABLE", 1: "YES"},
}

OPEN: Final[dict[str, dict[int, str]]] = {
    # TS 29.061 16.4.7.2
    "3GPP-PDP-Type": {0: "IPv4", 1: "PPP", 2: "IPv6", 3: "IPv4v6", 4: "Non-IP"},
    # TS 29.212 5.3.17: the 3GPP class numbers themselves, operator-specific ones among them
    "QoS-Class-Identifier": {},
    # TS 29.212 5.3.46, 5.3.47
    "Pre-emption-Capability": {0: "ENABLED", 1: "DISABLED"},
    "Pre-emption-Vulnerability": {0: "ENABLED", 1: "DISABLED"},
    # TS 32.299 7.2.163A
    "Role-Of-Node": {0: "ORIGINATING_ROLE", 1: "TERMINATING_ROLE", 2: "FORWARDING_ROLE"},
    # TS 32.299 7.2.112
    "Node-Functionality": {
        0: "S-CSCF",
        1: "P-CSCF",
        2: "I-CSCF",
        3: "MRFC",
        4: "MGCF",
        5: "BGCF",
        6: "AS",
        7: "IBCF",
    },
    "PS-Append-Free-Format-Data": {0: "Append", 1: "Overwrite"},
    # TS 32.299 7.2.235
    "Trigger-Type": {
        1: "CHANGE_IN_SGSN_IP_ADDRESS",
        2: "CHANGE_IN_QOS",
        3: "CHANGE_IN_LOCATION",
        4: "CHANGE_IN_RAT",
        5: "CHANGE_IN_UE_TIMEZONE",
        30: "CHANGEINLOCATION_MCC",
        31: "CHANGEINLOCATION_MNC",
    },
    # TS 32.299 7.2.175
    "Reporting-Reason": {
        0: "THRESHOLD",
        1: "QHT",
        2: "FINAL",
        3: "QUOTA_EXHAUSTED",
        4: "VALIDITY_TIME",
        5: "OTHER_QUOTA_TYPE",
        6: "RATING_CONDITION_CHANGE",
        7: "FORCED_REAUTHORISATION",
        8: "POOL_EXHAUSTED",
        9: "UNUSED_QUOTA_TIMER",
    },
    # TS 32.299 7.2.10
    "Address-Type": {
        0: "e-mail address",
        1: "MSISDN",
        2: "IPv4 Address",
        3: "IPv6 Address",
        4: "Numeric Shortcode",
        5: "Alphanumeric Shortcode",
        6: "Other",
        7: "IMSI",
    },
    "Addressee-Type": {0: "TO", 1: "CC", 2: "BCC"},
    "PDP-Context-Type": {0: "Primary", 1: "Secondary"},
    # TS 32.299 7.2.195: the message types of a short message
    "SM-Message-Type": {0: "SUBMISSION", 1: "DELIVERY_REPORT", 2: "SM Service Request", 3: "DELIVERY"},
    "Reply-Path-Requested": {0: "No Reply Path Set", 1: "Reply path Set"},
    "SMS-Node": {0: "SMS Router", 1: "IP-SM-GW", 2: "SMS Router and IP-SM-GW", 3: "SMS-SC"},
    "SM-Service-Type": {},
    "Serving-Node-Type": {0: "SGSN", 1: "PMIPSGW", 2: "GTPSGW", 3: "ePDG", 4: "hSGW", 5: "MME", 6: "TWAN"},
    "Dynamic-Address-Flag": {0: "Static", 1: "Dynamic"},
    "Dynamic-Address-Flag-Extension": {0: "Static", 1: "Dynamic"},
    # TS 32.299 7.2.14
    "AoC-Request-Type": {0: "AoC_NOT_REQUESTED", 1: "AoC_FULL", 2: "AoC_COST_ONLY", 3: "AoC_TARIFF_ONLY"},
    "SGW-Change": {0: "ACR_Start_NOT_due_to_SGW_Change", 1: "ACR_Start_due_to_SGW_Change"},
    "Charging-Characteristics-Selection-Mode": {},
    "IMSI-Unauthenticated-Flag": {0: "Authenticated", 1: "Unauthenticated"},
}

VALUES: Final = {**CLOSED, **OPEN}
"""All of them, for texts; what the codec judges is CLOSED."""
