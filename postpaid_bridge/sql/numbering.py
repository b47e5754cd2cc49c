"""Numbers for the bills of a run, and their publication.

Laws
1. A unit of work takes the next bills in order of account numbers, and for each its number, its entries, its document's hash, and how far the
   account is billed: all of it, or nothing, and then the numbers are the next ones' again.
2. Who numbers holds the sequence's row from the first statement on: two at once go one behind the other, and none finds a bill of the other's.
3. The bills' day and the entries' instant are those of the approval, kept with the run: a run that was killed and resumed posts the same.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, or_, select, update

from ocs.care.customers.tables import billing_accounts
from ocs.sql import writing
from postpaid_bridge.bill import entries_of
from postpaid_bridge.bill_text import bill_of, document_hash
from postpaid_bridge.run import (
    AccountEvent,
    AccountState,
    RunEvent,
    RunFault,
    RunState,
    account_after,
    number_text,
)
from postpaid_bridge.sql import charges, journal, runs
from postpaid_bridge.sql.bills import bills, next_sequence, took
from postpaid_bridge.sql.bookings import Billed, claim_bills, fall_due, hold_accounts
from postpaid_bridge.sql.drafting import Terms
from postpaid_bridge.sql.runs import Run, run_accounts

__all__ = ["number_chunk", "publish"]


def number_chunk(engine: Engine, run: int, count: int, terms: Terms, now_ms: int) -> int:
    """Give the next bills of a run their numbers; how many rows are closed by it, 0 where there are no more. Raises RunFault."""
    with writing(engine) as work:
        of = runs.shared(work, run)
        if of.state is not RunState.NUMBERING:
            return 0
        day, at_ms = of.bill_day, of.bill_ms
        if day is None or at_ms is None:
            raise RunFault(f"run {run} has no day for its bills: its numbering was not approved")
        sequence = next_sequence(work, of.settings.series, day.year)
        rows = _next(work, run, count)
        if not rows:
            return 0
        charged = charges.of_bills(work, [each.id for each in rows])
        hold_accounts(work, [each.billing_account for each in rows])
        entries, numbered, owed = [], [], []
        for each in rows:
            if each.state == "nothing":
                continue
            number = number_text(of.settings.series, day.year, sequence)
            bill = bill_of(each.content, charged[each.id], terms.kinds)
            made = entries_of(bill, key=f"bill:{number}", day=day, at_ms=at_ms)
            entries += made
            due = day + timedelta(days=each.due_days)
            owed += [Billed(each.id, number, entry, day, due) for entry in made if entry.kind == "bill"]
            numbered.append(
                {
                    "row": each.id, "series": of.settings.series, "year": day.year, "sequence": sequence, "number": number, "day": day,
                    "document_sha256": document_hash(each.content, number, day, each.due_days), "state": "numbered", "numbered_ms": now_ms,
                }
            )  # fmt: skip
            sequence += 1
        if entries:
            journal.post(work, entries)
            claim_bills(work, owed, at_ms)
        if numbered:
            work.execute(update(bills).where(bills.c.id == bindparam("row")), numbered)
            took(work, of.settings.series, day.year, sequence)
        _close(work, rows)
        return len(rows)


def _next(work: Connection, run: int, count: int) -> Sequence[Any]:
    c = run_accounts.c
    asked = (
        select(c.id, c.billing_account, bills.c.state, bills.c.kind, bills.c.period_next, bills.c.due_days, bills.c.content)
        .join(bills, bills.c.id == c.id)
        .where(c.run == run, c.state == AccountState.DONE.value)
        .order_by(c.number)
        .limit(count)
        .with_for_update(of=run_accounts)
    )  # fmt: skip
    return work.execute(asked).all()


def _close(work: Connection, rows: Sequence[Any]) -> None:
    """Close the rows, and say how far their accounts are billed; an account whose final bill this was is closed."""
    state = account_after(AccountState.DONE, AccountEvent.NUMBER).value
    work.execute(
        update(run_accounts).where(run_accounts.c.id == bindparam("row")),
        [{"row": each.id, "state": state, "holds": None} for each in rows],
    )
    c = billing_accounts.c
    work.execute(
        update(billing_accounts).where(
            c.id == bindparam("account"),
            or_(c.billed_until.is_(None), c.billed_until < bindparam("reached")),
        ),
        [
            {"account": each.billing_account, "billed_until": each.period_next, "reached": each.period_next}
            for each in rows
        ],
    )
    final = [each.billing_account for each in rows if each.kind == "final"]
    for account in final:
        ended = (c.id == account, c.until.is_not(None), c.until <= c.billed_until)
        work.execute(update(billing_accounts).where(*ended).values(status="closed"))


def publish(work: Connection, run: int, day: date, by: str, now_ms: int) -> Run:
    """Let customers see the bills of a run that have numbers; they are to be paid within their days from ``day``. Raises RunFault."""
    before = runs.held(work, run)
    found = runs.step(work, run, RunEvent.PUBLISH, by, now_ms)
    if before.state is found.state:
        return found
    c = bills.c
    mine = (c.run == run, c.state == "numbered")
    terms = work.execute(select(c.due_days).where(*mine).distinct()).scalars().all()
    for due_days in terms:
        owed = (*mine, c.due_days == due_days, c.gross_cents > 0)
        due = day + timedelta(days=due_days)
        fall_due(work, select(c.id).where(*mine, c.due_days == due_days), due)
        work.execute(update(bills).where(*owed).values(due_day=due))
    work.execute(update(bills).where(*mine).values(state="published", published_ms=now_ms))
    return found
