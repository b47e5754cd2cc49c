"""Accounts to be billed, with plans, usage and credits of all kinds; and what a run has made of them, to be compared."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from ocs.care.customers import desk, service_desk
from ocs.care.customers.shapes import NewAccount, NewCustomer, NewOrganisation, NewPerson, NewService
from ocs.care.customers.tables import billing_accounts
from ocs.sql import reading, writing
from ocs.units import Unit
from postpaid_bridge.charges import Charge, ChargeKind
from postpaid_bridge.jobs.run import Conductor, Pace, approve
from postpaid_bridge.journal import Entry, Ledger, posting
from postpaid_bridge.periods import KINDS
from postpaid_bridge.run import RunEvent, Settings, start_ms
from postpaid_bridge.sql import bills, charges, journal, planning, usage
from postpaid_bridge.sql.bills import bills as bill_table
from postpaid_bridge.sql.drafting import Terms
from postpaid_bridge.sql.execution import Pauses
from postpaid_bridge.sql.planning import Asked
from postpaid_bridge.sql.runs import run_accounts
from postpaid_bridge.sql.usage_rows import line_row
from postpaid_bridge.tax import Basis
from postpaid_bridge.usage import STANDARD, Held, Line, Source, Taken, days_of, entries_of
from tests.bill_scene import TAXES, plans_of_config
from tests.bridge_scene import BERLIN

EURO = 1_000_000
SINCE = date(2026, 10, 1)
DAY = date(2026, 11, 3)
BILL_DAY = date(2026, 11, 4)
NOW_MS = start_ms(DAY, BERLIN) + 3_600_000
DAY_OF = days_of(BERLIN)
TERMS = Terms(plans_of_config(), TAXES, KINDS, BERLIN)
PACE = Pace(chunk=3, poll_s=0.01, wait_s=0.01, pauses=Pauses(tries=2, pause_ms=1))


class Ticking:
    """A clock that moves by a millisecond at each look, so that nothing waits and nothing stands still."""

    def __init__(self, at_ms: int = NOW_MS) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        self.at_ms += 1
        return self.at_ms

    def monotonic_ms(self) -> int:
        return self.now_ms()


def account(
    work: Connection, party: int, *, kind: str = "consumer", cycle: str = "monthly-1", **more: Any
) -> int:
    customer = desk.create_customer(work, NewCustomer(party, kind), NOW_MS)
    customer_id = customer if isinstance(customer, int) else customer.id
    return desk.open_account(
        work, NewAccount(customer_id, SINCE, cycle=cycle, delivery="download", **more)
    ).id


def service(work: Connection, party: int, plan: str, number: str, since: date = SINCE, **more: Any) -> int:
    kind = TERMS.book.plans[plan].kind
    return service_desk.create_service(
        work, NewService(party, plan, since, kind=kind, number=number, book=f"b{number}", **more)
    ).id


def used(
    work: Connection,
    service_id: int,
    billing_account: int,
    party: int,
    number: str,
    amounts: list[tuple[date, str, int]],
) -> None:
    """Take in usage lines, with their entries, as intake does."""
    held = Held(service_id, billing_account, party, "postpaid", number, f"b{number}", "", SINCE, None)
    taken = []
    for place, (day, usage_class, micros) in enumerate(amounts):
        at_ms = start_ms(day, BERLIN) + 43_200_000
        line = Line(
            f"{service_id};{day};{place};{usage_class}", f"1-{place}", f"s{service_id}", place, "10", held.book, "", at_ms, at_ms,
            usage_class, Unit.SECONDS, 60, 0, micros, micros,
        )  # fmt: skip
        taken.append(Taken(line, held, STANDARD[usage_class]))
    made = entries_of(
        f"scene/{service_id}/{amounts[0][0]}",
        taken,
        DAY_OF,
        NOW_MS,
        from_book=True,
    )
    journal.post(work, list(made.values()))
    keys = {each: entry.key for (_, each), entry in made.items()}
    work.execute(
        usage.lines.insert(),
        [line_row(each, Source.STREAM, 1, keys.get(DAY_OF(each.line.at_ms), "")) for each in taken],
    )


def granted(
    work: Connection, billing_account: int, party: int, service_id: int, key: str, micros: int
) -> None:
    """Let a credit wait for the next bill, posted when it was granted."""
    day = date(2026, 10, 20)
    charge = Charge(
        key, ChargeKind.CREDIT, service_id, party, "", "Gutschrift", day, day + timedelta(1), micros, "credit", "standard", Basis.GROSS,
    )  # fmt: skip
    charges.grant(work, charge, billing_account, reason="goodwill", by="agent", now_ms=NOW_MS)
    made = posting(Ledger.UNBILLED, Ledger.REVENUE, micros, "", "credit", "standard")
    journal.post(work, [Entry(key, "credit", billing_account, day, NOW_MS, made, "goodwill")])


def consumer(work: Connection, number: int, **more: Any) -> int:
    """A person with a mobile plan and calls."""
    party = desk.create_party(work, NewPerson("Ada", f"Muster{number}"), NOW_MS)
    its = account(work, party, **more)
    msisdn = f"49170{number:07d}"
    held = service(work, party, "mobile-m", msisdn)
    amounts = [
        (date(2026, 10, 2 + place % 27), ("voice", "data", "sms")[place % 3], 90_000 + 1_234 * place * number)
        for place in range(8)
    ]
    used(work, held, its, party, msisdn, amounts)
    return its


def company(work: Connection, number: int) -> int:
    """A company that pays for two branches, with net prices and a frame contract."""
    top = desk.create_party(work, NewOrganisation(f"Firma {number}"), NOW_MS)
    its = account(work, top, kind="business", discount_plan="frame-contract")
    for branch in range(2):
        party = desk.create_party(work, NewOrganisation(f"Filiale {branch}", parent=top), NOW_MS)
        for place in range(2):
            msisdn = f"4930{number:04d}{branch}{place}"
            held = service(work, party, "business-flex", msisdn)
            used(
                work,
                held,
                its,
                party,
                msisdn,
                [(date(2026, 10, 7), "voice", 3_333_333), (date(2026, 10, 9), "data", 777_777)],
            )
    return its


def mixed(work: Connection, number: int) -> int:
    """A fixed line: two rates of tax, and a fee."""
    party = desk.create_party(work, NewPerson("Bo", f"Fest{number}"), NOW_MS)
    its = account(work, party)
    msisdn = f"4989{number:07d}"
    held = service(work, party, "fixed-line", msisdn, date(2026, 10, 12))
    used(work, held, its, party, msisdn, [(date(2026, 10, 30), "voice", 123_456)])
    return its


def in_credit(work: Connection, number: int) -> int:
    """Somebody whom we owe more than he owes us."""
    its = consumer(work, number)
    party = work.execute(select(billing_accounts.c.party).where(billing_accounts.c.id == its)).scalar_one()
    granted(work, its, party, 0, f"credit:{number}", -500 * EURO)
    return its


def populate(engine: Engine, *, bad: bool = False) -> list[int]:
    """One of each kind, and some more; with ``bad`` one whose discount plan is not there."""
    with writing(engine) as work:
        found = [consumer(work, 1), company(work, 2), mixed(work, 3), in_credit(work, 4)]
        found += [consumer(work, number) for number in range(5, 9)]
        if bad:
            found.append(consumer(work, 9, discount_plan="nobody-knows"))
            found.append(consumer(work, 10))
    return found


def planned(engine: Engine, settings: Settings | None = None, asked: Asked | None = None) -> int:
    with writing(engine) as work:
        return planning.plan(
            work, asked or Asked("regular", DAY), settings or Settings(), KINDS, "clerk", NOW_MS
        ).id


def conductor(engine: Engine, pace: Pace = PACE, **more: Any) -> Conductor:
    return Conductor(engine, TERMS, more.pop("clock", None) or Ticking(), pace, **more)


def approved(engine: Engine, run: int, event: RunEvent) -> None:
    approve(engine, run, event, BILL_DAY, "head", NOW_MS)


def executed(engine: Engine, **more: Any) -> int:
    """A run up to drafts."""
    run = planned(engine, **more)
    conductor(engine).preview(run, "clerk")
    approved(engine, run, RunEvent.APPROVE_EXECUTE)
    conductor(engine).execute(run, "clerk")
    return run


def finished(engine: Engine, run: int) -> None:
    """From drafts to published bills."""
    approved(engine, run, RunEvent.APPROVE_NUMBER)
    conductor(engine).number(run, "clerk")
    conductor(engine).publish(run, BILL_DAY, "clerk")


def whole(engine: Engine, **more: Any) -> int:
    run = executed(engine, **more)
    finished(engine, run)
    return run


# ---------------------------------------------------------------- what came of it

_BILL = (
    "billing_account", "kind", "state", "period_first", "period_next", "net_cents", "tax_cents", "gross_cents", "content", "content_sha256",
    "number", "day", "document_sha256", "due_day",
)  # fmt: skip


def bills_of(engine: Engine) -> list[tuple[Any, ...]]:
    """All bills, with everything on them that does not depend on when it was done."""
    with reading(engine) as look:
        chosen = [bill_table.c[name] for name in _BILL]
        return [tuple(row) for row in look.execute(select(*chosen).order_by(bill_table.c.billing_account))]


def end_state(engine: Engine) -> dict[str, Any]:
    """Bills, lines, taxes, charges, what is claimed, entries with their postings, the outbox, and how far accounts are billed."""
    with reading(engine) as look:
        e, p, o = journal.entries.c, journal.postings.c, journal.outbox.c
        a, u = billing_accounts.c, usage.lines.c
        found: dict[str, Any] = {
            "entries": select(e.key, e.kind, e.billing_account, e.day, e.at_ms, e.text, p.number, p.debit, p.credit, p.amount_micros, p.book,
                              p.of_class, p.tax_code).join(p.entry.table, p.entry == e.id),
            "outbox": select(o.book, o.amount_micros, e.key).join(e.id.table, e.id == o.entry),
            "accounts": select(a.id, a.billed_until, a.status),
            "usage": select(u.key, u.bill.is_(None), u.held),
            "charges": select(*(each for each in charges.charges.c if each.name not in {"id", "made_ms", "bill"})),
            "lines": select(*(each for each in bills.bill_lines.c if each.name != "bill")),
            "taxes": select(*(each for each in bills.bill_taxes.c if each.name != "bill")),
            "next": select(bills.bill_numbers),
        }  # fmt: skip
        state = {name: sorted(map(tuple, look.execute(asked)), key=repr) for name, asked in found.items()}
    return state | {"bills": bills_of(engine)}


def numbers(engine: Engine) -> list[str]:
    with reading(engine) as look:
        asked = select(bill_table.c.number).where(bill_table.c.number.is_not(None))
        return sorted(look.execute(asked).scalars())


def wrong_with(engine: Engine) -> list[str]:
    """What must hold at every commit, and does not."""
    found = []
    with reading(engine) as look:
        if sum(journal.ledger_balances(look).values()):
            found.append("the journal does not add up")
        sequences = sorted(
            look.execute(select(bill_table.c.sequence).where(bill_table.c.number.is_not(None))).scalars()
        )
        if sequences != list(range(1, len(sequences) + 1)):
            found.append(f"numbers {sequences}")
        following = look.execute(select(bills.bill_numbers.c.next)).scalar()
        if following is not None and following != len(sequences) + 1:
            found.append(f"{len(sequences)} numbers, and the next is {following}")
        for row in look.execute(select(bill_table)):
            rest = journal.standing(look, row.billing_account, Ledger.UNBILLED)
            if row.number and rest:
                found.append(f"account {row.billing_account} has {rest} unbilled behind bill {row.number}")
            owed = journal.standing(look, row.billing_account, Ledger.RECEIVABLE)
            if row.number and owed != row.gross_cents * 10_000:
                found.append(f"bill {row.number} of {row.gross_cents} cents, and {owed} receivable")
            key = f"bill:{row.number}"
            asked = select(func.count()).select_from(journal.entries).where(journal.entries.c.key == key)
            if row.number and look.execute(asked).scalar_one() != bool(row.gross_cents or row.net_cents):
                found.append(f"no entry {key}")
        claimed = select(func.count()).select_from(usage.lines).where(
            usage.lines.c.bill.is_not(None), usage.lines.c.bill.not_in(select(bill_table.c.id))
        )  # fmt: skip
        if look.execute(claimed).scalar_one():
            found.append("usage is claimed for no bill")
    return found


def rows(engine: Engine, run: int) -> dict[int, Any]:
    with reading(engine) as look:
        return {
            row.billing_account: row
            for row in look.execute(select(run_accounts).where(run_accounts.c.run == run))
        }
