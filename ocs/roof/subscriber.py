"""Subscribers: create one or many, show, bar, unbar, terminate."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ocs.balance.accounts import Account, NewSubscriber
from ocs.balance.described import described, facts_of
from ocs.balance.link import StoreFault
from ocs.balance.subscribers import TariffRefused, create_with_life, tariff_given, unused_until_ms
from ocs.limits import CREATES_AT_ONCE
from ocs.money import format_amount
from ocs.names import SubscriberId
from ocs.outcomes import Code
from ocs.rating.life import ENDLESS, Life
from ocs.records import Status
from ocs.roof import say
from ocs.roof.arguments import (
    read_credit,
    read_floor,
    read_imsi,
    read_msisdn,
    read_opening_credit,
    read_topup_id,
)
from ocs.roof.audited import CHANNEL, Deed, run_change
from ocs.roof.build import Keepers, known_tariffs, read_settings, run
from ocs.roof.ending import closing_of
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import known_holdings
from ocs.roof.place import Place
from ocs.sessions.closing import Closed
from ocs.settings import Settings

E164_DIGITS_MAX = 15
"""Longest number (ITU-T E.164 clause 6.1)."""


class Wanted(NamedTuple):
    """What a new subscriber is to be, as typed."""

    tariff: str
    kind: str = "prepaid"
    credit: str = ""
    credit_floor: str = "0.00"
    member_of: str = ""
    cap: str = ""


class _Terms(NamedTuple):
    """What all new subscribers of one command have in common, read and checked."""

    tariff: str
    kind: str
    currency: str
    floor_micros: int
    credit_micros: int
    life: Life = ENDLESS


def _terms(settings: Settings, wanted: Wanted) -> _Terms:
    currency = settings.charging.currency
    floor = read_floor(wanted.credit_floor)
    credit = read_opening_credit(wanted.credit) if wanted.credit else 0
    return _Terms(wanted.tariff, wanted.kind, currency, floor, credit)


async def _judged(keepers: Keepers, terms: _Terms) -> _Terms:
    """Refuse a tariff that neither the folder nor the store has, or that is in another currency than accounts; add the life it gives."""
    tariffs = await known_tariffs(keepers)
    offset_ms = (await keepers.parts.epoch(0)).offset_ms
    try:
        given = tariff_given(tariffs, terms.tariff, terms.currency, keepers.clock.now_ms() + offset_ms)
    except TariffRefused as why:
        raise Ended(Exit.USAGE if why.is_known else Exit.NOT_FOUND, str(why)) from why
    return terms._replace(life=given.life)


def _new(terms: _Terms, msisdn: str, imsi: str) -> NewSubscriber:
    until_ms = unused_until_ms(terms.life)
    return NewSubscriber(msisdn, imsi, terms.tariff, terms.kind, terms.currency, terms.floor_micros, until_ms)


async def _created(
    keepers: Keepers, terms: _Terms, new: NewSubscriber, shared: Account | None = None, cap_micros: int = 0
) -> tuple[Code, Account]:
    return await create_with_life(
        keepers.parts,
        keepers.accounts,
        keepers.clock,
        terms.life,
        new,
        terms.credit_micros,
        shared,
        cap_micros,
    )


def _tell(account: Account, *, as_json: bool) -> None:
    say.as_json(described(account)) if as_json else say.facts(described(account))


async def found(keepers: Keepers, identity: SubscriberId) -> Account:
    """Return the account of a number; Ended (not found) when there is none."""
    account = await keepers.accounts.find(identity)
    if account is None:
        raise Ended(Exit.NOT_FOUND, f"no subscriber has the number {identity.value}")
    return account


def create(place: Place, msisdn: str, imsi: str, wanted: Wanted, *, as_json: bool) -> None:
    """Create one subscriber with an account."""
    terms = _terms(read_settings(place), wanted)
    number, card = read_msisdn(msisdn).value, read_imsi(imsi)
    payer = read_msisdn(wanted.member_of) if wanted.member_of else None
    if payer is not None and (terms.credit_micros or terms.floor_micros):
        raise Ended(Exit.USAGE, "a member has no money of its own: strike --credit and --credit-floor")
    if wanted.cap and payer is None:
        raise Ended(Exit.USAGE, "--cap is for a member of a shared account; name it: --member-of")
    cap_micros = read_credit(wanted.cap) if wanted.cap else 0

    async def work(keepers: Keepers, deed: Deed) -> Account:
        judged = await _judged(keepers, terms)
        new = _new(judged, number, card)
        shared = await found(keepers, payer) if payer is not None else None
        if shared is not None and shared.profile.member:
            raise Ended(Exit.USAGE, f"{wanted.member_of} is a member itself; name who pays")
        payer_path = shared.profile.path if shared is not None else ""
        asked = {"tariff": terms.tariff, "kind": terms.kind, "credit": format_amount(terms.credit_micros)}
        deed.begins(account=payer_path, before=asked)
        code, account = await _created(keepers, judged, new, shared, cap_micros)
        if code != Code.SUCCESS:
            what = "the number" if account.profile.msisdn == new.msisdn else "the IMSI"
            rests = " and rests after it ended" if account.ended else ""
            raise Ended(Exit.CONFLICT, f"{what} has an account already{rests}: {account.profile.account}")
        path = account.profile.path
        deed.made(resource=path.replace("/", "-"), account=path, after=facts_of(account))
        return account

    _tell(run_change(place, "subscriber.create", work), as_json=as_json)


def show(place: Place, msisdn: str, *, as_json: bool) -> None:
    """Show a subscriber."""
    identity = read_msisdn(msisdn)
    _tell(run(place, lambda keepers: found(keepers, identity)), as_json=as_json)


def set_status(place: Place, msisdn: str, status: Status, *, as_json: bool) -> None:
    """Bar, unbar or terminate a subscriber; what is so already stays so."""
    identity = read_msisdn(msisdn)

    async def work(keepers: Keepers, deed: Deed) -> Account:
        account = await found(keepers, identity)
        deed.begins_of(account)
        if account.status == status:
            return account
        if status == Status.TERMINATED:
            holdings = await known_holdings(keepers)
            code = await holdings.lives.terminate(account)
        else:
            code = await keepers.accounts.amend(account, status=status)
        after = await keepers.accounts.read(account.profile.partition, account.profile.path)
        if code == Code.UNKNOWN_SUBSCRIBER or after is None:
            raise Ended(Exit.NOT_FOUND, f"no subscriber has the number {identity.value}")
        if code != Code.SUCCESS:
            raise StoreFault(f"the change was refused: {code.name}")
        deed.made(after=facts_of(after))
        return after

    action = "subscriber.terminate" if status == Status.TERMINATED else "subscriber.change"
    _tell(run_change(place, action, work), as_json=as_json)


def refund(place: Place, msisdn: str, refund_id: str, *, as_json: bool) -> None:
    """Terminate a subscriber, or take one that has ended, and refund what its account has left, once by the id ("": one that is made of the account)."""
    identity = read_msisdn(msisdn)
    given = read_topup_id(refund_id) if refund_id else ""

    async def work(keepers: Keepers, deed: Deed) -> tuple[Account, str, Closed]:
        account = await found(keepers, identity)
        name = given or f"refund-{account.profile.account}"
        deed.begins_of(account, resource=f"{CHANNEL}:{name}")
        await known_holdings(keepers)  # an end brings the rest of its number
        done = await closing_of(keepers).close(account, CHANNEL, name)
        settled = format_amount(done.action.settled) if done.action is not None else None
        deed.made(after={"outcome": done.code.name, "replayed": done.replayed, "refunded": settled})
        _refuse_refund(done, name)
        after = await keepers.accounts.read(account.profile.partition, account.profile.path)
        return after or account, name, done

    account, name, done = run_change(place, "subscriber.refund", work)
    assert done.action is not None
    content = described(account) | {"refund_id": name, "refunded": format_amount(done.action.settled)}
    if done.action.owed_micros:
        content["owed"] = format_amount(done.action.owed_micros)
    say.as_json(content) if as_json else say.facts(content)


def _refuse_refund(done: Closed, name: str) -> None:
    """End the command where nothing was refunded."""
    if done.code == Code.LIMIT:
        raise Ended(Exit.USAGE, "a member has no money of its own: strike --refund, or end who pays")
    if done.code == Code.BARRED:
        raise Ended(Exit.CONFLICT, "a reservation holds money of the account; post it or let it go first")
    if done.code == Code.CONFLICT:
        raise Ended(Exit.CONFLICT, f"the id {name} was used for something else; nothing was changed")
    if done.code != Code.SUCCESS or done.action is None:
        raise Ended(Exit.CONFLICT, "the subscriber was terminated before, and nothing is left to be refunded")


# -- many at once


class Counted(NamedTuple):
    """What a bulk create has done: new numbers, and numbers that were there."""

    created: int
    skipped: int


def _numbers(first: str, count: int) -> Iterator[tuple[str, str]]:
    """Give consecutive numbers, each with the IMSI made of 26201 and its last ten digits (INTERFACE)."""
    for number in range(int(first), int(first) + count):
        msisdn = str(number).zfill(len(first))
        yield msisdn, f"26201{msisdn.zfill(10)[-10:]}"


def bulk(place: Place, first: str, count: int, wanted: Wanted, *, as_json: bool) -> None:
    """Create consecutive numbers; numbers that exist are skipped and counted, so that a bulk may be run again."""
    start = read_msisdn(first).value
    if count < 1 or len(str(int(start) + count - 1)) > E164_DIGITS_MAX:
        raise Ended(
            Exit.USAGE,
            f"--count: the numbers from {start} on have to be at least one, of {E164_DIGITS_MAX} digits at most",
        )
    terms = _terms(read_settings(place), wanted)

    async def work(keepers: Keepers, deed: Deed) -> Counted:
        judged = await _judged(keepers, terms)
        credit = format_amount(terms.credit_micros)
        deed.begins(before={"count": count, "tariff": terms.tariff, "kind": terms.kind, "credit": credit})
        with _progress(count) as advance:
            done = await _create_all(keepers, judged, _numbers(start, count), advance)
        deed.made(after=done._asdict())
        return done

    done = run_change(place, "subscriber.bulk", work)
    if as_json:
        say.as_json(done._asdict())
    else:
        say.line(f"{done.created} created, {done.skipped} existed already and were skipped")


async def _create_all(
    keepers: Keepers, terms: _Terms, numbers: Iterator[tuple[str, str]], advance: Callable[[], None]
) -> Counted:
    """Keep many creates in flight; they share the store's round trips, and the first fault ends them all."""
    created = skipped = 0

    async def lane() -> None:
        nonlocal created, skipped
        for msisdn, imsi in numbers:  # the iterator is shared: each lane takes the next number
            code, _ = await _created(keepers, terms, _new(terms, msisdn, imsi))
            created += code == Code.SUCCESS
            skipped += code != Code.SUCCESS
            advance()

    try:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(CREATES_AT_ONCE):
                lanes.create_task(lane())
    except* StoreFault as faults:
        first = faults.exceptions[0]
        raise StoreFault(f"{first}; {created} were created, run the same command again to go on") from None
    return Counted(created, skipped)


class _Bar:
    """A progress bar on a terminal; nothing elsewhere."""

    def __init__(self, count: int) -> None:
        self._bar: Any = None
        self._count = count

    def __enter__(self) -> Callable[[], None]:
        if not sys.stderr.isatty():
            return lambda: None
        from rich.console import Console  # noqa: PLC0415 - only where somebody looks
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (TextColumn("creating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        task = self._bar.add_task("creating", total=self._count)
        self._bar.start()
        return lambda: self._bar.advance(task)

    def __exit__(self, *_fault: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _progress(count: int) -> _Bar:
    return _Bar(count)
