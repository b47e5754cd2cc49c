"""Names that come from outside, brought to one form: subscriber identities, services, contexts.

Laws
1. Every identity has one normal form; two spellings of one number meet in the same key (CLIENTS 12).
2. A name that cannot be normalised is None, never a guess.
"""

import re
from typing import NamedTuple

E164 = "e"
IMSI = "i"
OTHER = "x"

_DIGITS = re.compile(r"[0-9]{3,15}")
_CONTEXT = re.compile(r"(32[0-9]{3})@3gpp\.org")
_OTHER = re.compile(r"[\x21-\x7e]{1,128}")

FAMILIES = {"32251": "data", "32260": "voice", "32274": "sms", "32270": "mms"}
"""Service of each 3GPP charging specification that a Service-Context-Id ends in (TS 32.299 clause 7.2.195A)."""


class SubscriberId(NamedTuple):
    """One normalised identity: kind is E164 (digits without +), IMSI (digits) or OTHER (as sent, lower case)."""

    kind: str
    value: str

    @property
    def key(self) -> str:
        """Return the store's index key of this identity."""
        return f"id:{self.kind}:{self.value}"


def e164(text: str) -> SubscriberId | None:
    """Normalise an E.164 number: "+49170…", "0049170…" and "49170…" are one."""
    digits = text.strip().removeprefix("+")
    if text.strip().startswith("00"):
        digits = text.strip()[2:]
    return SubscriberId(E164, digits) if _DIGITS.fullmatch(digits) else None


def imsi(text: str) -> SubscriberId | None:
    """Normalise an IMSI (TS 23.003 clause 2.2): digits only, at most 15."""
    return SubscriberId(IMSI, text.strip()) if _DIGITS.fullmatch(text.strip()) else None


def uri(text: str) -> SubscriberId | None:
    """Normalise a SIP or tel URI: a user part that is a number is that number, anything else is itself in lower case."""
    bare = text.strip()
    for scheme in ("sip:", "sips:", "tel:"):
        if bare.lower().startswith(scheme):
            bare = bare[len(scheme) :]
            break
    user = bare.partition("@")[0].partition(";")[0]
    number = e164(user)
    if number is not None and (user.startswith("+") or user.isdigit()):
        return number
    return SubscriberId(OTHER, bare.lower()) if _OTHER.fullmatch(bare) else None


def subscriber_id(kind: int, text: str) -> SubscriberId | None:
    """Normalise a Subscription-Id of the given Subscription-Id-Type (RFC 8506 section 8.47: 0 E164, 1 IMSI, 2 SIP URI, 3 NAI, 4 private).

    Real clients send the E.164 number with a plus, or a SIP URI whose user is the number (CLIENTS 12).
    """
    if kind == 0:
        return e164(text) or uri(text)
    if kind == 1:
        return imsi(text)
    return uri(text)


def service_family(context: str) -> str | None:
    """Return "data", "voice", "sms" or "mms" of a Service-Context-Id, or None: the tail 322nn@3gpp.org decides (CLIENTS 13)."""
    found = _CONTEXT.search(context)
    return FAMILIES.get(found.group(1)) if found and context.endswith(found.group(0)) else None


def service_key(rating_group: int | None, service_identifier: int | None, *more: int) -> str:
    """Return the short name of a service inside a session: "10", "10/5", "/5", or "" when a request names neither.

    One service may carry several Service-Identifiers (RFC 8506 section 8.16): "10/5+7", sorted, so that their order
    does not matter.
    """
    group = "" if rating_group is None else str(rating_group)
    if service_identifier is None:
        return group
    if more:
        return f"{group}/{'+'.join(map(str, sorted({service_identifier, *more})))}"
    return f"{group}/{service_identifier}"
