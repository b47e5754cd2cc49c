"""Called numbers, brought to E.164 from whatever a network sends; pure, and fast enough for every request.

Laws
1. One number has one normal form: digits with country code, without plus. What has none is None, never a guess.
2. Emergency numbers and short codes are no E.164: they are known by name, before anything is normalised.
3. The home country decides how a number without international prefix is dialled; it is configuration, not code.
"""

import re
from enum import StrEnum
from typing import NamedTuple


class Party(StrEnum):
    """What kind of number was called, seen from the home country."""

    NATIONAL = "national"
    INTERNATIONAL = "international"
    SHORT = "short"
    EMERGENCY = "emergency"
    UNKNOWN = "unknown"


class Home(NamedTuple):
    """How numbers are dialled at home.

    ``trunk_prefix`` may be empty (Italy, Spain); ``bare_national`` tells that digits without any prefix are a national
    number (else E.164 without its plus, as in the Subscription-Ids of CLIENTS 12).
    """

    country_code: str
    trunk_prefix: str
    international_prefix: str
    bare_national: bool
    short_codes: frozenset[str]
    emergency: frozenset[str]


class Called(NamedTuple):
    """A called number: its kind, and its digits (E.164 without plus; as dialled for short codes and emergency)."""

    party: Party
    digits: str


_UNKNOWN = Called(Party.UNKNOWN, "")
_E164 = re.compile(r"[1-9][0-9]{3,14}")
"""ITU-T E.164: at most 15 digits, and no country code begins with 0; the shortest numbers in use have four."""
_SCHEME = re.compile(r"(?:sips?|tel):", re.IGNORECASE)
_SOS = re.compile(r"urn:service:sos(?:\.[a-z.-]+)?", re.IGNORECASE)
_CONTEXT = re.compile(r";phone-context=\+([0-9.()-]+)", re.IGNORECASE)
_SEPARATORS = str.maketrans("", "", " .-()/")
"""Visual separators of RFC 3966 section 5.1.1, and what people write besides."""


def called(text: str, home: Home) -> Called:
    """Tell what was called: digits as dialled, international with + or prefix, a SIP or tel URI with parameters.

    RFC 3966 section 5.1.4: a local number with a phone-context of digits belongs to that country or area, so it is no short
    code or emergency number of ours where that is another country. RFC 5031: urn:service:sos is an emergency call.
    """
    bare = text.strip()
    if _SOS.fullmatch(bare):
        return Called(Party.EMERGENCY, "")
    scheme = _SCHEME.match(bare)
    if scheme is not None:
        bare = bare[scheme.end() :].partition("@")[0]
    user, _, parameters = bare.partition(";")
    user = user.partition(":")[0]  # RFC 3261 section 19.1.1: a password may follow the user
    if "%" in user:
        user = user.replace("%2B", "+").replace("%2b", "+").replace("%23", "#")
    dialled = user.replace("(0)", "").translate(_SEPARATORS)  # +49 (0) 30: a trunk prefix for those at home
    context = _CONTEXT.search(f";{parameters}") if parameters and not dialled.startswith("+") else None
    area = context.group(1).translate(_SEPARATORS) if context is not None else ""
    if area and not (area.startswith(home.country_code) and _is_prefixed(dialled, home)):
        digits = area + dialled
    else:
        digits = _international(dialled, home)
    if not area or area.startswith(home.country_code):
        found = _service_number(dialled, home)
        if found is None and digits.startswith(home.country_code) and not _is_trunk(dialled, home):
            found = _service_number(digits[len(home.country_code) :], home)
        if found is not None:
            return found
    if _E164.fullmatch(digits) is None:
        return _UNKNOWN
    party = Party.NATIONAL if digits.startswith(home.country_code) else Party.INTERNATIONAL
    return Called(party, digits)


def _service_number(digits: str, home: Home) -> Called | None:
    """Know an emergency number or a short code of the home country; networks write them with its country code too."""
    if digits in home.emergency:
        return Called(Party.EMERGENCY, digits)
    return Called(Party.SHORT, digits) if digits in home.short_codes else None


def _is_trunk(dialled: str, home: Home) -> bool:
    """Tell whether a number was dialled as a national one, with the trunk prefix."""
    if not home.trunk_prefix or not dialled.startswith(home.trunk_prefix):
        return False
    return not (home.international_prefix and dialled.startswith(home.international_prefix))


def _is_prefixed(dialled: str, home: Home) -> bool:
    """Tell whether a number was dialled with a prefix, which says more than the area it was dialled in."""
    international = bool(home.international_prefix) and dialled.startswith(home.international_prefix)
    return international or _is_trunk(dialled, home)


def _international(dialled: str, home: Home) -> str:
    """Return the digits after the plus; what cannot be a number is returned as it came."""
    if dialled.startswith("+"):
        digits = dialled[1:]
    elif home.international_prefix and dialled.startswith(home.international_prefix):
        digits = dialled[len(home.international_prefix) :]
    elif _is_trunk(dialled, home):
        return home.country_code + dialled[len(home.trunk_prefix) :]
    else:
        return home.country_code + dialled if home.bare_national else dialled
    if home.trunk_prefix == "0" and digits.startswith(home.country_code + "0"):
        # +49 030: no number behind a trunk prefix of 0 begins with 0, so it was dialled by somebody who left it in
        return home.country_code + digits[len(home.country_code) + 1 :]
    return digits
