"""Events out, built: the keeper's job that follows the streams and delivers, by lease; and what the API and commands work with.

Laws
1. One process of all that share a store has the job; another takes over where it died, from what the store has.
2. What a key that was revoked has subscribed waits; nothing is delivered for it (ocs/http/events.py, law 4).
3. Where nobody wants to know anything, nothing is read: the group leaves the streams, and comes back where it left.
"""

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final

import structlog

from ocs.api_limits import EVENTS_LEASE_MS
from ocs.balance.archive_files import ArchiveFault
from ocs.balance.holdings import Holdings
from ocs.balance.link import StoreFault
from ocs.http.keys import ApiKeys
from ocs.notices.callbacks import Callbacks
from ocs.notices.deliverer import Deliverer, Retries
from ocs.notices.derive import Rules
from ocs.notices.expiry import Expiry
from ocs.notices.following import GROUP, Follower, Targets
from ocs.notices.forms import Forms
from ocs.notices.lease import Lease
from ocs.notices.notice import Notice
from ocs.notices.queue import Queue
from ocs.notices.senders import Gateway, Mail, Sender, ShortMessages, Smtp, Webhooks
from ocs.notices.subscriptions import Subscription, Subscriptions, read_query
from ocs.notices.texts import Text
from ocs.rating.versions import Tariffs
from ocs.roof.build import Keepers
from ocs.roof.event_sections import SUBSCRIBER, Events, secret_of
from ocs.roof.event_texts import texts_of
from ocs.server.counters import Counters
from ocs.stream import NEWEST, Reader, groups, leave

MAIL: Final = "mail"
SMS: Final = "sms"
LEASE_KEY: Final = "{events}:owner"
_RENEW_S: Final = EVENTS_LEASE_MS / 3000
_LOOK_S: Final = 2.0
_PAUSE_S_MIN: Final = 0.05
_DAMAGED_S: Final = 60
_LOOKS_BETWEEN: Final = 100

Job = Callable[[], Awaitable[None]]


def callbacks_of(events: Events) -> Callbacks:
    """Build what judges callbacks."""
    return Callbacks(events.callback_networks, public=events.callback_public)


def message_rules(events: Events) -> dict[str, tuple[Subscription, str]]:
    """Return the settings' messages as subscriptions, by id, each with its language ("" by the receiver); the same settings, the same ids."""
    found = {}
    for each in events.messages:
        form = SMS if each.to == SUBSCRIBER else MAIL
        mark = sha256(repr((each.types, each.to, each.query)).encode()).hexdigest()[:16]
        callback = "" if form == SMS else f"mailto:{each.to}"
        rule = Subscription(
            f"{form}-{mark}", "settings", "", True, callback, each.types, read_query(each.query), form, "", 0
        )  # fmt: skip
        found[rule.id] = rule, each.language
    return found


def teller_of(keepers: Keepers) -> Callable[[Notice], Awaitable[None]] | None:
    """Build what puts a notice that no record tells of into the queues of those who want it; None where there are no events. It raises StoreFault."""
    events, store, clock = keepers.settings.events, keepers.store, keepers.clock
    if not events.enabled:
        return None
    rules = [rule for rule, _language in message_rules(events).values()]
    queue, subscriptions = Queue(store), Subscriptions(store)

    async def tell(notice: Notice) -> None:
        for each in (*rules, *await subscriptions.all()):
            if not each.ended and each.takes(notice):
                await queue.add(each.id, [notice], clock.now_ms())

    return tell


def language_of(events: Events, chosen: str, number: str) -> str:
    """Return the language of a message: its rule's, else by the longest known beginning of the number, else the settings'."""
    if chosen:
        return chosen
    fits = [each for each in events.languages if number.startswith(each)]
    return events.languages[max(fits, key=len)] if fits else events.language


def senders_of(keepers: Keepers, holdings: Holdings, forms: Forms) -> dict[str, Sender]:
    """Build the senders that the settings ask for, by form. Raises TextFault, OSError for files that cannot be read."""
    settings, now_ms = keepers.settings, keepers.clock.now_ms
    events = settings.events
    trusted = ssl.create_default_context(cafile=str(events.callback_ca)) if events.callback_ca else None
    senders: dict[str, Sender] = {
        "webhook": Webhooks(callbacks_of(events), forms, now_ms, events.timeout_s, trusted)
    }
    if not events.messages:
        return senders
    texts, rules = texts_of(settings), message_rules(events)

    def text(notice: Notice, rule: Subscription, number: str = "") -> Text:
        return texts.write(notice, language_of(events, rules[rule.id][1], number))

    async def number_of(partition: int, path: str) -> str:
        found = await holdings.read(partition, path)
        return found.profile.msisdn if found is not None else ""

    if events.smtp.host:
        smtp = events.smtp
        password = secret_of(smtp.password, smtp.password_file)
        mail = Mail(
            smtp.host, smtp.port, smtp.tls, smtp.sender, smtp.user, password, events.timeout_s, trusted
        )
        senders[MAIL] = Smtp(mail, text)
    if events.sms.url:
        secret = secret_of(events.sms.secret, events.sms.secret_file)
        gateway = Gateway(events.sms.url, secret, events.timeout_s, trusted)
        senders[SMS] = ShortMessages(gateway, number_of, text, now_ms)
    return senders


def events_job(
    keepers: Keepers, counters: Counters, holdings: Holdings, tariffs: Tariffs, forms: Forms
) -> Job:
    """Give the keeper the job that tells the world what happened."""
    lease = Lease(keepers.store, LEASE_KEY, secrets.token_hex(8))

    async def events() -> None:
        try:
            while True:
                with suppress(StoreFault):  # asked again: what is to be told waits in the store
                    if await lease.held():
                        senders = senders_of(keepers, holdings, forms)
                        await _Owner(keepers, counters, holdings, tariffs, lease, senders).work()
                await asyncio.sleep(_LOOK_S)
        finally:
            with suppress(StoreFault):
                await lease.give_back()

    return events


class _Owner:
    """Who has the lease: follows, looks for ends, delivers; all of it ends with the lease."""

    def __init__(
        self,
        keepers: Keepers,
        counters: Counters,
        holdings: Holdings,
        tariffs: Tariffs,
        lease: Lease,
        senders: dict[str, Sender],
    ) -> None:
        settings, now_ms = keepers.settings, keepers.clock.now_ms
        events = settings.events
        log = structlog.get_logger()
        self._parts, self._lease, self._senders = keepers.parts, lease, senders
        self._queue, self._keys = Queue(keepers.store), ApiKeys(keepers.store)
        rules = [rule for rule, _language in message_rules(events).values()]
        self._targets = Targets(Subscriptions(keepers.store), rules)
        self._reader = Reader(keepers.parts, settings.archive_folder, GROUP, keepers.clock)
        told = Rules(events.low_micros, events.allowance_percent, settings.charging.currency)
        self._follower = Follower(keepers.parts, self._reader, self._targets, self._queue, told, now_ms, log)
        retries = Retries(events.retry_s, events.at_once)
        self._deliverer = Deliverer(self._queue, senders, now_ms, retries, log)
        self._follower.woken = self._deliverer.wake
        self._scan_s = events.scan_s

        def grace_ms() -> int:
            return max(
                (each.life.grace_ms for name in tariffs.names for each in tariffs.versions(name)), default=0
            )

        self._expiry = Expiry(keepers.parts, holdings, self._follower.put, events.ending_days, grace_ms)
        self._counts = _Counts(counters, self._reader, self._follower, self._deliverer, self._queue)

    async def work(self) -> None:
        """Work until the lease is lost, or a part of it fails."""
        tasks = [asyncio.create_task(each) for each in (self._follow(), self._scan())]
        try:
            while await self._lease.held():
                targets = await self._targets.read()
                revoked = await self._keys.revoked(each.owner for each in targets)
                self._deliverer.set(each for each in targets if each.owner not in revoked)
                await self._targets.tidy(self._queue)
                await self._counts.write([each.id for each in targets])
                done, _ = await asyncio.wait(tasks, timeout=_RENEW_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._deliverer.close()
            for sender in self._senders.values():
                if isinstance(sender, Webhooks | ShortMessages):
                    await sender.close()
            self._counts.rest()

    async def _follow(self) -> None:
        """Follow the streams while somebody wants to know."""
        while True:
            places: dict[int, str] = {}
            if not await self._targets.read():
                places = await self._left()
                if not await self._targets.read():
                    await asyncio.sleep(_LOOK_S)
                    continue
            await self._reader.open(NEWEST, places)
            try:
                await self._until_nobody()
            except ArchiveFault as fault:  # what waits is delivered all the same
                structlog.get_logger().error("the stream cannot be followed", why=str(fault))
                await asyncio.sleep(_DAMAGED_S)

    async def _left(self) -> dict[int, str]:
        """Leave the streams, and return where; who subscribes in this very moment is told from there on (law 3)."""
        places = (await groups(self._parts)).get(GROUP, {})
        if places:
            await leave(self._parts, GROUP)
        return places

    async def _until_nobody(self) -> None:
        looks = 0
        while looks % _LOOKS_BETWEEN or await self._targets.read():
            looks += 1
            if not await self._follower.once():
                await asyncio.sleep(max(_PAUSE_S_MIN, self._reader.pause_s))
                looks = 0  # with nothing to do there is time to ask who wants to know

    async def _scan(self) -> None:
        while True:
            await self._expiry.once()
            await asyncio.sleep(self._scan_s)


class _Counts:
    """Writes what the parts have counted since their start."""

    def __init__(
        self, counters: Counters, reader: Reader, follower: Follower, deliverer: Deliverer, queue: Queue
    ) -> None:
        self._counters = counters
        self._parts = reader, follower, deliverer
        self._queue = queue
        self._counted: dict[str, int] = {}

    async def write(self, targets: list[str]) -> None:
        """Write totals and gauges. Raises StoreFault."""
        reader, follower, deliverer = self._parts
        totals = {
            "ocs_events_records_total": follower.done.records,
            "ocs_events_notices_total": follower.done.notices,
            "ocs_events_delivered_total": deliverer.done.delivered,
            "ocs_events_failed_total": deliverer.done.failed,
            "ocs_events_dead_total": deliverer.done.dead + follower.done.refused,
            "ocs_events_dropped_total": self._queue.dropped,
            "ocs_stream_breaks_total": reader.done.breaks,
            "ocs_stream_resumed_total": reader.done.resumed,
        }
        for family, counted in totals.items():
            self._counters.cells[self._counters.index(family)] += counted - self._counted.get(family, 0)
            self._counted[family] = counted
        waiting = await asyncio.gather(*map(self._queue.waiting, targets))
        dead = await asyncio.gather(*map(self._queue.dead_count, targets))
        self._gauge("ocs_events_waiting", sum(waiting))
        self._gauge("ocs_events_dead_letters", sum(dead))
        self._gauge("ocs_events_lag_ms", follower.done.lag_ms)
        self._gauge("ocs_events_partitions_stopped", follower.stopped)

    def rest(self) -> None:
        """Set the gauges to zero: they are another's now."""
        for name in ("waiting", "dead_letters", "lag_ms", "partitions_stopped"):
            self._gauge(f"ocs_events_{name}", 0)

    def _gauge(self, family: str, value: int) -> None:
        self._counters.cells[self._counters.index(family)] = value
