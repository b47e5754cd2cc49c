"""Money at the command line: top up, balance, audit."""

import sys
from typing import TYPE_CHECKING, Any

from ocs.balance import lending
from ocs.balance.accounts import Account, ToppedUp
from ocs.balance.described import balance_of
from ocs.balance.lending import Lent
from ocs.balance.link import StoreFault
from ocs.money import format_amount
from ocs.outcomes import Code
from ocs.rating.products import Catalogue
from ocs.roof import say
from ocs.roof.arguments import read_credit, read_msisdn, read_topup_id
from ocs.roof.audited import CHANNEL, Deed, run_change
from ocs.roof.build import Keepers, run
from ocs.roof.ends import Ended, Exit
from ocs.roof.offers import catalogue_of, known_holdings
from ocs.roof.place import Place
from ocs.roof.subscriber import found

if TYPE_CHECKING:
    from ocs.balance.audit import Report

_SHOWN_FAULTS = 50


def topup(place: Place, msisdn: str, amount: str, topup_id: str, *, as_json: bool) -> None:
    """Add money once per id; the same id with other content is a conflict."""
    identity, micros, name = read_msisdn(msisdn), read_credit(amount), read_topup_id(topup_id)

    async def work(keepers: Keepers, deed: Deed) -> tuple[Account, ToppedUp, int]:
        account = await found(keepers, identity)
        deed.begins_of(account, resource=f"{CHANNEL}:{name}", amount=format_amount(micros))
        # a top-up brings a bonus, time, and renewals that waited for it
        holdings = await known_holdings(keepers)
        done = await keepers.accounts.topup(account, micros, CHANNEL, name)
        balance = format_amount(done.balance_micros) if done.code == Code.SUCCESS else None
        deed.made(after={"outcome": done.code.name, "replayed": done.replayed, "balance": balance})
        _refuse(done, identity.value, amount, name)
        return account, done, holdings.bonuses_not_given

    account, done, not_given = run_change(place, "topup.create", work)
    if not_given:
        say.remark("the money was added, its bonus was not: the account has no room for one more")
    profile = account.profile
    content = {
        "msisdn": profile.msisdn,
        "account": profile.account,
        "id": name,
        "amount": format_amount(micros),
        "currency": profile.currency,
        "replayed": done.replayed,
        "balance": format_amount(done.balance_micros),
        "available": format_amount(done.available_micros),
    }
    say.as_json(content) if as_json else say.facts(content)


_NOT_LENT = {
    Code.UNRATED: "emergency credit is not offered: set [actions] emergency_amount",
    Code.LIMIT: "a member has no money of its own: name who pays",
    Code.CREDIT_LIMIT: "more is available than [actions] emergency_below says; nothing was lent",
    Code.EXISTS: "emergency credit is owed already; the next top-up repays it",
    Code.BARRED: "the account is barred, or its balance's life is over; nothing was lent",
    Code.CONFLICT: "the id was used for something else; nothing was lent",
}


def lend(place: Place, msisdn: str, lend_id: str, *, as_json: bool) -> None:
    """Lend emergency credit once per id."""
    identity, name = read_msisdn(msisdn), read_topup_id(lend_id)

    async def work(keepers: Keepers, deed: Deed) -> tuple[Account, Lent]:
        account = await found(keepers, identity)
        deed.begins_of(account, resource=f"{CHANNEL}:{name}", owed=format_amount(account.owed_micros))
        terms = keepers.settings.actions.lending
        done = await lending.lend(keepers.accounts.actions, terms, account, CHANNEL, name)
        owed = format_amount(done.action.owed_micros) if done.action is not None else None
        deed.made(after={"outcome": done.code.name, "replayed": done.replayed, "owed": owed})
        if done.code == Code.UNKNOWN_SUBSCRIBER:
            raise Ended(Exit.NOT_FOUND, f"no subscriber has the number {identity.value}")
        if done.code != Code.SUCCESS or done.action is None:
            raise Ended(
                Exit.CONFLICT, _NOT_LENT.get(done.code, f"refused: {done.code.name}; nothing was lent")
            )
        return account, done

    account, done = run_change(place, "subscriber.lend", work)
    assert done.action is not None
    action, profile = done.action, account.profile
    content = {
        "msisdn": profile.msisdn,
        "account": profile.account,
        "id": name,
        "amount": format_amount(action.asked.amount),
        "fee": format_amount(action.asked.fee_micros),
        "owed": format_amount(action.owed_micros),
        "currency": profile.currency,
        "replayed": done.replayed,
        "balance": format_amount(action.balance),
        "available": format_amount(action.available),
    }
    say.as_json(content) if as_json else say.facts(content)


def _refuse(done: ToppedUp, number: str, amount: str, name: str) -> None:
    """End the command where nothing was added."""
    if done.code == Code.CONFLICT:
        raise Ended(Exit.CONFLICT, f"the id {name} was used for another number or amount; nothing was added")
    if done.code == Code.UNKNOWN_SUBSCRIBER:
        raise Ended(Exit.NOT_FOUND, f"no subscriber has the number {number}")
    if done.code == Code.LIMIT:
        raise Ended(Exit.USAGE, f"{amount} would take the account beyond what it can hold; nothing was added")
    if done.code != Code.SUCCESS:
        raise Ended(
            Exit.STORE_UNAVAILABLE, f"the store refused: {done.code.name}; ask again with the same id"
        )


def balance(place: Place, msisdn: str, *, as_json: bool) -> None:
    """Show what an account has, holds and may spend."""
    identity = read_msisdn(msisdn)

    async def work(keepers: Keepers) -> dict[str, Any]:
        account = await found(keepers, identity)
        part = await keepers.parts.epoch(account.profile.partition)
        now_ms = keepers.clock.now_ms() + part.offset_ms
        holds = account.profile.products or account.profile.shared
        return balance_of(account, now_ms, catalogue_of(keepers.settings) if holds else Catalogue())

    content = run(place, work)
    if as_json:
        say.as_json(content)
        return
    buckets = content.pop("buckets")
    say.facts(content)
    if buckets:
        columns = [(name, name in {"remaining", "reserved"}) for name in _BUCKET_COLUMNS]
        say.table(columns, [tuple(str(each[name]) for name, _ in columns) for each in buckets])


_BUCKET_COLUMNS = ("name", "unit", "remaining", "reserved", "valid_until")


def prove(place: Place, *, as_json: bool) -> None:
    """Prove conservation on live data, read-only; ends with 1 when anything does not hold."""
    report = run(place, _audited)
    say.as_json(_described(report)) if as_json else _tell(report)
    if not report.clean:
        raise Ended(Exit.FOUND_WRONG, f"the audit found {len(report.faults)} faults")


async def _audited(keepers: Keepers) -> "Report":
    from ocs.balance.audit import audit  # noqa: PLC0415 - money alone needs no archive

    folder = keepers.settings.archive_folder
    archive = folder if folder.is_dir() else None
    try:
        return await audit(keepers.parts, archive, _show if sys.stderr.isatty() else None)
    except StoreFault as fault:
        raise StoreFault(f"the audit was not finished: {fault}") from fault


def _show(partition: int, partitions: int) -> None:
    end = "\r\x1b[K" if partition == partitions else "\r"
    print(f"audit: {partition} of {partitions} partitions", end=end, file=sys.stderr, flush=True)  # noqa: T201 - for eyes


def _described(report: "Report") -> dict[str, Any]:
    return {
        "clean": report.clean,
        "accounts": report.accounts,
        "sessions": report.sessions,
        "records": report.records,
        "records_archived": report.records_archived,
        "balance": format_amount(report.balance_micros),
        "reserved": format_amount(report.pending_micros),
        "in_transit": report.in_transit,
        "in_transit_amount": format_amount(report.in_transit_micros),
        "unchained": report.unchained,
        "vouchers": report.vouchers.vouchers,
        "vouchers_used": report.vouchers.used,
        "vouchers_used_amount": format_amount(report.vouchers.used_micros),
        "vouchers_claimed": report.vouchers.claimed,
        "vouchers_unproved": report.vouchers.unproved,
        "faults": [fault._asdict() for fault in report.faults],
    }


def _tell(report: "Report") -> None:
    said = _described(report)
    del said["faults"]
    say.facts(said | {"clean": "yes" if report.clean else "no"})
    for fault in report.faults[:_SHOWN_FAULTS]:
        say.line(f"partition {fault.partition}, {fault.subject}: {fault.what}")
    if len(report.faults) > _SHOWN_FAULTS:
        say.line(f"… and {len(report.faults) - _SHOWN_FAULTS} more; --json names all")
