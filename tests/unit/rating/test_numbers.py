import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from ocs.rating.numbers import Called, Home, Party, called

GERMANY = Home("49", "0", "00", False, frozenset({"115"}), frozenset({"110", "112"}))
AMERICA = Home("1", "1", "011", True, frozenset({"411"}), frozenset({"911"}))
ITALY = Home("39", "", "00", True, frozenset(), frozenset({"112"}))
HOMES = {"DE": GERMANY, "US": AMERICA, "IT": ITALY}
BERLIN = Called(Party.NATIONAL, "49301234567")


@pytest.mark.parametrize(
    "text",
    [
        "+49301234567",
        "0049301234567",
        "0301234567",
        "49301234567",
        "+49 (30) 123-45.67",
        "+49 (0) 30 1234567",
        "+49 0301234567",
        "00490301234567",
        "tel:0301234567;phone-context=+4989",
        " 030/1234567 ",
        "tel:+49-30-1234567",
        "TEL:+49301234567;ext=5",
        "tel:0301234567;phone-context=+49",
        "tel:301234567;phone-context=+49",
        "tel:1234567;phone-context=+4930",
        "tel:030-1234567;phone-context=ims.example.org",
        "sip:+49301234567@ims.example.org;user=phone",
        "sip:0301234567;phone-context=+49@ims.example.org;user=phone",
        "sips:+49301234567:secret@10.0.0.1:5060",
        "sip:%2B49301234567@ims.example.org",
        "sip:+49301234567;npdi;rn=+4932@ims.example.org",
    ],
)
def test_every_spelling_of_a_number_is_one_number(text: str) -> None:
    assert called(text, GERMANY) == BERLIN


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("112", Called(Party.EMERGENCY, "112")),
        ("sip:110@ims.example.org;user=phone", Called(Party.EMERGENCY, "110")),
        ("tel:112;phone-context=+49", Called(Party.EMERGENCY, "112")),
        ("tel:112;phone-context=+4930", Called(Party.EMERGENCY, "112")),
        ("+49112", Called(Party.EMERGENCY, "112")),
        ("0049110", Called(Party.EMERGENCY, "110")),
        ("49112", Called(Party.EMERGENCY, "112")),
        ("sip:+49115@ims.example.org", Called(Party.SHORT, "115")),
        ("tel:110;phone-context=+33", Called(Party.INTERNATIONAL, "33110")),
        ("tel:115;phone-context=+33", Called(Party.INTERNATIONAL, "33115")),
        ("+43 (0) 1234567", Called(Party.INTERNATIONAL, "431234567")),
        ("urn:service:sos", Called(Party.EMERGENCY, "")),
        ("urn:service:sos.police", Called(Party.EMERGENCY, "")),
        ("115", Called(Party.SHORT, "115")),
        ("tel:115;phone-context=example.org", Called(Party.SHORT, "115")),
        ("0112", Called(Party.NATIONAL, "49112")),
        ("+43123456789", Called(Party.INTERNATIONAL, "43123456789")),
        ("tel:123456789;phone-context=+43", Called(Party.INTERNATIONAL, "43123456789")),
    ],
)
def test_emergency_and_short_codes_are_no_e164(text: str, told: Called) -> None:
    assert called(text, GERMANY) == told


@pytest.mark.parametrize(
    "text", ["", "alice", "sip:alice@example.org", "+", "00", "+0123456", "*21#", "118", "+1234567890123456", "+٤٩٣٠١٢"]
)  # fmt: skip
def test_what_is_no_number_is_unknown_and_never_a_guess(text: str) -> None:
    assert called(text, GERMANY) == Called(Party.UNKNOWN, "")


def test_a_country_without_trunk_prefix_keeps_its_zero() -> None:
    assert called("0612345678", ITALY) == Called(Party.NATIONAL, "390612345678")


KINDS = [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE]
FORMS = [
    PhoneNumberFormat.E164,
    PhoneNumberFormat.INTERNATIONAL,
    PhoneNumberFormat.NATIONAL,
    PhoneNumberFormat.RFC3966,
]


@pytest.mark.parametrize("region", ["DE", "US", "IT", "FR", "CN", "AU"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("home", sorted(HOMES))
def test_a_second_opinion_dials_the_same_numbers(region: str, kind: int, home: str) -> None:
    number = phonenumbers.example_number_for_type(region, kind)
    assert number is not None
    digits = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
    at_home = home == region
    spellings = [phonenumbers.format_number(number, form) for form in FORMS if at_home or form != FORMS[2]]
    spellings.append(phonenumbers.format_out_of_country_calling_number(number, home))
    party = Party.NATIONAL if at_home else Party.INTERNATIONAL
    assert [called(each, HOMES[home]) for each in spellings] == [Called(party, digits)] * len(spellings)
