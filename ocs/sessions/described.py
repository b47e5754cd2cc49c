"""An open session as commands and the API show it: one description, so that both say the same."""

from collections.abc import Sequence
from typing import Any

from ocs.balance.stored_session import OpenSession
from ocs.clock import instant
from ocs.money import format_amount
from ocs.records import ACCOUNTING, RESERVATION
from ocs.sessions.ending import EndedSession


def shown_id(session: OpenSession) -> str:
    """Return the Session-Id that a session's client knows; of a reservation, its channel and id."""
    return session.session_id.removeprefix(ACCOUNTING).lstrip(" ")


def application_of(session: OpenSession) -> str:
    """Return how a session is charged: online over Gy or Ro, or offline over Rf, where nothing is granted; or that it is a reservation."""
    if session.session_id.startswith(RESERVATION):
        return "reservation"
    return "accounting" if session.session_id.startswith(ACCOUNTING) else "credit-control"


def described(session: OpenSession) -> dict[str, Any]:
    """Describe a session: amounts as decimal text in its account's currency, units in its services' own unit, times as ISO 8601."""
    return {
        "session_id": shown_id(session),
        "application": application_of(session),
        "account": session.account,
        "tariff": session.tariff,
        "opened": instant(session.opened_ms),
        "due": instant(session.due_ms),
        "origin_host": session.origin_host,
        "origin_realm": session.origin_realm,
        "reserved": format_amount(sum(each.hold_micros for each in session.services)),
        "services": [
            {
                "service": each.key,
                "rate": each.rate,
                "unit": each.unit.name.lower(),
                "used": each.used_units,
                "posted": format_amount(each.posted_micros),
                "granted": each.granted_units,
                "reserved": format_amount(each.hold_micros),
            }
            for each in session.services
        ],
    }


def held_facts(sessions: Sequence[OpenSession], whose: str = "") -> dict[str, Any]:
    """What the audit log says of sessions before they are ended or asked anew: whose (``whose`` asked for, if there is none), and how much they hold."""
    return {
        "resource": " ".join(shown_id(each) for each in sessions),
        "account": tuple(dict.fromkeys(each.account for each in sessions)) or whose,
        "before": {
            "sessions": len(sessions),
            "reserved": format_amount(
                sum(service.hold_micros for each in sessions for service in each.services)
            ),
        },
    }


def released_facts(ended: Sequence[EndedSession]) -> dict[str, Any]:
    """What the audit log says of sessions that were ended."""
    return {
        "ended": len(ended),
        "released": format_amount(sum(each.released_micros for each in ended)),
        "clients_told": sum(each.told for each in ended),
    }
