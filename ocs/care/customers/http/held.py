"""Services held, at /customers/v1/services: who holds which number on which plan, who pays for it, and since when.

Laws
1. Days are half open: until is the first day on which something is not so any more. A change is from ``day`` on, today where none is named.
2. A request that changes several things changes all of them or none.
3. ``payer`` is a billing account's number; without one the nearest account upwards pays.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy import Connection, Row, or_, select

from ocs.care.customers import reading, service_desk
from ocs.care.customers.http.ground import (
    ONE,
    READ,
    WRITE,
    Ground,
    Key,
    Name,
    begin,
    key_of,
    looking,
    made_once,
    working,
)
from ocs.care.customers.shapes import NewService, missing, wrong
from ocs.care.customers.tables import billing_accounts, service_plans, services
from ocs.http.access import Caller
from ocs.http.audit_log import Change
from ocs.http.exact_answer import ExactAnswer
from ocs.http.problems import faults_of
from ocs.limits import CUSTOMERS_AT_ONCE
from ocs.money import format_amount, parse_amount

BASE: Final = "/customers/v1/services"
_Text = Annotated[str, Field(max_length=256)]
_Options = Annotated[list[_Text], Field(max_length=64)]


class ServiceNew(BaseModel):
    """A service that a party is to hold, from today on where no day is named."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    party: StrictInt
    plan: _Text
    since: date | None = None
    kind: _Text = "mobile"
    mode: _Text = "postpaid"
    number: _Text = ""
    book: _Text = ""
    subscriber: _Text = ""
    payer: _Text | None = None
    options: _Options = Field(default_factory=list)
    credit_limit: _Text = "0.00"


class ServiceChange(BaseModel):
    """What is to be otherwise with a service from a day on; ``payer`` "" is the nearest account again, ``until`` ends the service."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    day: date | None = None
    plan: _Text | None = None
    payer: _Text | None = None
    party: StrictInt | None = None
    add_options: _Options = Field(default_factory=list)
    end_options: _Options = Field(default_factory=list)
    credit_limit: _Text | None = None
    until: date | None = None


class PlanShown(BaseModel):
    """A plan or an option that a service has had."""

    plan: str
    role: str
    since: str
    until: str | None


class ServiceShown(BaseModel):
    """A service held."""

    id: int
    party: int
    payer: str | None
    payer_named: bool
    kind: str
    mode: str
    number: str
    book: str
    subscriber: str
    plan: str
    since: str
    until: str | None
    barred: str
    credit_limit: str
    plans: list[PlanShown]


class ServicesShown(BaseModel):
    """A page of services; ``next`` is what to ask ``after`` for the next one, None at the end."""

    services: list[ServiceShown]
    next: int | None


def router(ground: Ground) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(prefix=BASE, tags=["services held"], responses=faults_of(401, 403, 404, 409))
    _seen(routes, ground)
    _changed(routes, ground)
    return routes


def _seen(routes: APIRouter, ground: Ground) -> None:
    reads = ground.access.route(READ)

    @routes.get("", summary="List services held", response_model=ServicesShown)
    def list_services(
        party: Annotated[int | None, Query(ge=1, le=10**15, description="Who holds them.")] = None,
        payer: Annotated[
            str | None, Query(max_length=20, description="The billing account that pays for them.")
        ] = None,
        number: Annotated[
            str | None, Query(max_length=20, description="Their number, E.164 without a plus.")
        ] = None,
        after: Annotated[int, Query(ge=0, le=10**15, description="Behind which one.")] = 0,
        limit: Annotated[int, Query(ge=1, le=CUSTOMERS_AT_ONCE, description="How many.")] = 100,
        _caller: Caller = reads,
    ) -> ExactAnswer:
        """List services, ended ones too, page by page."""
        with looking(ground) as look:
            asked = select(services).where(services.c.id > after).order_by(services.c.id).limit(limit)
            if party is not None:
                asked = asked.where(services.c.party == party)
            if payer is not None:
                asked = asked.where(services.c.billing_account == _payer(look, payer))
            if number is not None:
                asked = asked.where(services.c.number == number)
            rows = look.execute(asked).all()
            return ExactAnswer(
                {"services": _described(look, rows), "next": rows[-1].id if len(rows) == limit else None}
            )

    @routes.get(ONE, summary="Show a service held", response_model=ServiceShown)
    def show_service(name: Name, _caller: Caller = reads) -> ExactAnswer:
        """Show one service, with its plans."""
        with looking(ground) as look:
            return ExactAnswer(_one(look, key_of(name, "service")))


def _changed(routes: APIRouter, ground: Ground) -> None:
    writes = ground.access.change(WRITE)

    @routes.post("", summary="Let a party hold a service", status_code=201, response_model=ServiceShown)
    def create_service(asked: ServiceNew, key: Key = None, change: Change = writes) -> ExactAnswer:
        """Let a party hold a service, once by the channel's own id."""
        begin(change, "service.create")
        with working(ground, wrong=422, missing=422) as work:
            new = NewService(
                asked.party, asked.plan, asked.since or ground.today(), asked.kind, asked.mode, asked.number, asked.book, asked.subscriber,
                None if asked.payer is None else _payer(work, asked.payer), tuple(asked.options), _limit(asked.credit_limit),
            )  # fmt: skip
            made = made_once(
                ground, work, change, key, asked.model_dump(mode="json"), "service",
                lambda: service_desk.create_service(work, new, ground.words).id,
            )  # fmt: skip
            return ExactAnswer(_one(work, made), 201, {"Location": f"{BASE}/{made}"})

    @routes.patch(ONE, summary="Change a service held", response_model=ServiceShown)
    def change_service(name: Name, asked: ServiceChange, change: Change = writes) -> ExactAnswer:
        """Change plan, options, payer or holder from a day on, or end the service (law 2)."""
        key = key_of(name, "service")
        begin(change, "service.change", f"service {key}")
        with working(ground, wrong=422) as work:
            _change(work, ground, key, asked)
            return ExactAnswer(_one(work, key))


def _change(work: Connection, ground: Ground, key: int, asked: ServiceChange) -> None:
    if not asked.model_fields_set - {"day"}:
        raise wrong("body", "it changes nothing", "name what is to be otherwise")
    day = asked.day or ground.today()
    if asked.party is not None:
        service_desk.move_service(work, key, asked.party, day)
    if asked.payer is not None:
        service_desk.name_payer(work, key, _payer(work, asked.payer) if asked.payer else None, day)
    if asked.plan is not None:
        service_desk.change_plan(work, key, asked.plan, day, ground.words)
    for each in asked.end_options:
        service_desk.end_option(work, key, each, day)
    for each in asked.add_options:
        service_desk.add_option(work, key, each, day, ground.words)
    if asked.credit_limit is not None:
        service_desk.change_limit(work, key, _limit(asked.credit_limit))
    if asked.until is not None:
        service_desk.end_service(work, key, asked.until)


def _limit(text: str) -> int:
    try:
        return parse_amount(text)
    except ValueError:
        raise wrong("credit_limit", "no amount", "write such as 50.00") from None


def _payer(look: Connection, number: str) -> int:
    found = look.execute(
        select(billing_accounts.c.id).where(billing_accounts.c.number == number)
    ).scalar_one_or_none()
    if found is None:
        raise missing("payer", "no billing account has this number")
    return int(found)


def _one(look: Connection, key: int) -> dict[str, Any]:
    rows = look.execute(select(services).where(services.c.id == key)).all()
    if not rows:
        raise missing("service", "none has this id")
    return _described(look, rows)[0]


def _described(look: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    payers = reading.numbers_of(
        look, [row.billing_account for row in rows if row.billing_account is not None]
    )
    plans: dict[int, list[dict[str, Any]]] = {}
    asked = select(service_plans).where(
        service_plans.c.service.in_([row.id for row in rows]),
        or_(service_plans.c.until.is_(None), service_plans.c.until > service_plans.c.since),
    )
    for each in look.execute(asked.order_by(service_plans.c.since, service_plans.c.id)):
        said = {
            "plan": each.plan,
            "role": each.role,
            "since": each.since.isoformat(),
            "until": _day(each.until),
        }
        plans.setdefault(each.service, []).append(said)
    return [
        {
            "id": row.id, "party": row.party, "payer": payers.get(row.billing_account), "payer_named": row.payer_named, "kind": row.kind,
            "mode": row.mode, "number": row.number, "book": row.book, "subscriber": row.subscriber, "plan": row.plan,
            "since": row.since.isoformat(), "until": _day(row.until), "barred": row.barred,
            "credit_limit": format_amount(row.credit_limit_micros), "plans": plans.get(row.id, []),
        }
        for row in rows
    ]  # fmt: skip


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
