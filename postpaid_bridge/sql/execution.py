"""The unit of work of a chunk: usage claimed, charges made, bills drafted and kept, rows done.

Laws
1. A chunk is one unit of work, so that a commit is paid once for many accounts; an account is in it whole or not at all. An account with a
   fault is set aside in it, with what it had claimed, and the rest is kept.
2. A fault of the database in a chunk is looked for account by account: each gets a unit of work of its own.
3. A row is billed where it is planned, read under lock: a chunk run twice finds nothing to do. What is tried again waits; what the rules
   refuse, or what has failed too often, is parked with its reason.
4. A preview drafts the same and keeps only what is in the run's own rows.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, bindparam, func, select, update
from sqlalchemy.exc import DataError, IntegrityError

from ocs.care.customers.shapes import CustomerFault
from ocs.sql import locked, writing
from postpaid_bridge.run import AccountEvent, AccountState, OutlierRules, RunState, account_after, outlier
from postpaid_bridge.sql import bills, charges, runs
from postpaid_bridge.sql.bills import Draft
from postpaid_bridge.sql.drafting import Drafted, Terms, asked_of, draft
from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.sql.runs import ROW, Row, Run, run_accounts
from postpaid_bridge.sql.usage_claims import claim, unclaim

__all__ = ["ChunkDone", "Pauses", "execute_chunk", "preview_chunk"]

REASON_CHARS_MAX = 400
REFUSALS = (ValueError, CustomerFault)
"""What the rules refuse: trying again gives the same, until somebody mends it."""


class Pauses(NamedTuple):
    """How often a fault that is no refusal is tried, and how long a row waits before it is tried again (twice as long each time)."""

    tries: int = 3
    pause_ms: int = 2_000


class ChunkDone(NamedTuple):
    """What became of a chunk's rows."""

    done: int = 0
    parked: int = 0
    again: int = 0


def execute_chunk(
    engine: Engine, run: int, ids: Sequence[int], terms: Terms, pauses: Pauses, now_ms: int
) -> ChunkDone:
    """Bill the planned ones of these rows (laws 1 to 3). OperationalError and the like mean that the database is away: the same again is right."""
    try:
        return _unit(engine, run, ids, terms, pauses, now_ms)
    except (IntegrityError, DataError) as fault:
        if len(ids) == 1:
            with writing(engine) as work:
                rows = _planned(work, run, ids)
                return _failed(work, dict.fromkeys(rows, fault), pauses, now_ms)
    total = [execute_chunk(engine, run, [each], terms, pauses, now_ms) for each in ids]
    return ChunkDone(*(sum(each) for each in zip(*total, strict=True)))


def _unit(
    engine: Engine, run: int, ids: Sequence[int], terms: Terms, pauses: Pauses, now_ms: int
) -> ChunkDone:
    with writing(engine) as work:
        of = runs.shared(work, run)
        rows = _planned(work, run, ids) if of.state is RunState.EXECUTING else []
        if not rows:
            return ChunkDone()
        claim(work, asked_of(rows, of, terms))
        found = draft(work, of, rows, terms, claimed=True)
        faults = {each: fault for each in rows if isinstance(fault := found[each.id], Exception)}
        drafts = {each.id: made for each in rows if isinstance(made := found[each.id], Drafted)}
        unclaim(work, {each.id: each.billing_account for each in faults})
        _keep(work, of, drafts, now_ms)
        failed = _failed(work, faults, pauses, now_ms)
        return failed._replace(done=len(drafts))


def _planned(work: Connection, run: int, ids: Sequence[int]) -> list[Row]:
    """Return the rows that are planned, under lock; those that another has under lock are the other's."""
    c = run_accounts.c
    found: list[Row] = []
    for part in id_parts(ids):
        asked = select(*ROW).where(
            c.id.in_(part), c.run == run, c.state == AccountState.PLANNED.value, c.period_first.is_not(None)
        )
        found += [Row(*row) for row in work.execute(locked(asked.order_by(c.number), skip=True))]
    return found


def _keep(work: Connection, run: Run, drafts: Mapping[int, Drafted], now_ms: int) -> None:
    made = [Draft(row, run.id, each.bill, each.due_days, _state(each, run)) for row, each in drafts.items()]
    bills.keep(work, made, now_ms)
    new = []
    for row, each in drafts.items():
        account = each.bill.payer.billing_account
        new += [(one, account, row) for one in each.bill.charges if one.key not in each.granted]
    charges.put(work, new, now_ms)
    charges.take(work, [(key, row) for row, each in drafts.items() for key in sorted(each.granted)])
    state = account_after(AccountState.PLANNED, AccountEvent.BILL).value
    values = [
        {
            "row": row, "net_cents": each.bill.net_cents, "tax_cents": each.bill.tax_cents, "gross_cents": each.bill.gross_cents,
            "state": state, "reason": "",
        }
        for row, each in drafts.items()
    ]  # fmt: skip
    if values:
        work.execute(update(run_accounts).where(run_accounts.c.id == bindparam("row")), values)


def _state(made: Drafted, run: Run) -> str:
    """Whether a draft becomes a bill: one that posts nothing does where the run's settings want it."""
    moves = made.bill.charges or any(line.amount_micros for line in made.bill.lines)
    return "draft" if moves or run.settings.zero_bills else "nothing"


def _failed(work: Connection, faults: Mapping[Row, Exception], pauses: Pauses, now_ms: int) -> ChunkDone:
    parked = 0
    for row, fault in faults.items():
        attempts = row.attempts + 1
        park = isinstance(fault, REFUSALS) or attempts >= pauses.tries
        parked += park
        event = AccountEvent.PARK if park else AccountEvent.AGAIN
        work.execute(
            update(run_accounts)
            .where(run_accounts.c.id == row.id)
            .values(
                state=account_after(AccountState.PLANNED, event).value,
                attempts=attempts,
                reason=reason_of(fault),
                next_try_ms=now_ms + pauses.pause_ms * 2 ** (attempts - 1),
                lease_until_ms=0,
            )
        )
    return ChunkDone(0, parked, len(faults) - parked)


def reason_of(fault: Exception) -> str:
    """Return what a human reads: the message of a refusal, else what it was and where it came from."""
    if isinstance(fault, REFUSALS):
        return str(fault)[:REASON_CHARS_MAX]
    return f"{type(fault).__name__}: {fault}".replace("\n", " ")[:REASON_CHARS_MAX]


# ---------------------------------------------------------------- preview


def preview_chunk(
    engine: Engine, run: int, after: str, count: int, terms: Terms, rules: OutlierRules
) -> str | None:
    """Draft the next rows behind an account's number and keep what they come to (law 4); the last number, None where there are no more."""
    c = run_accounts.c
    with writing(engine) as work:
        of = runs.shared(work, run)
        asked = select(*ROW).where(
            c.run == run, c.number > after, c.state == AccountState.PLANNED.value, c.period_first.is_not(None)
        )
        rows = [Row(*row) for row in work.execute(asked.order_by(c.number).limit(count))]
        if not rows:
            return None
        found = draft(work, of, rows, terms, claimed=False)
        last = _last_bills(work, rows)
        values = []
        for each in rows:
            made = found[each.id]
            gross = made.bill.gross_cents if isinstance(made, Drafted) else None
            values.append(
                {
                    "row": each.id,
                    "previewed_cents": gross,
                    "last_cents": last.get(each.billing_account),
                    "outlier": "" if gross is None else outlier(gross, last.get(each.billing_account), rules),
                    "foreseen": reason_of(made) if isinstance(made, Exception) else "",
                }
            )
        work.execute(update(run_accounts).where(c.id == bindparam("row")), values)
        return rows[-1].number


def _last_bills(look: Connection, rows: Sequence[Row]) -> dict[int, int]:
    """Return the gross of the newest bill that has a number, by account."""
    b = bills.bills.c
    found: dict[int, int] = {}
    for part in id_parts(each.billing_account for each in rows):
        newest = (
            select(b.billing_account, func.max(b.period_next).label("newest"))
            .where(b.billing_account.in_(part), b.number.is_not(None))
            .group_by(b.billing_account)
            .subquery()
        )
        asked = select(b.billing_account, b.gross_cents).where(
            b.billing_account == newest.c.billing_account,
            b.period_next == newest.c.newest,
            b.number.is_not(None),
        )
        found |= {row[0]: int(row[1]) for row in look.execute(asked)}
    return found
