"""What a subscriber is barred for beside the state of its account: for outgoing service, or for all; pure.

Laws
1. This bar is a creditor's (dunning), the account's state is the operator's: either refuses with 4010, and lifting one never lifts the other.
2. Emergency calls and messages pass, and free help lines do (TKG sections 61(3) and 164(1)); what is received passes while only outgoing
   service is barred (section 61(6)). Data is outgoing.
3. What was used is posted all the same: only what is asked for is refused.
4. Each bar and each lifting has an epoch that grows; one that is not above the last is old, and changes nothing.
"""

from collections.abc import Collection
from typing import Final

from ocs.charging.information import kept
from ocs.charging.plan import ANY, EMERGENCY_CALL, RECEIVED, WIDTH, Plan
from ocs.outcomes import Code
from ocs.rating.tariff import Tariff

NOT_BARRED: Final = ""
BARRED_OUTGOING: Final = "outgoing"
BARRED_ALL: Final = "all"
SCOPES: Final = (NOT_BARRED, BARRED_OUTGOING, BARRED_ALL)

_REFUSAL, _WANTS, _ALWAYS = 1, 7, 15
_BARRED: Final = int(Code.BARRED)
_PASSES: Final = {
    BARRED_OUTGOING: frozenset((EMERGENCY_CALL, RECEIVED)),
    BARRED_ALL: frozenset((EMERGENCY_CALL,)),
}


def barred(made: Plan, scope: str, help_lines: Collection[str]) -> Plan:
    """Return a plan in which all that a bar refuses is refused (BARRED); ``help_lines`` are the zones of free help lines.

    A scope that is not known refuses like BARRED_ALL: a bar is never lost by a word of a later version.
    """
    if made.facts != ANY and kept(made.facts).zone in help_lines:
        return made
    passes = _PASSES.get(scope, _PASSES[BARRED_ALL])
    services = list(made.services)
    for place in range(0, len(services), WIDTH):
        if services[place + _WANTS] and services[place + _ALWAYS] not in passes:
            services[place + _REFUSAL] = _BARRED
    return made._replace(services=services)


def help_lines(tariff: Tariff | None) -> frozenset[str]:
    """Return the zones of free help lines by a tariff's numbering plan; none without one."""
    return tariff.numbering.help_lines if tariff is not None and tariff.numbering is not None else _NONE


_NONE: Final[frozenset[str]] = frozenset()
