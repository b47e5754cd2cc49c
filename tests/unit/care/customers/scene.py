"""A company with branches, and what tests do with it."""

from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine

from ocs.care.customers import desk, service_desk
from ocs.care.customers.shapes import (
    BillingAccount,
    CustomerFault,
    NewAccount,
    NewCustomer,
    NewOrganisation,
    NewPerson,
    NewService,
)
from ocs.sql import writing

DAY = date(2026, 3, 1)
LATER = date(2026, 4, 10)


class Period(NamedTuple):
    """A period as the bridge hands it down."""

    first: date
    next: date


class Company(NamedTuple):
    """A company, its two branches, a department below the first; the company has the one account."""

    top: int
    north: int
    south: int
    lab: int
    customer: int
    account: BillingAccount


def company(database: Engine) -> Company:
    """Make one."""
    with writing(database) as work:
        top = desk.create_party(
            work, NewOrganisation("Klein AG", email="bills@example.org", vat_id="DE123456789"), 1
        )
        north = desk.create_party(work, NewOrganisation("North", top, email="north@example.org"), 1)
        south = desk.create_party(work, NewOrganisation("South", top, email="south@example.org"), 1)
        lab = desk.create_party(work, NewOrganisation("Lab", north), 1)
        customer = desk.create_customer(work, NewCustomer(top, "business"), 1)
        account = desk.open_account(work, NewAccount(customer.id, DAY))
    return Company(top, north, south, lab, customer.id, account)


def person(database: Engine) -> BillingAccount:
    """Make a consumer with an account."""
    with writing(database) as work:
        party = desk.create_party(work, NewPerson("Ada", "Klein", email="ada@example.org"), 1)
        customer = desk.create_customer(work, NewCustomer(party, "consumer"), 1)
        return desk.open_account(work, NewAccount(customer.id, DAY))


def service_of(database: Engine, party: int, **more: Any) -> int:
    """Let a party hold a service."""
    with writing(database) as work:
        return service_desk.create_service(work, NewService(party, "smart-m", DAY)._replace(**more)).id


def done(database: Engine, do: Callable[[Connection], Any]) -> Any:
    """Do something in a unit of work of its own."""
    with writing(database) as work:
        return do(work)


def refused(database: Engine, what: str, do: Callable[[Connection], Any]) -> None:
    """See a unit of work refused, with a fault that matches."""
    with pytest.raises(CustomerFault, match=what), writing(database) as work:
        do(work)
