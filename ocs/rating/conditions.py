"""Conditions as they are written in a rate, a spend cap or a product's use, brought to what rates look at; pure."""

from collections.abc import Callable

from ocs.rating.document import Path
from ocs.rating.numbering import EMERGENCY, Numbering
from ocs.rating.rates import AT_HOME, OUTGOING, Conditions
from ocs.rating.tariff_text import ConditionsText

Fault = Callable[[Path, str], None]
"""Notes what is wrong, and where."""


def conditions(
    text: ConditionsText, service: str, plan: Numbering | None, named: str | None, where: tuple[Path, Fault]
) -> Conditions:
    """Return the conditions; zones are those of ``plan``, which the document calls ``named`` (None: it names none).

    ``where`` is the path that the text stands at, and what notes a fault.
    """
    path, fault = where
    for key, values, known in (
        ("zones", text.zones, plan.zones if plan else frozenset()),
        ("roaming", text.roaming, (plan.roaming_zones if plan else frozenset()) | {AT_HOME}),
    ):
        for zone in values or ():
            if named is None:
                fault((*path, key), "zones of which numbering plan? name it: numbering: …")
            elif plan is not None and zone not in known:
                right = ", ".join(sorted(known))
                free = "; emergency calls are free in every tariff" if zone == EMERGENCY else ""
                fault((*path, key), f"{zone!r} is no zone of {plan.name}; zones are {right}{free}")
    if text.directions is not None and service == "data":
        fault((*path, "directions"), "data has no direction; strike it")
    sent_only = None if service == "data" else (OUTGOING,)
    return Conditions(
        *(
            None if values is None else frozenset(values)
            for values in (
                text.zones, text.roaming, text.rating_groups, text.service_identifiers,
                text.access, text.apns, text.called_parties, text.directions or sent_only,
            )
        )
    )  # fmt: skip
