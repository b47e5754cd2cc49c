"""Units of work on customers, on both databases: each change, and each refusal with where, what, and what would be right."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine

from ocs.care.customers import desk, reading, service_desk
from ocs.care.customers.shapes import (
    BillingAccount,
    CustomerFault,
    NewAccount,
    NewCustomer,
    NewPerson,
    NewService,
)
from ocs.sql import reading as looking
from ocs.sql import writing

DAY = date(2026, 3, 1)


def person(database: Engine) -> BillingAccount:
    with writing(database) as work:
        party = desk.create_party(work, NewPerson("Ada", "Klein", email="ada@example.org"), 1)
        customer = desk.create_customer(work, NewCustomer(party, "consumer"), 1)
        return desk.open_account(work, NewAccount(customer.id, DAY))


def service_of(database: Engine, party: int, **more: Any) -> int:
    with writing(database) as work:
        return service_desk.create_service(work, NewService(party, "smart-m", DAY)._replace(**more)).id


def refused(database: Engine, what: str, do: Any) -> None:
    with pytest.raises(CustomerFault, match=what), writing(database) as work:
        do(work)


def test_a_person_with_an_account_holds_a_service_that_it_pays_for(database: Engine) -> None:
    account = person(database)
    service = service_of(database, account.party, number="+491701", book="b1", options=("day-pass",))
    with looking(database) as look:
        assert reading.payer_of(look, service, DAY) == account.id
        assert reading.payer_of(look, service, date(2026, 2, 28)) is None
        assert reading.plans_on(look, service, DAY) == ["smart-m", "day-pass"]
        assert reading.service(look, service).number == "491701"
