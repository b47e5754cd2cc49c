"""The routes of the HTTP API, built on the keepers of the process that serves them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter

from ocs.balance.holdings import Holdings
from ocs.balance.stored_session import OpenSession
from ocs.balance.tariffs import StoredTariffs
from ocs.charging.plan import Profile
from ocs.http import admin, events, oauth, services, sessions, subscriber_money, subscribers, vouchers
from ocs.http.access import Access, Doorkeeper
from ocs.http.audit_log import AuditLog
from ocs.http.headers import LOOPBACK_HOSTS
from ocs.http.keys import ApiKeys
from ocs.http.prepay import routes as prepay
from ocs.http.subscriber_desk import Desk
from ocs.http.tokens import Tokens
from ocs.names import SubscriberId
from ocs.notices.queue import Queue
from ocs.notices.subscriptions import Subscriptions
from ocs.roof.build import Keepers
from ocs.roof.ending import closing_of, sweeper_of
from ocs.roof.events import callbacks_of, teller_of
from ocs.roof.prepay import prepay_of
from ocs.roof.topup_orders import order_desk_of
from ocs.roof.vouchers import batches_of, vouchers_of
from ocs.sessions.ending import EndedSession, end_sessions
from ocs.sessions.reauthorise import Said


def event_desk(keepers: Keepers) -> events.Desk:
    """Build what subscriptions are made with."""
    return events.Desk(
        keepers.parts,
        Subscriptions(keepers.store),
        Queue(keepers.store),
        callbacks_of(keepers.settings.events),
        keepers.clock.now_ms,
    )


class Ground(NamedTuple):
    """What all routes stand on: who is let in, where changes are noted, and the names that are answered (None: any)."""

    keys: ApiKeys
    tokens: Tokens
    access: Access
    audit: AuditLog
    hosts: frozenset[str] | None


def ground_of(keepers: Keepers, log: Any) -> Ground:
    """Build the ground; without keys where the settings say so (on loopback alone)."""
    settings = keepers.settings
    http, keys = settings.http, ApiKeys(keepers.store)
    tokens = Tokens(keepers.store, keys, http.token_s)
    audit = AuditLog(settings.audit_folder, lambda why: log.error("the audit log cannot be written", why=why))
    is_open = http.auth == "off"
    access = Access(
        None if is_open else keys,
        tokens=tokens,
        door=Doorkeeper(keepers.clock, http.rate, http.burst),
        audit=audit,
    )
    return Ground(keys, tokens, access, audit, LOOPBACK_HOSTS | {http.host} if is_open else None)


def routers_of(
    keepers: Keepers, holdings: Holdings, tariffs: StoredTariffs, log: Any, ground: Ground
) -> list[APIRouter]:
    """Build the routes that need a key, and those that keys and tokens come from."""
    access = ground.access
    sweeper = sweeper_of(keepers)

    async def find(identity: SubscriberId) -> Profile | None:
        account = await keepers.accounts.find(identity)
        return account.profile if account is not None else None

    async def end(found: Sequence[OpenSession]) -> list[EndedSession]:
        return await end_sessions(sweeper, keepers.reauthorisation, found)

    async def ask_anew(found: Sequence[OpenSession], rating_group: int) -> Said:
        return await keepers.reauthorisation.of_sessions(found, rating_group=rating_group)

    listeners = event_desk(keepers) if keepers.settings.events.enabled else None
    orders = order_desk_of(keepers, holdings)
    prepaid = prepay_of(keepers, holdings, listeners, orders, teller_of(keepers))
    desk = Desk(
        keepers.parts, keepers.accounts, holdings, keepers.clock, tariffs, tariffs.look, keepers.settings.charging.currency,
        closing_of(keepers),
    )  # fmt: skip
    routers = [  # looked through in this order for each request: what top-up channels ask for stands first
        prepay.router(prepaid, access),
        oauth.router(ground.keys, ground.tokens, access.door, ground.audit),
        admin.router(ground.keys, access, ground.audit, Subscriptions(keepers.store)),
        sessions.router(sessions.Keepers(keepers.parts, find, end, ask_anew), access),
        vouchers.router(voucher_routes_of(keepers, log), access),
        subscribers.router(desk, access),
        subscriber_money.router(
            desk, keepers.accounts.actions, keepers.settings.actions.lending, access, orders
        ),
        services.router(desk, access),
    ]
    if listeners is not None:
        routers.append(events.router(listeners, access))
    return routers


def voucher_routes_of(keepers: Keepers, log: Any) -> vouchers.Keepers:
    """Build what the routes of vouchers work with."""
    batches, settings = batches_of(keepers), keepers.settings
    return vouchers.Keepers(
        keepers.parts, batches, vouchers_of(keepers, batches), keepers.accounts.find, settings.vouchers.digits,
        settings.charging.currency, log,
    )  # fmt: skip
