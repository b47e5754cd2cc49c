"""Actions that are older than the store remembers, made again from the records of the archive.

Laws
1. A record has what was moved, not all that was said: no content, and of a transfer one side's amount, its fee in it.
2. The first record of an action makes it, later ones say what became of it.
3. A record of a bucket has the bucket after it: how much it was is told where an earlier record has the bucket before, else nothing is.
"""

from collections.abc import Iterable

from ocs.balance.actions import Action, ActionKind, ActionState, Asked
from ocs.http.exact_answer import write_json
from ocs.http.prepay.buckets import usage_of_allowance
from ocs.outcomes import Code
from ocs.records import RESERVATION, Expire, Moved, Record, Rows, Topup

_ASKED = frozenset(
    {ActionKind.ADJUST, ActionKind.TRANSFER, ActionKind.RESERVE, ActionKind.REFUND, ActionKind.EMERGENCY}
)


def actions_in(partition: int, account: str, records: Iterable[Record]) -> list[Action]:
    """Return an account's actions in records that come in their order; the newest first."""
    found: dict[tuple[str, str], Action] = {}
    buckets: dict[tuple[int, int], int] = {}
    for record in records:
        if getattr(record, "account", "") != account:
            continue
        if isinstance(record, Rows):
            buckets |= {(row.id, row.start_ms): row.amount for row in record.rows}
        elif isinstance(record, Topup):
            asked = Asked(
                ActionKind.TOPUP, record.channel, record.id, partition, account, record.amount_micros
            )
            found[record.channel, record.id] = _done(asked, record.now_ms, ActionState.COMPLETED)
        elif isinstance(record, Moved):
            _moved(found, partition, record, buckets)
            buckets |= {(row.id, row.start_ms): row.amount for row in record.rows}
        elif isinstance(record, Expire) and record.session_id.startswith(RESERVATION):
            channel, _, name = record.session_id.removeprefix(RESERVATION).partition(":")
            _become(found, (channel, name), ActionState.EXPIRED, record.now_ms)
    return sorted(found.values(), key=lambda each: (each.created_ms, each.asked.id), reverse=True)


def _usage(row_unit: int) -> str:
    """Write what a bucket of a unit is for, as the content of an action has it."""
    return write_json({"usageType": usage_of_allowance(row_unit, None)})


def _done(asked: Asked, now_ms: int, state: ActionState) -> Action:
    return Action(asked, state, Code.SUCCESS, now_ms, now_ms)


def _become(
    found: dict[tuple[str, str], Action],
    name: tuple[str, str],
    state: ActionState,
    now_ms: int,
    settled: int = 0,
) -> None:
    if name in found:
        found[name] = found[name]._replace(state=state, done_ms=now_ms, settled=settled)


def _moved(
    found: dict[tuple[str, str], Action], partition: int, record: Moved, buckets: dict[tuple[int, int], int]
) -> None:
    name, kind = (record.channel, record.id), ActionKind(record.kind)
    if kind is ActionKind.REVERSAL:
        _become(found, name, ActionState.CANCELLED, record.now_ms)
        return
    if kind is ActionKind.RESERVE and name in found:
        taken = record.taken_micros
        _become(found, name, ActionState.COMPLETED if taken else ActionState.CANCELLED, record.now_ms, taken)
        return
    if kind is ActionKind.TRANSFER and name in found and record.taken_micros < 0:
        _become(
            found, name, ActionState.FAILED, record.now_ms
        )  # the receiver could not have it: it was given back
        return
    if kind not in _ASKED or name in found:
        return
    path = f"{record.account}/{record.member}" if record.member else record.account
    moved = record.credited_micros - record.taken_micros
    amount = (
        record.held_micros
        if kind is ActionKind.RESERVE
        else moved
        if kind is ActionKind.ADJUST
        else abs(moved)
    )
    asked = Asked(kind, record.channel, record.id, partition, path, amount, reason=record.reason)
    for row in record.rows[:1]:
        before = buckets.get((row.id, row.start_ms))
        if before is None:
            return
        asked = asked._replace(
            bucket=f"{row.id}-{row.start_ms}", amount=row.amount - before, content=_usage(row.unit)
        )
    if kind is ActionKind.TRANSFER and record.counterpart:
        place, _, other = record.counterpart.partition(" ")
        asked = asked._replace(receiver_partition=int(place), receiver=other)
        if moved > 0:  # who got it tells of it: the giver is the other
            asked = asked._replace(
                partition=int(place), account=other, receiver_partition=partition, receiver=path
            )
    state = ActionState.HELD if kind is ActionKind.RESERVE else ActionState.COMPLETED
    found[name] = _done(asked, record.now_ms, state)
