"""The routes of the HTTP API, built on the keepers of the process that serves them."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from ocs.balance.holdings import Holdings
from ocs.balance.stored_session import OpenSession
from ocs.balance.tariffs import StoredTariffs
from ocs.charging.plan import Profile
from ocs.http import services, sessions, subscribers
from ocs.http.access import Access
from ocs.http.keys import ApiKeys
from ocs.http.subscriber_desk import Desk
from ocs.names import SubscriberId
from ocs.roof.build import Keepers
from ocs.roof.ending import sweeper_of
from ocs.sessions.ending import EndedSession, end_sessions
from ocs.sessions.reauthorise import Said


def routers_of(keepers: Keepers, holdings: Holdings, tariffs: StoredTariffs, log: Any) -> list[APIRouter]:
    """Build the routes that need a key; without keys where the settings say so (on loopback alone)."""
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

    desk = Desk(
        keepers.parts, keepers.accounts, holdings, keepers.clock, tariffs, tariffs.look, settings.charging.currency, log
    )  # fmt: skip
    return [
        sessions.router(sessions.Keepers(keepers.parts, find, end, ask_anew, log), access),
        subscribers.router(desk, access),
        services.router(desk, access),
    ]
