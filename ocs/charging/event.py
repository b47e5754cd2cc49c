"""One-time events (RFC 8506 section 6, TS 32.299 clause 6.3, IEC): from an Ask to a Plan, and what their answers tell; pure.

Laws
1. An event is planned as the Initial of a session that asks for all its units and has used them: the same rates, sources and
   ladders. What a session adds is left out: no least and most of a quota, no life of a grant. Money is as asked, never chosen.
2. All units of an event are priced on the rate and window of its instant, however long they last.
3. A refund is not planned on the tariff: what was debited is known, and only which services and how many units is said.
"""

from struct import Struct
from typing import NamedTuple

from ocs.charging.ask import (
    CHECK_BALANCE,
    DIRECT_DEBITING,
    INITIAL,
    PRICE_ENQUIRY,
    REFUND_ACCOUNT,
    Ask,
    AskedService,
    Units,
)
from ocs.charging.outcome import Charged, Outcome, ServiceOutcome
from ocs.charging.plan import LadderText, Plan, QuotaRules, Wallet, plan
from ocs.charging.quota import ByGroup, Sizes
from ocs.outcomes import Code, Note
from ocs.rating.tariff import Tariff
from ocs.units import UNITS_MAX

__all__ = ["CHECK_BALANCE", "DIRECT_DEBITING", "PRICE_ENQUIRY", "REFUND_ACCOUNT"]

_NOTHING = Units()
_REFUSALS = frozenset((Code.BARRED, Code.UNRATED))
_BEYOND_ALL = UNITS_MAX + 1
_TOKEN = Struct(">BI")
_TOKEN_VERSION = 1


def event_plan(
    ask: Ask,
    tariff: Tariff | None,
    rules: QuotaRules,
    ladder_text: LadderText,
    at_ms: int,
    wallet: Wallet | None,
    own: ByGroup[Sizes] | None = None,
) -> Plan:
    """Make the plan of an event. Of a kind of unit that is not asked for, or 0 of it, the server chooses the usual: of the family's own
    sizes where config has any, else the most of a grant.
    """
    assert ask.event is not None
    if ask.event.action == REFUND_ACCOUNT:
        wished = tuple(each._replace(used=each.wanted, wanted=None) for each in ask.services)
        return plan(ask._replace(services=wished), None, rules, ladder_text, at_ms)
    whole = tuple(
        _used_up(each, rules[:3] if own is None else own[each.rating_group].chosen) for each in ask.services
    )
    unbounded = rules._replace(
        octets=_BEYOND_ALL,
        seconds=_BEYOND_ALL,
        events=_BEYOND_ALL,
        money=0,
        money_most=_BEYOND_ALL,
        validity_s=0,
    )
    opening = ask._replace(kind=INITIAL, services=whole)
    return plan(opening, tariff, unbounded, ladder_text, at_ms, None, wallet)


def _used_up(asked: AskedService, usual: tuple[int, ...]) -> AskedService:
    """Return a service that asks for all its units, and reports them as used in the window of now (law 2).

    Who asks for money alone gets nothing else, and who does not is not given any.
    """
    units = wanted = asked.wanted or _NOTHING
    if wanted.money < 0 or max(wanted[:3]) >= 0:
        octets, seconds, events = (
            asked if asked > 0 else most for asked, most in zip(wanted[:3], usual, strict=True)
        )
        units = Units(octets, seconds, events, wanted.money)
    return asked._replace(used=units, wanted=units, after=units)


def concluded(
    ask: Ask, code: Code, notes: Note, services: tuple[ServiceOutcome, ...], charged: Charged
) -> Outcome:
    """Return the outcome of an event that was looked at.

    A debit is its services', each for itself. An enquiry is about all of them together: one that nobody may use or rate refuses it.
    A price that cannot be told, since a cap or the end of a ladder lies before it, is beyond every credit limit.
    """
    assert ask.event is not None
    if ask.event.action in {CHECK_BALANCE, PRICE_ENQUIRY}:
        codes = [each.code for each in services]
        code = min([each for each in codes if each in _REFUSALS], default=Code.SUCCESS)
        if ask.event.action == PRICE_ENQUIRY:
            code = min([code, *codes])
    return Outcome(Code(code), notes, (), charged._replace(services=services))


class Debited(NamedTuple):
    """Which event was a debit: its Session-Id and CC-Request-Number."""

    session_id: str
    number: int

    @property
    def name(self) -> str:
        """Return how the store names it."""
        return f"{self.number}:{self.session_id}"


def write_refund_information(ask: Ask) -> bytes:
    """Write the Refund-Information of a debit: it names the debit, and opens nothing. The store compares whose it was."""
    return _TOKEN.pack(_TOKEN_VERSION, ask.number) + ask.session_id.encode()


def read_refund_information(octets: bytes) -> Debited | None:
    """Read a Refund-Information; None for octets that this server never wrote."""
    if len(octets) <= _TOKEN.size or octets[0] != _TOKEN_VERSION:
        return None
    _, number = _TOKEN.unpack_from(octets)
    try:
        return Debited(octets[_TOKEN.size :].decode(), number)
    except UnicodeDecodeError:
        return None
