"""Vouchers as they are told, at the command line, over HTTP and in the audit log alike: the same words and figures."""

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

from ocs.balance.accounts import Account
from ocs.balance.voucher_batches import Batch, BatchState
from ocs.balance.voucher_making import Made
from ocs.balance.vouchers import Redeemed, Voucher, Why
from ocs.clock import instant
from ocs.money import format_amount

HEAD: Final = "serial,code,value,currency,valid_until\n"
"""First line of an export."""


def rows_of(batch: Batch, made: Iterable[Made]) -> str:
    """Write vouchers as lines of an export (CSV)."""
    text = io.StringIO()
    value, until = format_amount(batch.amount_micros), instant(batch.until_ms)
    csv.writer(text, lineterminator="\n").writerows(
        (each.serial, each.code, value, batch.currency, until) for each in made
    )
    return text.getvalue()


def described(batch: Batch, now_ms: int) -> dict[str, Any]:
    """Describe a batch; `expired` is told of one that could be redeemed otherwise."""
    return {
        "id": batch.id,
        "state": _state(batch, now_ms),
        "value": format_amount(batch.amount_micros),
        "currency": batch.currency,
        "size": batch.size,
        "valid_from": instant(batch.from_ms) if batch.from_ms else None,
        "valid_until": instant(batch.until_ms),
        "description": batch.description,
        "made_by": batch.made_by,
        "made": instant(batch.made_ms),
        "applied_everywhere": batch.spread == batch.version,
    }


def described_voucher(voucher: Voucher, batch: Batch, now_ms: int) -> dict[str, Any]:
    """Describe one voucher: its state, its batch's, and who has it."""
    return {
        "serial": voucher.serial,
        "state": voucher.state.name.lower(),
        "batch_state": _state(batch, now_ms),
        "value": format_amount(batch.amount_micros),
        "currency": batch.currency,
        "valid_until": instant(batch.until_ms),
        "account": voucher.account or None,
        "at": instant(voucher.at_ms) if voucher.at_ms else None,
        "channel": voucher.channel or None,
        "topup_id": voucher.id or None,
    }


def batch_facts(batch: Batch) -> dict[str, object]:
    """Say how a batch stands, for the audit log."""
    return {"state": batch.state.name.lower(), "valid_until": instant(batch.until_ms)}


def redemption_begun(account: Account, channel: str, name: str) -> dict[str, Any]:
    """Say what a redemption is about, for the audit log; the code is kept nowhere."""
    return {
        "resource": f"{channel}:{name}" if name else "",
        "account": account.profile.path,
        "before": {"balance": format_amount(account.book.balance_micros)},
    }


def redemption_made(done: Redeemed, channel: str) -> dict[str, Any]:
    """Say what came of a redemption, for the audit log."""
    after: dict[str, object] = {"outcome": done.why.name.lower(), "replayed": done.replayed}
    if done.why is Why.NONE:
        money = {"amount": done.amount_micros, "balance": done.balance_micros}
        after |= {"serial": done.serial} | {name: format_amount(micros) for name, micros in money.items()}
    return {"resource": f"{channel}:{done.id}" if done.id else "", "after": after}


def _state(batch: Batch, now_ms: int) -> str:
    if batch.state in {BatchState.ACTIVE, BatchState.SUSPENDED} and batch.until_ms <= now_ms:
        return "expired"
    return batch.state.name.lower()
