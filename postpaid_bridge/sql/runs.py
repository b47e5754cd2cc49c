"""Bill runs in SQL: the run, an account's row in it, and who let it go on.

Laws
1. What a run and its rows may do stands in postpaid_bridge/run.py; each step holds the run's row, and is kept with who asked for it.
2. An account is in one open run at a time (``holds`` is unique), so that no usage, charge or day is on two bills.
3. A row is worked on by who has its lease, and is anybody's again when that is over. A lease only saves work: what makes a bill once is the
   row's state, read and changed in the bill's own unit of work.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    case,
    func,
    or_,
    select,
    update,
)

from ocs.sql import KEY, MICROS, MILLISECONDS, locked, metadata
from postpaid_bridge.run import (
    AccountEvent,
    AccountState,
    NoRun,
    RunEvent,
    RunState,
    Settings,
    account_after,
    after,
)
from postpaid_bridge.sql import bills
from postpaid_bridge.sql.bills import bills as bill_table
from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.sql.usage_claims import unclaim

__all__ = [
    "LEASE_MS", "Row", "Run", "abandon", "account_rows", "bill_runs", "counts", "leave_out", "of_name", "resume", "run_accounts", "run_events",
    "run_of", "shared", "step", "take", "waiting_ms",
]  # fmt: skip

LEASE_MS = 15_000
"""How long a chunk is its taker's: what a dead worker held is dispatched again behind it (DESIGN section 5)."""

bill_runs = Table(
    "bill_run",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("cycle", String(32), nullable=False, default=""),
    Column("day", Date, nullable=False),
    Column("state", String(24), nullable=False),
    Column("series", String(8), nullable=False),
    Column("zero_bills", Integer, nullable=False),
    Column("late_days", Integer, nullable=False),
    Column("bill_day", Date),
    Column("bill_ms", MILLISECONDS),
    Column("made_ms", MILLISECONDS, nullable=False),
    CheckConstraint("kind IN ('regular', 'on_demand', 'final')", name="kind"),
)
"""``day`` is the one that it was planned for, ``bill_day`` and ``bill_ms`` when its numbering was approved: the day of its bills."""

run_accounts = Table(
    "run_account",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("run", ForeignKey("bill_run.id"), nullable=False),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False),
    Column("number", String(20), nullable=False),
    Column("kind", String(16), nullable=False, default="regular"),
    Column("period_first", Date),
    Column("period_next", Date),
    Column("more_due", Integer, nullable=False, default=0),
    Column("state", String(16), nullable=False),
    Column("reason", String(400), nullable=False, default=""),
    Column("holds", KEY, unique=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_try_ms", MILLISECONDS, nullable=False, default=0),
    Column("lease_owner", String(64), nullable=False, default=""),
    Column("lease_until_ms", MILLISECONDS, nullable=False, default=0),
    Column("previewed_cents", MICROS),
    Column("last_cents", MICROS),
    Column("outlier", String(32), nullable=False, default=""),
    Column("foreseen", String(400), nullable=False, default=""),
    Column("net_cents", MICROS),
    Column("tax_cents", MICROS),
    Column("gross_cents", MICROS),
    UniqueConstraint("run", "billing_account"),
    CheckConstraint("state IN ('planned', 'done', 'parked', 'closed', 'left_out')", name="state"),
    Index("ix_run_account_state", "run", "state", "number"),
)
"""``state`` is the checkpoint. ``holds`` is the billing account while the run has it; ``previewed_cents``, ``last_cents``, ``outlier`` and
``foreseen`` (why it will be parked) are the preview's, ``net_cents`` … the bill's."""

run_events = Table(
    "run_event",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("run", ForeignKey("bill_run.id"), nullable=False, index=True),
    Column("event", String(24), nullable=False),
    Column("state", String(24), nullable=False),
    Column("by", String(64), nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
)
"""Each step that changed a run's state, and who asked for it."""

_OPEN = (AccountState.PLANNED, AccountState.DONE, AccountState.PARKED)


class Run(NamedTuple):
    """A run as it is known."""

    id: int
    name: str
    kind: str
    cycle: str
    day: date
    state: RunState
    settings: Settings
    bill_day: date | None
    bill_ms: int | None


class Row(NamedTuple):
    """An account's row, as far as its bill is made of it."""

    id: int
    billing_account: int
    number: str
    kind: str
    first: date
    next: date
    attempts: int


_RUN = [
    bill_runs.c[name]
    for name in (
        "id",
        "name",
        "kind",
        "cycle",
        "day",
        "state",
        "series",
        "zero_bills",
        "late_days",
        "bill_day",
        "bill_ms",
    )
]
ROW = [
    run_accounts.c[name]
    for name in ("id", "billing_account", "number", "kind", "period_first", "period_next", "attempts")
]


def _run(row: Sequence[Any]) -> Run:
    key, name, kind, cycle, day, state, series, zero_bills, late_days, *bill = row
    return Run(
        key, name, kind, cycle, day, RunState(state), Settings(series, bool(zero_bills), late_days), *bill
    )


def run_of(look: Connection, run: int) -> Run:
    """Return a run. Raises RunFault."""
    return _found(look, select(*_RUN).where(bill_runs.c.id == run), run)


def shared(work: Connection, run: int) -> Run:
    """Return a run whose state nobody changes until the unit of work ends, while others work in it too. Raises RunFault."""
    return _found(work, select(*_RUN).where(bill_runs.c.id == run).with_for_update(read=True), run)


def held(work: Connection, run: int) -> Run:
    """Return a run that is ours alone until the unit of work ends. Raises RunFault."""
    return _found(work, locked(select(*_RUN).where(bill_runs.c.id == run)), run)


def _found(look: Connection, asked: Select[Any], run: int) -> Run:
    row = look.execute(asked).one_or_none()
    if row is None:
        raise NoRun(f"no run {run}")
    return _run(row)


def of_name(look: Connection, name: str) -> Run | None:
    """Return the run of a name, None where there is none."""
    row = look.execute(select(*_RUN).where(bill_runs.c.name == name)).one_or_none()
    return None if row is None else _run(row)


def every_run(look: Connection, count: int = 20) -> list[Run]:
    """Return the newest runs."""
    return [_run(row) for row in look.execute(select(*_RUN).order_by(bill_runs.c.id.desc()).limit(count))]


def step(work: Connection, run: int, event: RunEvent, by: str, now_ms: int, **values: Any) -> Run:
    """Let an event happen to a run, with ``values`` of its row where its state changes; the run as it is then. Raises RunFault."""
    found = held(work, run)
    state = after(found.state, event, numbers=numbers_of(work, run))
    if state is not found.state:
        work.execute(update(bill_runs).where(bill_runs.c.id == run).values(state=state.value, **values))
        note(work, run, event, state, by, now_ms)
    return run_of(work, run)


def note(work: Connection, run: int, event: RunEvent | str, state: RunState, by: str, now_ms: int) -> None:
    """Keep who asked for what."""
    row = {"run": run, "event": str(event), "state": state.value, "by": by[:64], "at_ms": now_ms}
    work.execute(run_events.insert().values(**row))


def allowed(look: Connection, run: int, event: RunEvent) -> Run:
    """Return a run that an event may happen to. Raises RunFault."""
    found = run_of(look, run)
    after(found.state, event, numbers=numbers_of(look, run))
    return found


def numbers_of(look: Connection, run: int) -> int:
    """Return how many numbers a run has given."""
    of = (bill_table.c.run == run, bill_table.c.number.is_not(None))
    return int(look.execute(select(func.count()).select_from(bill_table).where(*of)).scalar_one())


def counts(look: Connection, run: int) -> dict[AccountState, int]:
    """Return how many accounts are in each state."""
    c = run_accounts.c
    found = look.execute(select(c.state, func.count()).where(c.run == run).group_by(c.state))
    return {AccountState(state): int(count) for state, count in found}


def account_rows(
    look: Connection, run: int, *, state: AccountState | None = None, after: str = "", count: int = 100
) -> list[dict[str, Any]]:
    """Return rows of a run behind an account's number, in order of numbers."""
    c = run_accounts.c
    of = [c.run == run, c.number > after] + ([] if state is None else [c.state == state.value])
    found = look.execute(select(run_accounts).where(*of).order_by(c.number).limit(count))
    return [dict(row._mapping) for row in found]  # noqa: SLF001 - a row's own names


# ---------------------------------------------------------------- leases


def take(work: Connection, run: int, owner: str, count: int, now_ms: int) -> list[int]:
    """Give an owner the lease of up to ``count`` planned rows that nobody has, in order of account numbers."""
    c = run_accounts.c
    asked = (
        select(c.id)
        .where(
            c.run == run,
            c.state == AccountState.PLANNED.value,
            c.lease_until_ms <= now_ms,
            c.next_try_ms <= now_ms,
        )
        .order_by(c.number)
        .limit(count)
    )
    ids = list(work.execute(locked(asked, skip=True)).scalars())
    lease(work, ids, owner, now_ms)
    return ids


def lease(work: Connection, ids: Sequence[int], owner: str, now_ms: int) -> None:
    """Let an owner have rows for LEASE_MS from now."""
    for part in id_parts(ids):
        work.execute(
            update(run_accounts)
            .where(run_accounts.c.id.in_(part))
            .values(lease_owner=owner, lease_until_ms=now_ms + LEASE_MS)
        )


def renew(work: Connection, ids: Sequence[int], owner: str, now_ms: int) -> list[int]:
    """Renew the lease of those rows that are still an owner's; which."""
    kept: list[int] = []
    for part in id_parts(ids):
        asked = select(run_accounts.c.id).where(
            run_accounts.c.id.in_(part), run_accounts.c.lease_owner == owner
        )
        kept += work.execute(locked(asked, skip=True)).scalars()
    lease(work, kept, owner, now_ms)
    return kept


def leased(look: Connection, run: int, now_ms: int) -> int:
    """Return how many planned rows somebody has the lease of."""
    c = run_accounts.c
    of = (c.run == run, c.state == AccountState.PLANNED.value, c.lease_until_ms > now_ms)
    return int(look.execute(select(func.count()).where(*of)).scalar_one())


def waiting_ms(look: Connection, run: int) -> int | None:
    """Return the instant at which the next planned row may be taken (by now or later), None where none is planned."""
    c = run_accounts.c
    free = func.min(_later(c.lease_until_ms, c.next_try_ms))
    found = look.execute(select(free).where(c.run == run, c.state == AccountState.PLANNED.value)).scalar()
    return None if found is None else int(found)


def _later(one: Any, other: Any) -> Any:
    return case((one > other, one), else_=other)


# ---------------------------------------------------------------- humans


def resume(work: Connection, run: int, by: str, now_ms: int) -> int:
    """Plan again what was parked, and forget pauses and leases; how many rows were parked. Raises RunFault."""
    found = held(work, run)
    parked = counts(work, run).get(AccountState.PARKED, 0)
    if parked or found.state is RunState.EXECUTING:
        step(work, run, RunEvent.RESUME, by, now_ms)
    planned = account_after(AccountState.PARKED, AccountEvent.AGAIN)
    c = run_accounts.c
    work.execute(
        update(run_accounts)
        .where(c.run == run, or_(c.state == AccountState.PARKED.value, c.state == AccountState.PLANNED.value))
        .values(state=planned.value, attempts=0, next_try_ms=0, lease_until_ms=0, lease_owner="", reason="")
    )
    return parked


def leave_out(work: Connection, run: int, number: str, by: str, now_ms: int) -> None:
    """Leave an account out of a run: what it had claimed is free, and another run may bill it. Raises RunFault."""
    found = held(work, run)
    c = run_accounts.c
    row = work.execute(select(c.id, c.state).where(c.run == run, c.number == number)).one_or_none()
    if row is None:
        raise NoRun(f"run {run} has no account of this number")
    state = account_after(AccountState(row.state), AccountEvent.LEAVE_OUT)
    if state.value != row.state:
        _free(work, [row.id])
        note(work, run, "leave_out", found.state, by, now_ms)


def abandon(work: Connection, run: int, by: str, now_ms: int) -> int:
    """Undo a run that has given no number: usage and charges are free again; how many accounts were in it. Raises RunFault."""
    if held(work, run).state is RunState.ABANDONED:
        return 0
    step(work, run, RunEvent.ABANDON, by, now_ms)
    c = run_accounts.c
    ids = list(work.execute(select(c.id).where(c.run == run, c.state.in_(_OPEN))).scalars())
    _free(work, ids)
    return len(ids)


def _free(work: Connection, rows: Sequence[int]) -> None:
    left = AccountState.LEFT_OUT.value
    c = run_accounts.c
    for part in id_parts(rows):
        asked = select(c.id, c.billing_account).where(c.id.in_(part))
        unclaim(work, {row.id: row.billing_account for row in work.execute(asked)})
        bills.drop(work, part)
        work.execute(
            update(run_accounts)
            .where(run_accounts.c.id.in_(part))
            .values(
                state=left,
                holds=None,
                net_cents=None,
                tax_cents=None,
                gross_cents=None,
                reason="left out by hand, or with the run",
            )
        )
