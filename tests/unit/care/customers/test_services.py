"""Services on both databases: who holds and pays by day, plans and options, barring, numbers and books; and each refusal."""

from datetime import date, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, select

from ocs.care.customers import desk, reading, service_desk
from ocs.care.customers.shapes import HeldPlan, NewAccount, NewOrganisation, NewService, Words
from ocs.care.customers.tables import holdings, services
from ocs.sql import reading as looking
from ocs.sql import writing
from tests.unit.care.customers.scene import DAY, LATER, Period, company, done, person, refused, service_of

MARCH = Period(DAY, date(2026, 4, 1))
APRIL = Period(date(2026, 4, 1), date(2026, 5, 1))
MAY_5 = date(2026, 5, 5)


def payers(database: Engine, service: int, *days: date) -> list[int | None]:
    with looking(database) as look:
        return [reading.payer_of(look, service, day) for day in days]


def test_a_service_is_paid_by_the_nearest_account_upwards(database: Engine) -> None:
    firm = company(database)
    service = service_of(database, firm.lab)
    assert payers(database, service, DAY, LATER) == [firm.account.id, firm.account.id]
    north = done(database, lambda work: desk.open_account(work, NewAccount(firm.customer, LATER, firm.north)))
    assert payers(database, service, DAY, LATER - timedelta(days=1), LATER) == [
        firm.account.id,
        firm.account.id,
        north.id,
    ]
    done(database, lambda work: desk.end_account(work, north.id, MAY_5))
    assert payers(database, service, LATER, MAY_5) == [north.id, firm.account.id]


def test_a_branch_that_moves_takes_its_services_to_another_payer_from_that_day_on(database: Engine) -> None:
    firm = company(database)
    south = done(database, lambda work: desk.open_account(work, NewAccount(firm.customer, DAY, firm.south)))
    service, named = service_of(database, firm.lab), service_of(database, firm.lab, payer=firm.account.id)
    assert done(database, lambda work: desk.move_branch(work, firm.lab, firm.south, LATER)) == [service]
    assert payers(database, service, LATER - timedelta(days=1), LATER) == [firm.account.id, south.id]
    assert payers(database, named, LATER) == [firm.account.id]
    refused(
        database, f"service {service}: who holds and pays it is decided from 2026-04-10 on",
        lambda work: desk.move_branch(work, firm.lab, firm.north, DAY),
    )  # fmt: skip
    refused(
        database,
        f"service {service}: nobody would pay",
        lambda work: desk.move_branch(work, firm.lab, None, MAY_5),
    )


def test_an_account_that_begins_later_pays_from_then_on_for_what_was_there_before(database: Engine) -> None:
    firm = company(database)
    north = done(database, lambda work: desk.open_account(work, NewAccount(firm.customer, LATER, firm.north)))
    service = service_of(database, firm.lab)
    assert payers(database, service, DAY, LATER) == [firm.account.id, north.id]
    young = service_of(database, firm.lab, since=MAY_5)
    assert payers(database, young, LATER, MAY_5) == [None, north.id]


def test_a_service_may_name_its_payer_and_go_back_to_the_nearest(database: Engine) -> None:
    firm, ada = company(database), person(database)
    service = service_of(database, firm.lab)
    done(database, lambda work: service_desk.name_payer(work, service, ada.id, LATER))
    assert payers(database, service, DAY, LATER) == [firm.account.id, ada.id]
    refused(
        database,
        "billing account A10000024: it pays for service",
        lambda work: desk.end_account(work, ada.id, MAY_5),
    )
    done(database, lambda work: service_desk.name_payer(work, service, None, MAY_5))
    assert payers(database, service, LATER, MAY_5) == [ada.id, firm.account.id]
    done(database, lambda work: desk.end_account(work, ada.id, MAY_5))
    refused(
        database,
        "payer: billing account .* is closing",
        lambda work: service_desk.name_payer(work, service, ada.id, MAY_5),
    )
    refused(
        database,
        "billing account 999: there is none",
        lambda work: service_desk.name_payer(work, service, 999, MAY_5),
    )


def test_a_service_may_move_to_another_party(database: Engine) -> None:
    firm, ada = company(database), person(database)
    service = service_of(database, firm.lab, number="491701")
    done(database, lambda work: service_desk.move_service(work, service, ada.party, LATER))
    with looking(database) as look:
        found = [reading.held_by_number(look, "491701", day) for day in (DAY, LATER, date(2026, 2, 1))]
    assert [each and (each.party, each.billing_account) for each in found] == [
        (firm.lab, firm.account.id), (ada.party, ada.id), None,
    ]  # fmt: skip


def test_who_pays_nothing_may_hold_prepaid_services_alone(database: Engine) -> None:
    firm = company(database)
    lone = done(database, lambda work: desk.create_party(work, NewOrganisation("Alone"), 1))
    service = service_of(database, lone, mode="prepaid")
    assert payers(database, service, DAY) == [None]
    for mode in ("postpaid", "hybrid"):
        refused(
            database, "payer: no billing account is at the party or above it",
            partial(service_desk.create_service, asked=NewService(lone, "smart-m", DAY, mode=mode)),
        )  # fmt: skip
    done(database, lambda work: desk.move_branch(work, lone, firm.top, LATER))
    assert payers(database, service, DAY, LATER) == [None, firm.account.id]


def test_a_number_belongs_to_one_service_at_a_time(database: Engine) -> None:
    ada, firm = person(database), company(database)
    first = service_of(database, ada.party, number="491701")
    again = NewService(firm.lab, "smart-m", LATER, number="+491701")
    refused(
        database,
        f"number: service {first} has it from 2026-03-01;",
        lambda work: service_desk.create_service(work, again),
    )
    done(database, lambda work: service_desk.end_service(work, first, MAY_5))
    refused(
        database,
        f"number: service {first} has it from 2026-03-01 until 2026-05-05",
        lambda work: service_desk.create_service(work, again),
    )
    second = service_of(database, firm.lab, number="491701", since=MAY_5)
    with looking(database) as look:
        found = reading.holdings_of_numbers(look, ["491701", "49999"])
    assert [(each.service, each.since, each.until) for each in found["491701"]] == [
        (first, DAY, MAY_5),
        (second, MAY_5, None),
    ]


def test_a_book_has_one_payer_at_a_time(database: Engine) -> None:
    ada, firm = person(database), company(database)
    first = service_of(database, firm.lab, book="b1")
    second = service_of(database, firm.north, book="b1")
    other = NewService(ada.party, "smart-m", DAY, book="b1")
    refused(
        database, "it shares its book with service", lambda work: service_desk.create_service(work, other)
    )
    refused(
        database,
        "it shares its book with service",
        lambda work: service_desk.name_payer(work, first, ada.id, LATER),
    )
    refused(
        database, "it shares its book with service",
        lambda work: desk.open_account(work, NewAccount(firm.customer, LATER, firm.lab, delivery="download")),
    )  # fmt: skip
    north = done(database, lambda work: desk.open_account(work, NewAccount(firm.customer, LATER, firm.north)))
    assert payers(database, first, LATER) == payers(database, second, LATER) == [north.id]
    with looking(database) as look:
        pieces = reading.holdings_of_books(look, ["b1", ""])["b1"]
    assert [(each.service, each.billing_account, each.since) for each in pieces] == [
        (first, firm.account.id, DAY), (first, north.id, LATER), (second, firm.account.id, DAY), (second, north.id, LATER),
    ]  # fmt: skip


def test_plans_and_options_are_told_by_day_and_cut_to_who_paid(database: Engine) -> None:
    ada, firm = person(database), company(database)
    service = service_of(database, firm.lab, book="b1", number="491701", options=("day-pass",))
    done(database, lambda work: service_desk.change_plan(work, service, "smart-l", LATER))
    done(database, lambda work: service_desk.end_option(work, service, "day-pass", LATER))
    done(database, lambda work: service_desk.add_option(work, service, "weekend", MAY_5))
    done(database, lambda work: service_desk.name_payer(work, service, ada.id, date(2026, 4, 20)))
    with looking(database) as look:
        assert [reading.plans_on(look, service, day) for day in (DAY, LATER, MAY_5)] == [
            ["smart-m", "day-pass"], ["smart-l"], ["smart-l", "weekend"],
        ]  # fmt: skip
        assert reading.held_plans(look, ada.id, MARCH) == []
        march = reading.held_plans(look, firm.account.id, MARCH)
        april = reading.held_plans_of(look, [firm.account.id, ada.id], APRIL)
    assert [(each.plan, each.since, each.until, each.role) for each in march] == [
        ("smart-m", DAY, LATER, "plan"), ("day-pass", DAY, LATER, "option"),
    ]  # fmt: skip
    large = april[ada.id][0]
    assert large == HeldPlan(
        large.id,
        service,
        "smart-l",
        date(2026, 4, 20),
        None,
        "b1",
        firm.lab,
        LATER,
        "plan",
        "491701",
        "postpaid",
    )
    assert [(each.plan, each.since, each.until) for each in april[firm.account.id]] == [
        ("smart-m", DAY, LATER), ("day-pass", DAY, LATER), ("smart-l", LATER, date(2026, 4, 20)),
    ]  # fmt: skip
    assert [each.id for each in april[firm.account.id]][2] == large.id


def test_a_plan_changed_and_changed_back_on_one_day_is_the_plan_of_before(database: Engine) -> None:
    ada = person(database)
    service = service_of(database, ada.party)
    for plan in ("smart-l", "smart-s", "smart-l"):
        done(database, partial(service_desk.change_plan, service=service, plan=plan, day=LATER))
    with looking(database) as look:
        april = reading.held_plans(look, ada.id, APRIL)
        assert [(each.plan, each.since, each.until) for each in april] == [
            ("smart-m", DAY, LATER),
            ("smart-l", LATER, None),
        ]
        assert reading.plans_on(look, service, LATER) == ["smart-l"]


def test_what_a_service_cannot_have_is_refused(database: Engine) -> None:
    ada = person(database)
    service = service_of(database, ada.party, options=("day-pass",))
    early = date(2026, 2, 1)
    refused(
        database,
        "day: the service begins on 2026-03-01",
        lambda work: service_desk.change_plan(work, service, "smart-l", early),
    )
    refused(
        database,
        "plan: there is none of this key",
        lambda work: service_desk.change_plan(work, service, "x", LATER, Words(plans={"y"})),
    )
    done(database, lambda work: service_desk.change_plan(work, service, "smart-l", LATER))
    refused(
        database,
        "day: its plan is decided from 2026-04-10 on",
        lambda work: service_desk.change_plan(work, service, "smart-s", DAY),
    )
    done(database, lambda work: service_desk.add_option(work, service, "day-pass", LATER))
    done(database, lambda work: service_desk.add_option(work, service, "weekend", LATER))
    refused(
        database,
        "plan: the service has it from 2026-04-10",
        lambda work: service_desk.add_option(work, service, "weekend", DAY),
    )
    refused(
        database,
        "plan: the service has no such option",
        lambda work: service_desk.end_option(work, service, "night", LATER),
    )
    refused(
        database, "until: it begins on 2026-03-01", lambda work: service_desk.end_service(work, service, DAY)
    )
    refused(
        database,
        "a change of it is decided for 2026-04-10",
        lambda work: service_desk.end_service(work, service, LATER),
    )
    done(database, lambda work: service_desk.end_service(work, service, MAY_5))
    refused(
        database,
        f"service {service}: it ends on 2026-05-05",
        lambda work: service_desk.change_plan(work, service, "smart-s", MAY_5),
    )
    refused(
        database, "it ends on 2026-05-05 already", lambda work: service_desk.end_service(work, service, LATER)
    )
    with looking(database) as look:
        assert reading.plans_on(look, service, MAY_5) == []
        assert payers(database, service, MAY_5 - timedelta(days=1), MAY_5) == [ada.id, None]


def test_barring_is_told_by_day(database: Engine) -> None:
    service = service_of(database, person(database).party)
    steps = [("outgoing", LATER, 10), ("all", LATER, 20), ("none", MAY_5, 30)]
    for barred, day, at_ms in steps:
        assert done(
            database,
            partial(service_desk.bar, service=service, barred=barred, reason="dunning", day=day, at_ms=at_ms),
        )
    assert not done(database, lambda work: service_desk.bar(work, service, "none", "dunning", MAY_5, 40))
    with looking(database) as look:
        assert [reading.barred_on(look, service, day) for day in (DAY, LATER, MAY_5)] == [
            "none",
            "all",
            "none",
        ]
        assert reading.service(look, service).barred == "none"
    refused(
        database,
        "barred: unknown word",
        lambda work: service_desk.bar(work, service, "half", "dunning", MAY_5, 50),
    )
    refused(
        database,
        "reason: a barring has its reason",
        lambda work: service_desk.bar(work, service, "all", "", MAY_5, 50),
    )
    refused(
        database, "a later change", lambda work: service_desk.bar(work, service, "all", "dunning", MAY_5, 5)
    )


def test_pieces_of_a_service_follow_each_other_without_a_gap(database: Engine) -> None:
    firm, ada = company(database), person(database)
    service = service_of(database, firm.lab)
    for number, payer in enumerate((ada.id, firm.account.id, None, ada.id)):
        day = DAY + timedelta(days=number)
        done(database, partial(service_desk.name_payer, service=service, payer=payer, day=day))
    done(database, lambda work: service_desk.end_service(work, service, MAY_5))
    with looking(database) as look:
        rows = look.execute(
            select(holdings).where(holdings.c.service == service).order_by(holdings.c.since)
        ).all()
    assert rows[0].since == DAY
    assert [row.until for row in rows] == [*(row.since for row in rows[1:]), MAY_5]


def test_the_nodes_of_a_payer_are_those_that_no_nearer_account_pays_for(database: Engine) -> None:
    firm = company(database)
    with looking(database) as look:
        assert reading.subtree(look, firm.account.id) == [firm.top, firm.north, firm.south, firm.lab]
    north = done(database, lambda work: desk.open_account(work, NewAccount(firm.customer, LATER, firm.north)))
    second = done(
        database, lambda work: desk.open_account(work, NewAccount(firm.customer, LATER, firm.north))
    )
    with looking(database) as look:
        assert reading.subtree(look, firm.account.id) == [firm.top, firm.south]
        assert reading.subtree(look, north.id) == [firm.north, firm.lab]
        assert reading.subtree(look, second.id) == []


def test_a_cycle_bills_its_accounts_page_by_page_and_ended_ones_until_they_are_closed(
    database: Engine,
) -> None:
    made = [person(database) for _ in range(5)]
    with writing(database) as work:
        desk.change_account(work, made[1].id, {"cycle": "monthly-15"})
        desk.end_account(work, made[2].id, LATER)
        desk.close_account(work, made[2].id)
        desk.end_account(work, made[3].id, LATER)
    with looking(database) as look:
        first = reading.payers_of_cycle(look, "monthly-1", APRIL, count=2)
        assert [each.id for each in first] == [made[0].id, made[3].id]
        assert [
            each.id for each in reading.payers_of_cycle(look, "monthly-1", APRIL, after=first[-1].id, count=2)
        ] == [made[4].id]
        assert list(reading.every_payer(look, "monthly-1", APRIL)) == [
            reading.account(look, made[at].id) for at in (0, 3, 4)
        ]
        assert list(reading.every_payer(look, "monthly-1", Period(date(2026, 2, 1), DAY))) == []


@pytest.mark.parametrize("mode", ["postpaid", "hybrid"])
def test_the_database_itself_refuses_a_service_that_nobody_pays(database: Engine, mode: str) -> None:
    service = service_of(database, person(database).party, mode=mode)
    with pytest.raises(Exception, match="ck_service_payer"), writing(database) as work:
        work.execute(services.update().where(services.c.id == service).values(billing_account=None))
