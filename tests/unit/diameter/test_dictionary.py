"""The dictionary against a stranger's, and against itself."""

from datetime import UTC, datetime

import pytest
from diameter.message.avp.avp import Avp as StrangerAvp
from diameter.message.avp.dictionary import AVP_DICTIONARY, AVP_VENDOR_DICTIONARY

from ocs.diameter import enums
from ocs.diameter.dictionary import AVPS, BY_KEY, BY_NAME, FIXED_OCTETS, Avp, Enumerated, Grouped
from ocs.diameter.grammar import GROUPS

# How python-diameter calls the formats. It has no class of its own for what RFC 6733 derives from OctetString or Integer32.
STRANGER_FORMATS = {
    "OctetString": "AvpOctetString",
    "Integer32": "AvpInteger32",
    "Integer64": "AvpInteger64",
    "Unsigned32": "AvpUnsigned32",
    "Unsigned64": "AvpUnsigned64",
    "Grouped": "AvpGrouped",
    "Address": "AvpAddress",
    "Time": "AvpTime",
    "UTF8String": "AvpUtf8String",
    "DiameterIdentity": "AvpOctetString",
    "DiameterURI": "AvpUtf8String",
    "Enumerated": "AvpInteger32",
    "IPFilterRule": "AvpOctetString",
}

# Where we differ from it on purpose: what it says, and why we do not.
OTHER_FORMATS = {
    "Result-Code": ("AvpInteger32", "RFC 6733 7.1: Unsigned32"),
    "Inband-Security-Id": ("AvpInteger32", "RFC 6733 6.10: Unsigned32"),
    "Session-Binding": ("AvpInteger32", "RFC 6733 8.17: Unsigned32, a bit mask"),
    "Authorization-Lifetime": ("AvpInteger32", "RFC 6733 8.9: Unsigned32"),
    "Access-Network-Information": ("AvpUtf8String", "TS 32.299 7.2: OctetString"),
    "3GPP-Session-Stop-Indicator": ("AvpUtf8String", "TS 29.061 16.4.7.2: OctetString"),
}
OTHER_NAMES = {
    "Acct-Multi-Session-Id": ("Accounting-Multi-Session-Id", "RFC 6733 9.8.5"),
    "SIP-Method": ("3GPP-SIP-Method", "TS 32.299 7.2"),
    "Reporting-Reason": ("3GPP-Reporting-Reason", "TS 32.299 7.2"),
}
UNKNOWN_TO_IT = {
    "Subscription-Id-Extension": "RFC 8506 8.58, which it lacks",
    "Subscription-Id-E164": "RFC 8506 8.59, which it lacks",
    "Subscription-Id-IMSI": "RFC 8506 8.60, which it lacks",
    "Subscription-Id-SIP-URI": "RFC 8506 8.61, which it lacks",
    "Subscription-Id-NAI": "RFC 8506 8.62, which it lacks",
    "Subscription-Id-Private": "RFC 8506 8.63, which it lacks",
}


def stranger(avp: Avp) -> tuple[str, str] | None:
    """Name and format of the same vendor and code in python-diameter."""
    rows = AVP_VENDOR_DICTIONARY[avp.vendor] if avp.vendor else AVP_DICTIONARY
    row = rows.get(avp.code)
    if row is None:
        return None
    kind = row["type"].__name__
    return row["name"], "AvpInteger32" if kind == "AvpEnumerated" else kind


@pytest.mark.parametrize("avp", AVPS, ids=lambda avp: avp.name)
def test_code_vendor_name_and_format_agree_with_python_diameter(avp: Avp) -> None:
    expected = (
        OTHER_NAMES.get(avp.name, (avp.name,))[0],
        OTHER_FORMATS.get(avp.name, (STRANGER_FORMATS[avp.format],))[0],
    )
    assert stranger(avp) == (None if avp.name in UNKNOWN_TO_IT else expected)


def test_no_difference_is_listed_that_is_none() -> None:
    assert {
        name for name, row in OTHER_FORMATS.items() if row[0] == STRANGER_FORMATS[BY_NAME[name].format]
    } == set()
    assert {*OTHER_FORMATS, *OTHER_NAMES, *UNKNOWN_TO_IT} <= BY_NAME.keys()


def test_a_name_and_a_code_stand_for_one_avp_each() -> None:
    assert len(AVPS) == len(BY_NAME) == len(BY_KEY)


def test_every_row_names_its_document() -> None:
    assert {avp.name for avp in AVPS if not avp.source.startswith(("RFC ", "TS "))} == set()


def test_every_enumerated_avp_has_its_values_and_no_other_has() -> None:
    assert {avp.name for avp in AVPS if avp.format == Enumerated} == set(enums.VALUES)
    assert enums.CLOSED.keys() & enums.OPEN.keys() == set()


def test_fixed_formats_have_the_widths_of_python_diameters_types() -> None:
    for name, octets in FIXED_OCTETS.items():
        code = next(avp.code for avp in AVPS if avp.format == name and not avp.vendor)
        value = StrangerAvp.new(code)
        value.value = datetime(2026, 1, 1, tzinfo=UTC) if name == "Time" else 1
        assert len(value.payload) == octets, name


def test_the_m_bit_is_off_where_rfc_6733_section_4_5_forbids_it() -> None:
    off = {avp.name for avp in AVPS if avp.source.startswith("RFC 6733") and not avp.mandatory}
    assert off == {"Product-Name", "Firmware-Revision", "Error-Message", "Error-Reporting-Host"}


def test_groups_are_what_the_grammar_looks_into_or_carries() -> None:
    grouped = {avp.name for avp in AVPS if avp.format == Grouped}
    assert grouped - GROUPS.keys() == {"Proxy-Info", "Failed-AVP"}
    assert GROUPS.keys() - grouped == set()
