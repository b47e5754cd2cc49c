"""The composition root: from settings to a clock, a store, partitions, accounts, the Book; nobody else builds them.

Laws
1. Settings are read once and handed down; a room below the roof gets values, never the tree.
2. A command uses the living store of the data folder, or starts one for the call and stops it at its end
   (DESIGN section 5).
3. What the store is laid out for is recorded in it at its first opening; a store laid out otherwise is refused.
"""

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import uvloop

from ocs.balance.accounting import AccountingRules
from ocs.balance.accounts import Accounts
from ocs.balance.addresses import PASSWORD_VARIABLE, Address, AddressFault, Scheme, parse
from ocs.balance.archive_files import ArchiveFault
from ocs.balance.book import Book, Rules, Stopwatch
from ocs.balance.embedded import Embedded, EmbeddedFault
from ocs.balance.functions import library
from ocs.balance.keys import LAYOUT, slot_of
from ocs.balance.libraries import Libraries
from ocs.balance.link import Demands, StoreFault, StoreRefused
from ocs.balance.parts import Parts
from ocs.balance.store import Store
from ocs.balance.stored_session import LAYOUT as SESSION_LAYOUT
from ocs.balance.tariffs import Shelf, StoredTariffs, Told
from ocs.charging import quota
from ocs.charging.answer import AnswerWriter
from ocs.charging.plan import QuotaRules
from ocs.clock import Clock, SystemClock
from ocs.money import parse_amount
from ocs.rating.document import DocumentFault
from ocs.rating.numbering import Numbering, read_numbering
from ocs.rating.product_reading import read_offer
from ocs.rating.products import Bonus, Catalogue, Product
from ocs.rating.tariff import Tariff, read_tariff
from ocs.rating.versions import Tariffs
from ocs.records import VERSION as RECORD_VERSION
from ocs.roof.ends import Ended, Exit
from ocs.roof.place import Place
from ocs.roof.say import instant, remark
from ocs.roof.tariff_files import written_tariffs
from ocs.sessions.reauthorise import Reauthorisation
from ocs.settings import Layers, Settings, SettingsFault, config_folder, read_layers
from ocs.units import Unit

LAYOUT_KEY = "ocs:layout"
"""Holds "<layout version> <partitions>", in a slot of its own."""

FORMATS_KEY = "ocs:formats"
"""Holds what releases that share a store have to write alike beside that, in a slot of its own."""

FORMATS = f"sessions {SESSION_LAYOUT}, records {RECORD_VERSION}"
"""Plans and what functions take and return are not among it: each release has functions of its own (functions/__init__.py)."""

FAILURE_HANDLING = {"TERMINATE": 0, "CONTINUE": 1, "RETRY_AND_TERMINATE": 2}
"""Credit-Control-Failure-Handling (RFC 8506 section 8.14)."""

_LISTENS_S = 0.5
"""How long a command that can do without the store waits for it."""

T = TypeVar("T")


class Keepers(NamedTuple):
    """What a command works with once the store is open."""

    settings: Settings
    clock: Clock
    store: Store
    parts: Parts
    accounts: Accounts
    reauthorisation: Reauthorisation


# -- settings and what follows from them


def written_settings(place: Place, options: Mapping[str, Mapping[str, object]] | None = None) -> Layers:
    """Read file, environment and options, unjudged."""
    given: dict[str, dict[str, object]] = {
        section: dict(values) for section, values in (options or {}).items()
    }
    given.setdefault("store", {})["url"] = place.store
    given.setdefault("server", {})["data_dir"] = place.data_dir
    return read_layers(place.config, given)


def read_settings(place: Place, options: Mapping[str, Mapping[str, object]] | None = None) -> Settings:
    """Read file, environment and options; Ended (usage) names everything that is wrong with them."""
    try:
        return written_settings(place, options).settings()
    except SettingsFault as fault:
        raise Ended(Exit.USAGE, f"the settings cannot be used:\n{fault}") from fault


def read_tariffs(place: Path, zones_folder: Path | None = None) -> dict[str, Tariff]:
    """Read a tariff's file, or every tariff of a folder, by key, with the plans of another folder (default: the sample operator's).

    Ended (usage) names every fault of every file.
    """
    files = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
    if not files:
        raise Ended(
            Exit.USAGE, f"{place}: holds no tariff; set charging.tariffs_dir to a folder of *.yaml files"
        )
    tariffs: dict[str, Tariff] = {}
    problems: list[str] = []
    plans = _read_plans(zones_folder or config_folder() / "zones", problems)
    for file, text in _texts(files, problems):
        with _noted(problems):
            tariff = read_tariff(text, str(file), plans)
            if tariff.key in tariffs:
                problems.append(f"{file}: {tariff.key} stands in another file too; raise its version")
            tariffs[tariff.key] = tariff
    if problems:
        raise Ended(Exit.USAGE, "the tariffs cannot be used:\n" + "\n".join(problems))
    return tariffs


def read_products(
    place: Path, zones_folder: Path | None = None, tariffs: Mapping[str, Tariff] | None = None
) -> Catalogue:
    """Read a product's or bonus's file, or all of a folder, with the plans of another folder; a folder without any sells nothing.

    Ended (usage) names every fault of every file; where ``tariffs`` are given, also what lifts a spend cap that none of them has.
    """
    problems: list[str] = []
    plans = _read_plans(zones_folder or config_folder() / "zones", problems)
    offers: dict[str, Product | Bonus] = {}
    caps = {cap.name for each in (tariffs or {}).values() for cap in each.spend_caps}
    for file, text in _texts(sorted(place.glob("*.yaml")) if place.is_dir() else [place], problems):
        with _noted(problems):
            offer = read_offer(text, str(file), plans)
            if offer.key in offers:
                problems.append(f"{file}: {offer.key} stands in another file too; raise its version")
            offers[offer.key] = offer
            if tariffs is not None and isinstance(offer, Product) and offer.lifts - caps:
                unknown, known = ", ".join(sorted(offer.lifts - caps)), ", ".join(sorted(caps)) or "none"
                problems.append(f"{file}: lifts {unknown}, which no tariff has; its spend caps are {known}")
    if problems:
        raise Ended(Exit.USAGE, "the products cannot be used:\n" + "\n".join(problems))
    return Catalogue(
        [each for each in offers.values() if isinstance(each, Product)],
        [each for each in offers.values() if isinstance(each, Bonus)],
    )


def _read_plans(folder: Path, problems: list[str]) -> dict[str, Numbering]:
    """Read every numbering plan of a folder, with the tables beside it; a folder without plans is none's fault."""
    plans: dict[str, Numbering] = {}
    tables = {file.name: text for file, text in _texts(sorted(folder.glob("*.csv")), problems)}
    for file, text in _texts(sorted(folder.glob("*.yaml")), problems):
        with _noted(problems):
            plan = read_numbering(text, str(file), tables)
            if plan.name in plans:
                problems.append(f"{file}: numbering plan {plan.name} stands in another file too; rename it")
            plans[plan.name] = plan
    return plans


def _texts(files: list[Path], problems: list[str]) -> Iterator[tuple[Path, str]]:
    """Give each file with its text; one that cannot be read is a problem."""
    for file in files:
        try:
            yield file, file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            problems.append(f"{file}: cannot be read: {fault}")


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Note what is wrong with a document and go on, so that all faults of all files are told at once."""
    try:
        yield
    except DocumentFault as fault:
        problems += fault.problems


def find_tariff(tariffs: Tariffs, name: str, at_ms: int | None = None) -> Tariff:
    """Return the version of a tariff that new sessions get at an instant (default: now); Ended (not found) lists the known ones."""
    found = tariffs.newest(name, SystemClock().now_ms() if at_ms is None else at_ms)
    if found is None and tariffs.versions(name):
        first_ms = min(each.effective_ms for each in tariffs.versions(name))
        raise Ended(
            Exit.NOT_FOUND, f"no version of {name} counts then; the first counts from {instant(first_ms)}"
        )
    if found is None:
        raise Ended(Exit.NOT_FOUND, f"no tariff {name!r}; known are {', '.join(tariffs.names)}")
    return found


def quota_of(settings: Settings) -> QuotaRules:
    """Build the rules of grants."""
    charging = settings.charging
    grants, rates = charging.grants, charging.rate_max
    return QuotaRules(
        grants.octets,
        grants.seconds,
        grants.events,
        charging.validity_s,
        rates.octets_per_s,
        rates.seconds_per_s,
        rates.events_per_s,
        parse_amount(grants.money),
        parse_amount(grants.money_most),
        parse_amount(rates.money_per_s),
    )


def rules_of(settings: Settings) -> Rules:
    """Build the rules of sessions."""
    charging, usual = settings.charging, quota_of(settings)
    return Rules(
        usual,
        max(charging.validity_s, charging.quota.longest_s) * charging.supervision_factor * 1000,
        charging.tombstone_s * 1000,
        settings.store.deadline_ms,
        quota.sizes(charging.quota, usual[:3], usual.validity_s),
        charging.quota.tells,
        charging.quota.tells_balance,
        charging.refunds_without_reference == "newest",
        AccountingRules(settings.accounting.age_s, settings.accounting.supervision_s),
        charging.quota.pools,
    )


def answers_of(settings: Settings, *, vendor: bool = True) -> AnswerWriter:
    """Build the writer of answers: with AVPs of 3GPP where settings ask for them, or for clients that read none."""
    diameter = settings.diameter
    text = settings.charging.quota if vendor else settings.charging.quota.standard()
    return AnswerWriter(
        diameter.origin_host,
        diameter.origin_realm,
        failure_handling=FAILURE_HANDLING[diameter.failure_handling],
        session_failover=int(diameter.session_failover),
        extras=quota.extras(text),
        balance=quota.BalanceText(text) if text.tells_balance else None,
        vendor=vendor,
    )


def default_grant(settings: Settings, unit: Unit) -> int:
    """Return what a request that asks for nothing in particular is granted."""
    rules = quota_of(settings)
    return rules.money if unit is Unit.MONEY else rules[unit - 1]


# -- the store


def address_of(settings: Settings) -> Address:
    """Parse the store's address; the password comes from the URL, or from the settings."""
    try:
        return parse(settings.store.url, {PASSWORD_VARIABLE: settings.store.password.get_secret_value()})
    except AddressFault as fault:
        raise Ended(Exit.USAGE, str(fault)) from fault


def _show_loading(share: float) -> None:
    """Tell a person at a terminal how far a large append-only file is loaded."""
    if sys.stderr.isatty() and share:
        end = "\r" if share < 1 else "\r\x1b[K"
        print(f"loading the store: {share:.0%}", end=end, file=sys.stderr, flush=True)  # noqa: T201 - the roof speaks


def keep_private() -> None:
    """Let whatever this process writes be for its user alone: it holds balances and numbers."""
    os.umask(0o077)


def tighten(folder: Path) -> None:
    """Close a data folder of ours that others can look into; one that belongs to somebody else is left as it is."""
    with suppress(FileNotFoundError):
        known = folder.stat()
        if known.st_uid == os.geteuid() and stat.S_IMODE(known.st_mode) & 0o077:
            folder.chmod(0o700)


@contextmanager
def embedded_store(
    settings: Settings, *, serving: bool = False, go_on: Callable[[], None] | None = None
) -> Iterator[Embedded]:
    """Use the living store of the data folder, or start one; it ends with the last who uses it, or with its owner.

    `go_on` is asked while the store loads; whatever it raises ends the start, and the store.
    """
    folder, durability = settings.server.data_dir, settings.store.durability
    halted: list[Exception] = []

    def watch(share: float) -> None:
        _show_loading(share)
        try:
            if go_on is not None:
                go_on()
        except Exception as halt:
            halted.append(halt)
            raise

    try:
        tighten(folder)
        embedded = Embedded.start_or_adopt(folder, durability, watch, serving=serving)
    except OSError as fault:
        raise StoreFault(f"the data folder {folder} cannot be used: {fault.strerror or fault}") from fault
    except Exception:
        if halted:  # what was begun to start lives on without an owner; one that has an owner is the owner's
            with suppress(EmbeddedFault):
                Embedded(folder, durability, None).stop()
        raise
    with embedded:
        yield embedded


@contextmanager
def located(settings: Settings) -> Iterator[Address]:
    """Give the address of the store that a command is to use."""
    address = address_of(settings)
    if address.scheme is not Scheme.EMBEDDED:
        yield address
        return
    with embedded_store(settings) as embedded:
        yield embedded.address


def demands_of(settings: Settings, *, serving: bool) -> Demands:
    """Build what a server must be; a command leaves the durability of a running embedded store to its owner."""
    judged = serving or address_of(settings).scheme is not Scheme.EMBEDDED
    fsync = "always" if settings.store.durability == "always" and judged else ""
    return Demands(fsync=fsync, replicas=settings.store.replicas)


def store_at(
    settings: Settings, address: Address, clock: Clock, title: str = "ocs", *, serving: bool = False
) -> Store:
    """Build the store behind an address; it is not open yet."""
    return Store(
        address,
        library=library(),
        demands=demands_of(settings, serving=serving),
        deadline_ms=settings.store.deadline_ms,
        clock=clock,
        title=title,
    )


async def _recorded(store: Store, key: str, wanted: str) -> str:
    """Record a text where none is; what stands there by then."""
    standing = await store.execute(slot_of(key), "SET", key, wanted, "NX", "GET")
    return wanted if standing is None else str(standing.decode())


async def check_layout(store: Store, partitions: int) -> None:
    """Record how the store is laid out, or compare with what is recorded; a difference is refused."""
    wanted = f"{LAYOUT} {partitions}"
    standing = await _recorded(store, LAYOUT_KEY, wanted)
    if standing == wanted:
        formats = await _recorded(store, FORMATS_KEY, FORMATS)
        if formats != FORMATS:
            raise StoreRefused(
                f"the store has {formats} and this release writes {FORMATS}: it can neither work beside the release that wrote it nor "
                "after it; use that release, or migrate the store"
            )
        return
    version, _, count = standing.partition(" ")
    if version != str(LAYOUT):
        raise StoreRefused(
            f"the store has key layout {version} and this server has {LAYOUT}; use the server that wrote it, or migrate the store"
        )
    raise StoreRefused(
        f"the store is laid out in {count} partitions and the settings say {partitions}; set store.partitions = {count}"
    )


def keepers_on(settings: Settings, store: Store, clock: Clock) -> Keepers:
    """Build what works on a store."""
    parts = Parts(store, clock, settings.store.partitions, settings.store.deadline_ms)
    accounts, reauthorisation = Accounts(parts, clock), Reauthorisation(parts)
    accounts.listener = reauthorisation
    return Keepers(settings, clock, store, parts, accounts, reauthorisation)


def store_facts(keepers: Keepers) -> dict[str, Any]:
    """Tell the greatest epoch that is known, and the calendar offset (0 but in demonstrations and tests)."""
    known = [
        part for number in range(len(keepers.parts.keys)) if (part := keepers.parts.known(number)) is not None
    ]
    return {
        "store_epoch": max((part.epoch for part in known), default=0),
        "calendar_offset_ms": max((part.offset_ms for part in known), default=0, key=abs),
    }


@asynccontextmanager
async def opened(settings: Settings, address: Address, *, serving: bool = False) -> AsyncIterator[Keepers]:
    """Open the store and give what works on it."""
    clock = SystemClock()
    store = store_at(settings, address, clock, serving=serving)
    await store.open()
    try:
        await check_layout(store, settings.store.partitions)
        await Libraries(store, clock).tell()
        yield keepers_on(settings, store, clock)
    finally:
        await store.close()


def run(place: Place, work: Callable[[Keepers], Awaitable[T]]) -> T:
    """Run one command on the store that its options mean; a store that cannot serve ends it with that exit code."""
    return run_with(read_settings(place), work)


def run_with(settings: Settings, work: Callable[[Keepers], Awaitable[T]]) -> T:
    """Run one command on the store that settings mean (``run``)."""
    keep_private()
    try:
        with located(settings) as address:
            return uvloop.run(_worked(settings, address, work))
    except StoreFault as fault:
        raise Ended(Exit.STORE_UNAVAILABLE, f"the store is not available: {fault}") from fault
    except ArchiveFault as fault:
        raise Ended(Exit.FOUND_WRONG, f"the archive is damaged: {fault}") from fault
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


async def _worked(settings: Settings, address: Address, work: Callable[[Keepers], Awaitable[T]]) -> T:
    """Do the work; SIGTERM cancels it, so that a store started for this call is stopped and not left behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with opened(settings, address) as keepers:
        return await work(keepers)


# -- charging


def stored_tariffs(settings: Settings, keepers: Keepers, tell: Callable[[Told], None]) -> StoredTariffs:
    """Build the tariffs of folder and store; the store is still to be read (``look``)."""
    folder, zones = settings.tariffs_folder, settings.zones_folder
    tariffs = read_tariffs(folder, zones)  # first: it tells every fault of every file
    digests = {key: each.digest for key, each in written_tariffs(folder, zones).items()}
    return StoredTariffs(tariffs, digests, Shelf(keepers.store), keepers.clock, tell)


async def known_tariffs(keepers: Keepers) -> StoredTariffs:
    """Return all tariffs, of folder and store, as a command that has the store sees them. Raises StoreFault."""

    def tell(told: Told) -> None:
        if told.why:
            remark(f"{told.key} of the store: {told.why}")

    tariffs = stored_tariffs(keepers.settings, keepers, tell)
    await tariffs.look()
    return tariffs


def tariffs_at_hand(place: Place, settings: Settings) -> Tariffs:
    """Return all tariffs where the store answers, else those of the folder: a price is no reason to start a store."""
    if _answers(settings):
        return run(place, known_tariffs)
    return Tariffs(read_tariffs(settings.tariffs_folder, settings.zones_folder))


def _answers(settings: Settings) -> bool:
    """Tell whether somebody listens where the store is said to be."""
    address = address_of(settings)
    if address.scheme is Scheme.EMBEDDED:
        return Embedded(settings.server.data_dir, settings.store.durability, None).alive()
    for each in address.endpoints:
        with suppress(OSError):
            if not each.path:
                socket.create_connection((each.host, each.port), _LISTENS_S).close()
            elif not Path(each.path).exists():
                continue
            return True
    return False


def book_on(settings: Settings, keepers: Keepers, tariffs: Tariffs, stopwatch: Stopwatch) -> Book:
    """Build a Book on an open store."""
    return Book(keepers.parts, tariffs, rules_of(settings), keepers.clock, stopwatch)
