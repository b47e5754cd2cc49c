"""The routes of the HTTP API, built on the keepers of the process that serves them."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from ocs.balance.stored_session import OpenSession
from ocs.charging.plan import Profile
from ocs.http import events, sessions
from ocs.http.access import Access
from ocs.http.keys import ApiKeys
from ocs.names import SubscriberId
from ocs.notices.forms import Forms
from ocs.notices.queue import Queue
from ocs.notices.subscriptions import Subscriptions
from ocs.roof.build import Keepers
from ocs.roof.ending import sweeper_of
from ocs.roof.events import callbacks_of
from ocs.sessions.ending import EndedSession, end_sessions
from ocs.sessions.reauthorise import Said


def event_desk(keepers: Keepers, log: Any) -> events.Desk:
    """Build what subscriptions are made with."""
    return events.Desk(
        keepers.parts,
        Subscriptions(keepers.store),
        Queue(keepers.store),
        callbacks_of(keepers.settings.events),
        keepers.clock.now_ms,
        log,
    )


def routers_of(keepers: Keepers, log: Any, forms: Forms) -> list[APIRouter]:  # noqa: ARG001 - doors register their forms
    """Build the routes that need a key; without keys where the settings say so (on loopback alone).

    ``forms`` is the registry of what webhooks say: a door with events of its own shape registers it here.
    """
    settings = keepers.settings
    access = Access(ApiKeys(keepers.store) if settings.http.auth == "required" else None)
    sweeper = sweeper_of(keepers)

    async def find(identity: SubscriberId) -> Profile | None:
        account = await keepers.accounts.find(identity)
        return account.profile if account is not None else None

    async def end(found: Sequence[OpenSession]) -> list[EndedSession]:
        return await end_sessions(sweeper, keepers.reauthorisation, found)

    async def ask_anew(found: Sequence[OpenSession], rating_group: int) -> Said:
        return await keepers.reauthorisation.of_sessions(found, rating_group=rating_group)

    routers = [sessions.router(sessions.Keepers(keepers.parts, find, end, ask_anew, log), access)]
    if settings.events.enabled:
        routers.append(events.router(event_desk(keepers, log), access))
    return routers
