"""Which accounts a run bills, and for which days.

Laws
1. A run is planned once under its name, whole or not at all. Planned again under the same name it is the same run.
2. A row is of the account's oldest period that is due: one bill in one run. Periods behind it are the next run's (``more_due`` tells).
3. An account that an open run has is left out with that run's name; one whose days cannot be told is parked with the reason, not dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from ocs.care.customers import reading
from ocs.care.customers.shapes import BillingAccount, CustomerFault
from ocs.care.customers.tables import billing_accounts
from ocs.limits import CUSTOMERS_AT_ONCE
from ocs.sql import insert_new
from postpaid_bridge.periods import CycleKind, PeriodFault, cycle_of
from postpaid_bridge.run import AccountState, RunFault, RunState, Settings, checked, due_of
from postpaid_bridge.sql.parts import id_parts
from postpaid_bridge.sql.runs import Run, bill_runs, note, of_name, run_accounts, run_of

__all__ = ["Asked", "mend", "plan"]

KINDS = ("regular", "on_demand", "final")
NAME_CHARS_MAX = 80


class Asked(NamedTuple):
    """What shall be billed: all accounts of a cycle whose cut-off has come on ``day`` (``cycle`` "": of all cycles), or named accounts.

    ``kind`` on_demand: named accounts, all their days before ``day``; final: named accounts that have ended by ``day``, or all of them.
    """

    kind: str
    day: date
    cycle: str = ""
    numbers: Sequence[str] = ()
    name: str = ""

    @property
    def known_as(self) -> str:
        """Return the name that it is known by."""
        return self.name or "/".join(filter(None, (self.kind, self.cycle, *self.numbers[:1], str(self.day))))


def plan(
    work: Connection, asked: Asked, settings: Settings, kinds: Mapping[str, CycleKind], by: str, now_ms: int
) -> Run:
    """Plan a run and its rows (law 1). Raises RunFault for what cannot be planned, and PeriodFault for a cycle that there is not."""
    checked(settings)
    _check(asked, kinds)
    row = {
        "name": asked.known_as, "kind": asked.kind, "cycle": asked.cycle, "day": asked.day, "state": RunState.PLANNED.value,
        "series": settings.series, "zero_bills": int(settings.zero_bills), "late_days": settings.late_days, "made_ms": now_ms,
    }  # fmt: skip
    if not insert_new(work, bill_runs, [row], "name"):
        found = of_name(work, asked.known_as)
        if found is None or found[2:5] != (asked.kind, asked.cycle, asked.day):
            raise RunFault(f"another run is named {asked.known_as}: name this one otherwise")
        return found
    run = of_name(work, asked.known_as)
    assert run is not None, "it was inserted a line above"
    for page in _pages(work, asked):
        rows = [made for each in page if (made := _row(run, each, asked, kinds)) is not None]
        _hold(work, rows)
        if rows:
            work.execute(run_accounts.insert(), rows)
    note(work, run.id, "plan", RunState.PLANNED, by, now_ms)
    return run_of(work, run.id)


def _check(asked: Asked, kinds: Mapping[str, CycleKind]) -> None:
    if asked.kind not in KINDS:
        raise RunFault(f"{asked.kind[:20]!r}: a run is one of {', '.join(KINDS)}")
    if not 0 < len(asked.known_as) <= NAME_CHARS_MAX:
        raise RunFault(f"a run's name has 1 to {NAME_CHARS_MAX} characters")
    if asked.cycle:
        cycle_of(asked.cycle, kinds)
    if asked.cycle and asked.numbers:
        raise RunFault("name a cycle or accounts, not both")
    if asked.kind == "on_demand" and not asked.numbers:
        raise RunFault("on demand is for named accounts: name them")


def _pages(look: Connection, asked: Asked) -> Iterator[list[BillingAccount]]:
    """Give the accounts that are looked at, page by page. Raises RunFault for a number that there is not."""
    if asked.numbers:
        for start in range(0, len(asked.numbers), CUSTOMERS_AT_ONCE):
            yield [_named(look, each, asked) for each in asked.numbers[start : start + CUSTOMERS_AT_ONCE]]
        return
    c = billing_accounts.c
    of = [c.status != "closed", c.since < asked.day]
    if asked.cycle:
        of.append(c.cycle == asked.cycle)
    if asked.kind == "final":
        of += [c.until.is_not(None), c.until <= asked.day]
    after = 0
    while page := list(
        look.execute(
            select(billing_accounts).where(*of, c.id > after).order_by(c.id).limit(CUSTOMERS_AT_ONCE)
        )
    ):
        after = page[-1].id
        yield [BillingAccount(*row) for row in page]


def _named(look: Connection, number: str, asked: Asked) -> BillingAccount:
    try:
        found = reading.account_by_number(look, number)
    except CustomerFault as fault:
        raise RunFault(f"{number[:20]}: {fault}") from None
    if asked.kind == "final" and (found.until is None or found.until > asked.day):
        raise RunFault(
            f"{number}: a final bill is for an account that has ended by {asked.day}; end it first"
        )
    return found


def _row(
    run: Run, account: BillingAccount, asked: Asked, kinds: Mapping[str, CycleKind]
) -> dict[str, Any] | None:
    """Return an account's row, None where nothing is due and nobody asked for it by name."""
    row: dict[str, Any] = {
        "run": run.id, "billing_account": account.id, "number": account.number, "kind": asked.kind, "period_first": None,
        "period_next": None, "more_due": 0, "state": AccountState.PLANNED.value, "reason": "", "holds": account.id,
    }  # fmt: skip
    try:
        return row | _days(account, asked.kind, asked.day, kinds)
    except PeriodFault as fault:
        return row | {"state": AccountState.PARKED.value, "reason": str(fault)[:400]}
    except LookupError:
        if not asked.numbers:
            return None
        return row | {"state": AccountState.LEFT_OUT.value, "reason": "nothing is due", "holds": None}


def _days(account: BillingAccount, kind: str, day: date, kinds: Mapping[str, CycleKind]) -> dict[str, Any]:
    """Return the columns of what is due; LookupError where nothing is."""
    cycle = cycle_of(account.cycle, kinds)
    due = due_of(cycle, account.since, account.until, account.billed_until, day, early=kind != "regular")
    if due is None:
        raise LookupError
    return {
        "kind": due.kind,
        "period_first": due.period.first,
        "period_next": due.period.next,
        "more_due": due.more,
    }


def _hold(work: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Leave out what an open run has (law 3)."""
    wanted = [row["holds"] for row in rows if row["holds"] is not None]
    had: dict[int, str] = {}
    for part in id_parts(wanted):
        asked = (
            select(run_accounts.c.holds, bill_runs.c.name)
            .join(bill_runs, bill_runs.c.id == run_accounts.c.run)
            .where(run_accounts.c.holds.in_(part))
        )
        had |= {row.holds: row.name for row in work.execute(asked)}
    for row in rows:
        if row["holds"] in had:
            reason = f"run {had[row['holds']]} has it"
            row.update(state=AccountState.LEFT_OUT.value, reason=reason[:400], holds=None)


def mend(work: Connection, run: Run, kinds: Mapping[str, CycleKind]) -> None:
    """Look again at planned rows whose days could not be told; those that still cannot are parked again."""
    c = run_accounts.c
    asked = select(c.id, c.billing_account).where(
        c.run == run.id, c.state == AccountState.PLANNED.value, c.period_first.is_(None)
    )
    for row in work.execute(asked).all():
        account = reading.account(work, row.billing_account)
        values: dict[str, Any]
        try:
            values = _days(account, run.kind, run.day, kinds)
        except PeriodFault as fault:
            values = {"state": AccountState.PARKED.value, "reason": str(fault)[:400]}
        except LookupError:
            values = {"state": AccountState.LEFT_OUT.value, "reason": "nothing is due", "holds": None}
        work.execute(update(run_accounts).where(c.id == row.id).values(**values))
