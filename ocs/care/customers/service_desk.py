"""Units of work on services: who holds one, who pays, which plan and options it has, what it is barred for.

Laws: those of desk.py and of payers.py, and
1. One number belongs to one service at a time. Once a service has ended, its number may begin anew on that day.
2. A service has one plan at a time, without a gap from its first day to its end; options come and go beside it.
3. Who pays, who holds, plans and barring are kept by day: what was so on a day can be told for ever.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from ocs.care.customers import branches
from ocs.care.customers.once import claim
from ocs.care.customers.payers import check_books, check_open, check_unbilled, held_account, nearest, place
from ocs.care.customers.shapes import ANY_WORDS, NewService, Service, Words, checked, conflict, missing, wrong
from ocs.care.customers.tables import barrings, holdings, parties, service_plans, services
from ocs.sql import locked

__all__ = [
    "add_option", "bar", "change_limit", "change_plan", "create_service", "end_option", "end_service", "move_service", "name_payer",
]  # fmt: skip

BARRED = ("none", "outgoing", "all")


def create_service(work: Connection, asked: NewService, words: Words = ANY_WORDS) -> Service:
    """Let a party hold a service from a day on, with its plan and options. Raises CustomerFault."""
    made = checked(asked, words)
    branches.held_tops(work, [made.party])
    _check_holder(work, made.party)
    payers: list[tuple[date, int | None]] = [(made.since, made.payer)]
    if made.payer is None:
        payers = nearest(work, made.party, made.since)
    else:
        check_open(held_account(work, made.payer), made.since)
    if made.mode != "prepaid" and payers[0][1] is None:
        raise wrong(
            "payer",
            "no billing account is at the party or above it on that day",
            "open one there, or name one",
        )
    claim(
        work, [f"{name}:{value}" for name, value in (("number", made.number), ("book", made.book)) if value]
    )
    _check_number(work, made)
    values: dict[str, Any] = {
        "billing_account": payers[-1][1], "payer_named": made.payer is not None, "party": made.party, "kind": made.kind, "mode": made.mode,
        "number": made.number, "book": made.book, "subscriber": made.subscriber, "plan": made.plan, "since": made.since, "until": None,
        "barred": "none", "credit_limit_micros": made.credit_limit_micros,
    }  # fmt: skip
    service = int(work.execute(services.insert().values(**values).returning(services.c.id)).scalar_one())
    ends = [day for day, _ in payers[1:]]
    rows = [
        {"service": service, "party": made.party, "billing_account": payer, "since": day, "until": end}
        for (day, payer), end in zip(payers, [*ends, None], strict=True)
    ]
    work.execute(holdings.insert(), rows)
    plans = [("plan", made.plan), *(("option", each) for each in made.options)]
    work.execute(
        service_plans.insert(),
        [
            {"service": service, "plan": plan, "role": role, "since": made.since, "until": None}
            for role, plan in plans
        ],
    )
    if made.book:
        check_books(work, [made.book])
    return Service(id=service, **values)


def change_plan(work: Connection, service: int, plan: str, day: date, words: Words = ANY_WORDS) -> None:
    """Let a service have another plan from a day on. Raises CustomerFault."""
    row = _lives(work, service, day)
    _check_word(row, plan, words)
    last = work.execute(
        select(service_plans)
        .where(service_plans.c.service == service, service_plans.c.role == "plan", _runs)
        .order_by(service_plans.c.since.desc())
        .limit(1)
    ).one()
    if last.plan == plan:
        return
    if day < last.since:
        raise conflict("day", f"its plan is decided from {last.since} on", "date the change then or later")
    check_unbilled(work, [row.billing_account], day)
    _begin_plan(work, service, plan, "plan", day, last.until)
    work.execute(service_plans.update().where(service_plans.c.id == last.id).values(until=day))
    work.execute(services.update().where(services.c.id == service).values(plan=plan))


def add_option(work: Connection, service: int, plan: str, day: date, words: Words = ANY_WORDS) -> None:
    """Let a service have an option beside its plan from a day on. Raises CustomerFault."""
    row = _lives(work, service, day)
    _check_word(row, plan, words)
    check_unbilled(work, [row.billing_account], day)
    its = (service_plans.c.service == service, service_plans.c.plan == plan)
    later = select(service_plans.c.since, service_plans.c.until).where(
        *its, _runs, or_(service_plans.c.until.is_(None), service_plans.c.until > day)
    )
    found = work.execute(later.order_by(service_plans.c.since).limit(1)).one_or_none()
    if found is not None:
        if found.since <= day and found.until == row.until:
            return
        raise conflict(
            "plan",
            f"the service has it from {found.since} on already",
            "date the option after that, or leave it",
        )
    _begin_plan(work, service, plan, "option", day, row.until)


def end_option(work: Connection, service: int, plan: str, day: date) -> None:
    """Let a service have an option no more from a day on. Raises CustomerFault."""
    row = _lives(work, service, day)
    its = (
        service_plans.c.service == service,
        service_plans.c.plan == plan,
        service_plans.c.role == "option",
        _runs,
    )
    found = work.execute(
        select(service_plans).where(*its, or_(service_plans.c.until.is_(None), service_plans.c.until >= day))
    ).first()
    if found is None:
        raise missing("plan", "the service has no such option on that day", "name an option that it has")
    if day < found.since:
        raise wrong("day", f"the option begins on {found.since}", "date its end then or later")
    check_unbilled(work, [row.billing_account], day)
    work.execute(service_plans.update().where(service_plans.c.id == found.id).values(until=day))


def name_payer(work: Connection, service: int, payer: int | None, day: date) -> None:
    """Let a billing account pay for a service from a day on; None: the nearest one upwards again. Raises CustomerFault."""
    row = _lives(work, service, day)
    pieces: list[tuple[date, int | None]] = [(day, payer)]
    if payer is None:
        pieces = nearest(work, row.party, day)
    else:
        check_open(held_account(work, payer), day)
    for each, account in pieces:
        place(work, service, each, billing_account=account)
    work.execute(services.update().where(services.c.id == service).values(payer_named=payer is not None))
    if row.book:
        check_books(work, [row.book])


def move_service(work: Connection, service: int, party: int, day: date) -> None:
    """Let another party hold a service from a day on: its payer is then the nearest of that party, unless one is named. CustomerFault."""
    before = _service(work, service)
    branches.held_tops(work, [before.party, party])
    row = _lives(work, service, day)
    if row.party != before.party:
        raise conflict(f"service {service}", "it is being moved", "ask again")
    _check_holder(work, party)
    pieces = [(day, row.billing_account)] if row.payer_named else nearest(work, party, day)
    for each, account in pieces:
        place(work, service, each, party=party, billing_account=account)
    if row.book:
        check_books(work, [row.book])


def bar(work: Connection, service: int, barred: str, reason: str, day: date, at_ms: int) -> bool:
    """Note what a service is barred for (none, outgoing, all) from an instant on, ``day`` in the operator's zone; whether that is new.

    The charging server is told by who decides it (dunning, care). Raises CustomerFault.
    """
    if barred not in BARRED:
        raise wrong("barred", "unknown word", f"write {' or '.join(BARRED)}")
    if not 0 < len(reason) <= 64:
        raise wrong("reason", "a barring has its reason", "write 1 to 64 characters")
    row = _held(work, service)
    if row.barred == barred:
        return False
    last = work.execute(select(func.max(barrings.c.at_ms)).where(barrings.c.service == service)).scalar()
    if last is not None and at_ms < last:
        raise conflict(
            f"service {service}", "a later change of its barring is known", "ask with the present time"
        )
    work.execute(
        barrings.insert(),
        [{"service": service, "barred": barred, "reason": reason, "since": day, "at_ms": at_ms}],
    )
    work.execute(services.update().where(services.c.id == service).values(barred=barred))
    return True


def change_limit(work: Connection, service: int, limit_micros: int) -> None:
    """Change the credit limit that a service has; the charging server is told by who decides it. Raises CustomerFault."""
    if limit_micros < 0:
        raise wrong("credit_limit_micros", "it is negative", "a limit of 50.00 is 50000000")
    _held(work, service)
    work.execute(services.update().where(services.c.id == service).values(credit_limit_micros=limit_micros))


def end_service(work: Connection, service: int, day: date) -> None:
    """Let a service be held no more from a day on, with all its plans. Raises CustomerFault."""
    row = _held(work, service)
    where = f"service {service}"
    if row.until is not None:
        if row.until == day:
            return
        raise conflict(where, f"it ends on {row.until} already", "leave it so")
    if day <= row.since:
        raise wrong(
            "until", f"it begins on {row.since}", "date its end later: a service is held for one day at least"
        )
    check_unbilled(work, [row.billing_account], day)
    for table in (holdings, service_plans):
        begun = select(func.max(table.c.since)).where(table.c.service == service)
        if table is service_plans:
            begun = begun.where(_runs)
        if (last := work.execute(begun).scalar_one()) >= day:
            raise conflict(where, f"a change of it is decided for {last}", "date its end after that")
        open_rows = (table.c.service == service, or_(table.c.until.is_(None), table.c.until > day))
        work.execute(table.update().where(*open_rows).values(until=day))
    work.execute(services.update().where(services.c.id == service).values(until=day))


_runs = or_(service_plans.c.until.is_(None), service_plans.c.until > service_plans.c.since)
"""Rows of plans that held for a day at least."""


def _service(work: Connection, service: int) -> Row[Any]:
    row = work.execute(select(services).where(services.c.id == service)).one_or_none()
    if row is None:
        raise missing(f"service {service}")
    return row


def _held(work: Connection, service: int) -> Row[Any]:
    """Lock a service behind the top of its holder's tree, and return it."""
    branches.held_tops(work, [_service(work, service).party])
    return work.execute(locked(select(services).where(services.c.id == service))).one()


def _lives(work: Connection, service: int, day: date) -> Row[Any]:
    """Lock a service that is held on a day."""
    row = _held(work, service)
    if day < row.since:
        raise wrong("day", f"the service begins on {row.since}", "date the change then or later")
    if row.until is not None and day >= row.until:
        raise conflict(f"service {service}", f"it ends on {row.until}", "date the change before")
    return row


def _check_word(row: Row[Any], plan: str, words: Words) -> None:
    checked(NewService(row.party, plan, row.since), words)


def _check_holder(work: Connection, party: int) -> None:
    ended = work.execute(select(parties.c.until_ms).where(parties.c.id == party)).scalar_one()
    if ended is not None:
        raise conflict("party", f"party {party} has ended", "name one that has not")


def _check_number(work: Connection, made: NewService) -> None:
    if not made.number:
        return
    others = select(services.c.id, services.c.since, services.c.until).where(
        services.c.number == made.number, or_(services.c.until.is_(None), services.c.until > made.since)
    )
    for row in work.execute(others.order_by(services.c.since).limit(1)):
        until = f" until {row.until}" if row.until else ""
        raise conflict(
            "number",
            f"service {row.id} has it from {row.since}{until}",
            "end that service first, or begin when it ends",
        )


def _begin_plan(work: Connection, service: int, plan: str, role: str, day: date, until: date | None) -> None:
    """Begin a plan on a day; one that began and ended on that very day is taken up again, so that its rent has one key."""
    its = (service_plans.c.service == service, service_plans.c.plan == plan, service_plans.c.since == day)
    again: Sequence[Any] = work.execute(select(service_plans.c.id).where(*its)).all()
    if again:
        work.execute(service_plans.update().where(*its).values(until=until, role=role))
        return
    work.execute(
        service_plans.insert(),
        [{"service": service, "plan": plan, "role": role, "since": day, "until": until}],
    )
