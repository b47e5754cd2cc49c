"""Vouchers at the command line: batches made, activated, suspended, cancelled, extended; single ones looked up, blocked, redeemed."""

import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ocs.balance.archive_files import sync_folder
from ocs.balance.link import StoreFault
from ocs.balance.voucher_batches import (
    Batch,
    Batches,
    BatchRefused,
    BatchState,
    Counts,
    NewBatch,
    NoBatch,
)
from ocs.balance.voucher_codes import Secret, SecretFault
from ocs.balance.voucher_making import Making, begin
from ocs.balance.vouchers import TEXTS, Lock, Redeemed, Vouchers, Why
from ocs.http.voucher_texts import (
    HEAD,
    batch_facts,
    described,
    described_voucher,
    redemption_begun,
    redemption_made,
    rows_of,
)
from ocs.money import format_amount
from ocs.roof import say
from ocs.roof.arguments import read_amount, read_msisdn, read_topup_id
from ocs.roof.audited import CHANNEL, Deed, run_change
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import known_holdings
from ocs.roof.place import Place
from ocs.roof.subscriber import found


def batches_of(keepers: Keepers) -> Batches:
    """Build what makes and changes batches."""
    settings = keepers.settings
    given = settings.vouchers.secret.get_secret_value()
    return Batches(
        keepers.parts, keepers.clock, Secret(given, settings.server.data_dir / "vouchers" / "secret")
    )


def vouchers_of(keepers: Keepers, batches: Batches) -> Vouchers:
    """Build what redeems."""
    of = keepers.settings.vouchers
    return Vouchers(
        keepers.parts,
        keepers.accounts,
        keepers.clock,
        batches,
        Lock(of.tries, of.window_s * 1_000, of.lock_s * 1_000),
        Lock(of.channel_tries, of.channel_window_s * 1_000, of.channel_lock_s * 1_000),
    )


def _instant_ms(text: str, name: str, *, ends: bool = False) -> int:
    """Read an instant, or a day of this machine's calendar: its beginning, or its end where something ``ends`` with it."""
    try:
        read = datetime.fromisoformat(text)
        if ends and len(text) == len("2026-12-31"):
            read += timedelta(days=1)
        return int(read.astimezone().timestamp() * 1_000)
    except (ValueError, OverflowError):
        raise Ended(
            Exit.USAGE,
            f"{name}: not an instant: {text[:40]!r}; write 2026-12-31 or 2026-12-31T23:00:00+01:00",
        ) from None


@contextmanager
def _told() -> Iterator[None]:
    """Turn what vouchers refuse into the command's end."""
    try:
        yield
    except NoBatch as fault:
        raise Ended(Exit.NOT_FOUND, str(fault)) from fault
    except BatchRefused as fault:
        raise Ended(Exit.CONFLICT, str(fault)) from fault
    except SecretFault as fault:
        raise Ended(Exit.USAGE, str(fault)) from fault


def _ran(place: Place, work: Callable[[Keepers, Batches], Awaitable[Any]]) -> Any:
    """Run one command that looks at vouchers."""

    async def working(keepers: Keepers) -> Any:
        with _told():
            return await work(keepers, batches_of(keepers))

    return run(place, working)


def _ran_change(place: Place, action: str, work: Callable[[Keepers, Deed, Batches], Awaitable[Any]]) -> Any:
    """Run one command that changes vouchers."""

    async def working(keepers: Keepers, deed: Deed) -> Any:
        with _told():
            return await work(keepers, deed, batches_of(keepers))

    return run_change(place, action, working)


# -- making


def make(
    place: Place,
    value: str,
    size: int,
    until: str,
    begins: str,
    description: str,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Make a batch and write its codes, this once, into a file of its own."""
    amount_micros = read_amount(value, "--value")
    until_ms, from_ms = (
        _instant_ms(until, "--until", ends=True),
        _instant_ms(begins, "--from") if begins else 0,
    )
    if out.exists():
        raise Ended(Exit.USAGE, f"{out} is there already; name a new file")

    async def work(keepers: Keepers, deed: Deed, batches: Batches) -> dict[str, Any]:
        new = NewBatch(
            amount_micros, keepers.settings.charging.currency, size, from_ms, until_ms, description, CHANNEL,
            keepers.settings.vouchers.digits,
        )  # fmt: skip
        worth = {"value": format_amount(amount_micros), "currency": new.currency, "size": size}
        deed.begins(before=worth)
        making = await begin(batches, keepers.parts, new)
        deed.made(resource=str(making.batch.id), after={"state": "given up"})
        batch = await _exported(making, out)
        deed.made(after=batch_facts(batch))
        return described(batch, await batches.now_ms()) | {"file": str(out)}

    try:
        content = _ran_change(place, "voucher_batch.create", work)
    except OSError as fault:
        raise Ended(
            Exit.USAGE, f"{out}: cannot be written: {fault.strerror}; the batch was cancelled"
        ) from fault
    say.as_json(content) if as_json else say.facts(content)
    if not as_json:
        say.remark(
            f"the codes stand in {out} alone: keep it safe, and activate the batch when it has arrived where it is printed"
        )


async def _exported(making: Making, out: Path) -> Batch:
    """Write the codes so that the file is whole on disk before the batch is one; what fails leaves neither."""
    draft = out.with_name(f"{out.name}.part")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(HEAD)
                done = 0
                async for made in making.chunks():
                    file.write(rows_of(making.batch, made))
                    done += len(made)
                    _show(done, making.batch.size)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, out)  # never over a file that is there
        finally:
            draft.unlink()
        sync_folder(out.parent)
        return await making.finish()
    except BaseException:
        await making.give_up()
        raise


def _show(done: int, size: int) -> None:
    if sys.stderr.isatty():
        end = "\r\x1b[K" if done == size else "\r"
        print(f"vouchers: {done:,} of {size:,}", end=end, file=sys.stderr, flush=True)  # noqa: T201 - for eyes


# -- batches


def listing(place: Place, *, as_json: bool) -> None:
    """List all batches."""

    async def work(_keepers: Keepers, batches: Batches) -> list[dict[str, Any]]:
        now_ms = await batches.now_ms()
        return [described(each, now_ms) for each in await batches.all()]

    listed = _ran(place, work)
    if as_json:
        say.as_json(listed)
    elif listed:
        columns = [(name, name in {"id", "value", "size"}) for name in _LISTED]
        say.table(columns, [tuple(str(each[name]) for name, _ in columns) for each in listed])
    else:
        say.line("no batch; make one: ocs vouchers make")


_LISTED = ("id", "state", "value", "currency", "size", "valid_until", "description")


def show(place: Place, name: str, *, as_json: bool) -> None:
    """Show a batch with how many of its vouchers are in which state, or one voucher by its serial number."""

    async def work(keepers: Keepers, batches: Batches) -> dict[str, Any]:
        if "-" in name:
            voucher = await vouchers_of(keepers, batches).find(name)
            batch = await batches.find(int(voucher.serial.partition("-")[0]))
            return described_voucher(voucher, batch, await batches.now_ms())
        batch = await batches.find(_batch_id(name))
        return described(batch, await batches.now_ms()) | {
            "vouchers": _counted(await batches.counts(batch.id))
        }

    content = _ran(place, work)
    if as_json:
        say.as_json(content)
    else:
        say.facts(content | content.pop("vouchers", {}))


def _counted(counts: Counts) -> dict[str, int]:
    return counts._asdict()


def _batch_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise NoBatch(f"no batch {text[:20]!r}; ocs vouchers list shows them")
    return int(text)


def change(place: Place, name: str, state: BatchState, *, as_json: bool) -> None:
    """Bring a batch into a state."""
    _changed(place, name, lambda batches, batch_id: batches.change(batch_id, state), as_json=as_json)


def extend(place: Place, name: str, until: str, *, as_json: bool) -> None:
    """Let a batch be valid for longer."""
    until_ms = _instant_ms(until, "--until", ends=True)
    _changed(place, name, lambda batches, batch_id: batches.extend(batch_id, until_ms), as_json=as_json)


def _changed(
    place: Place, name: str, changed: Callable[[Batches, int], Awaitable[Batch]], *, as_json: bool
) -> None:
    async def work(_keepers: Keepers, deed: Deed, batches: Batches) -> dict[str, Any]:
        batch_id = _batch_id(name)
        deed.begins(resource=str(batch_id), before=batch_facts(await batches.find(batch_id)))
        batch = await changed(batches, batch_id)
        deed.made(after=batch_facts(batch))
        return described(batch, await batches.now_ms())

    content = _ran_change(place, "voucher_batch.change", work)
    say.as_json(content) if as_json else say.facts(content)


def turn(place: Place, serial: str, *, blocked: bool, as_json: bool) -> None:
    """Block a voucher, or let it be free again."""

    async def work(keepers: Keepers, deed: Deed, batches: Batches) -> dict[str, Any]:
        vouchers = vouchers_of(keepers, batches)
        before = await vouchers.find(serial)
        deed.begins(resource=before.serial, before={"state": before.state.name.lower()})
        voucher = await vouchers.turn(serial, blocked=blocked)
        deed.made(after={"state": voucher.state.name.lower()})
        batch = await batches.find(int(voucher.serial.partition("-")[0]))
        return described_voucher(voucher, batch, await batches.now_ms())

    content = _ran_change(place, "voucher.change", work)
    say.as_json(content) if as_json else say.facts(content)


# -- redeeming


def redeem(place: Place, msisdn: str, topup_id: str, *, as_json: bool) -> None:
    """Redeem the voucher whose code stands on standard input: a command line is seen by others, and kept in a history."""
    identity = read_msisdn(msisdn)
    name = read_topup_id(topup_id) if topup_id else ""
    code = getpass.getpass("code: ") if sys.stdin.isatty() else sys.stdin.readline()

    async def work(keepers: Keepers, deed: Deed, batches: Batches) -> tuple[Redeemed, str, int]:
        account = await found(keepers, identity)
        holdings = await known_holdings(keepers)
        deed.begins(**redemption_begun(account, CHANNEL, name))
        done = await vouchers_of(keepers, batches).redeem(account, code, CHANNEL, name)
        deed.made(**redemption_made(done, CHANNEL))
        if done.why is not Why.NONE:
            locked = f"; codes are locked until {say.instant(done.until_ms)}" if done.until_ms else ""
            raise Ended(_EXITS.get(done.why, Exit.CONFLICT), f"{TEXTS[done.why]}{locked}")
        return done, account.profile.currency, holdings.bonuses_not_given

    try:
        done, currency, not_given = _ran_change(place, "voucher.redeem", work)
    except StoreFault as fault:
        raise Ended(Exit.STORE_UNAVAILABLE, f"{fault}; redeem it again with the same id") from fault
    if not_given:
        say.remark("the money was added, its bonus was not: the account has no room for one more")
    content = {
        "serial": done.serial,
        "id": done.id,
        "amount": format_amount(done.amount_micros),
        "currency": currency,
        "replayed": done.replayed,
        "balance": format_amount(done.balance_micros),
        "available": format_amount(done.available_micros),
    }
    say.as_json(content) if as_json else say.facts(content)


_EXITS = {Why.UNKNOWN: Exit.NOT_FOUND, Why.SUBSCRIBER: Exit.NOT_FOUND, Why.UNREADABLE: Exit.USAGE}
