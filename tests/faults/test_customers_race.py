"""Many at once, on both databases: no number twice, no circle, no service without a payer, no book with two."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from ocs.care.customers import desk, service_desk, tree
from ocs.care.customers.once import Asked, once
from ocs.care.customers.shapes import (
    CustomerFault,
    NewAccount,
    NewCustomer,
    NewOrganisation,
    NewPerson,
    NewService,
)
from ocs.care.customers.tables import billing_accounts, customers, holdings, parties, services
from ocs.sql import reading, writing
from tests.unit.care.customers.scene import DAY, LATER, company, person, service_of

pytestmark = pytest.mark.long

THREADS = 6


def at_once(do: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do things at once; what each gave, or the CustomerFault that it met. Any other fault is the test's."""
    gate = threading.Barrier(len(do))

    def run(each: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return each()
        except CustomerFault as fault:
            return fault

    with ThreadPoolExecutor(len(do)) as threads:
        return list(threads.map(run, do))


def test_customers_and_accounts_made_at_once_have_numbers_of_their_own(database: Engine) -> None:
    def make() -> None:
        for _ in range(5):
            with writing(database) as work:
                party = desk.create_party(work, NewPerson("Ada", "Klein"), 1)
                customer = desk.create_customer(work, NewCustomer(party, "consumer"), 1)
                desk.open_account(work, NewAccount(customer.id, DAY, delivery="post"))

    at_once([make] * THREADS)
    with reading(database) as look:
        for table in (customers, billing_accounts):
            numbers = look.execute(select(table.c.number)).scalars().all()
            assert len(set(numbers)) == len(numbers) == 5 * THREADS


def test_one_id_of_a_channel_makes_one_thing_whoever_repeats_it_at_once(database: Engine) -> None:
    def make() -> int:
        with writing(database) as work:
            asked = Asked("shop", "order-1", "party", {"name": "Ada"}, 1)
            return once(work, asked, lambda: desk.create_party(work, NewPerson("Ada", "Klein"), 1))[0]

    assert len(set(at_once([make] * THREADS))) == 1
    with reading(database) as look:
        assert len(look.execute(select(parties.c.id)).all()) == 1


@pytest.mark.parametrize("held", [{"number": "491701"}, {"book": "b1"}], ids=["number", "book"])
def test_a_number_or_a_book_asked_for_by_many_at_once_goes_to_one_again_and_again(
    database: Engine, held: dict[str, Any]
) -> None:
    accounts = [person(database) for _ in range(THREADS)]

    def ask(party: int, day: date) -> Callable[[], int]:
        def make() -> int:
            with writing(database) as work:
                return service_desk.create_service(
                    work, NewService(party, "smart-m", day)._replace(**held)
                ).id

        return make

    for turn in range(6):
        day = DAY + timedelta(days=2 * turn)
        found = at_once([ask(each.party, day) for each in accounts])
        assert Counter(type(each) for each in found) == {int: 1, CustomerFault: THREADS - 1}
        with writing(database) as work:  # it is free for another one
            service_desk.end_service(
                work, next(each for each in found if isinstance(each, int)), day + timedelta(days=1)
            )


def test_branches_moved_below_each_other_at_once_make_no_circle(database: Engine) -> None:
    for _ in range(5):
        firm = company(database)

        def move(node: int, to: int) -> Callable[[], None]:
            def do() -> None:
                with writing(database) as work:
                    desk.move_branch(work, node, to, DAY)

            return do

        pairs = [
            (firm.north, firm.south),
            (firm.south, firm.north),
            (firm.south, firm.lab),
            (firm.lab, firm.south),
        ]
        at_once([move(*pair) for pair in pairs])
        with reading(database) as look:
            parents: dict[int, int | None] = {
                row.id: row.parent for row in look.execute(select(parties.c.id, parties.c.parent))
            }
        assert all(tree.path(parents, each)[-1] for each in parents)


def test_services_and_accounts_made_at_once_agree_on_who_pays(database: Engine) -> None:
    firm = company(database)

    def hold() -> None:
        for _ in range(4):
            service_of(database, firm.lab, since=LATER)

    def change() -> None:
        with writing(database) as work:
            desk.open_account(work, NewAccount(firm.customer, DAY, firm.north))
        with writing(database) as work:
            desk.move_branch(work, firm.lab, firm.south, LATER + timedelta(days=1))

    at_once([hold, hold, change])
    with reading(database) as look:
        rows = look.execute(select(services)).all()
        assert {(row.party, row.billing_account) for row in rows} == {
            (firm.lab, firm.account.id)
        }  # south has no account
        pieces = look.execute(select(holdings).order_by(holdings.c.service, holdings.c.since)).all()
        north = look.execute(
            select(billing_accounts.c.id).where(billing_accounts.c.party == firm.north)
        ).scalar_one()
    moved = LATER + timedelta(days=1)
    for service in {row.id for row in rows}:
        own = [piece for piece in pieces if piece.service == service]
        assert (own[-1].billing_account, own[-1].until) == (firm.account.id, None)
        assert [piece.until for piece in own[:-1]] == [piece.since for piece in own[1:]]
        assert all(piece.billing_account in {north, firm.account.id} for piece in own)
        assert date(2026, 4, 10) == own[0].since <= own[-1].since <= moved


def test_an_account_that_ends_while_a_service_names_it_pays_or_refuses(database: Engine) -> None:
    for _ in range(5):
        ada, firm = person(database), company(database)

        def name(party: int = firm.lab, payer: int = ada.id) -> int:
            return service_of(database, party, payer=payer)

        def end(account: int = ada.id) -> None:
            with writing(database) as work:
                desk.end_account(work, account, LATER)

        found = at_once([name, end])
        assert [isinstance(each, CustomerFault) for each in found].count(True) == 1


def test_branches_created_while_their_tree_moves_are_never_too_deep(database: Engine) -> None:
    firm = company(database)
    with writing(database) as work:
        deep = firm.south
        for level in range(4):
            deep = desk.create_party(work, NewOrganisation(str(level), deep), 1)

    def grow() -> None:
        below = firm.lab
        for level in range(4):
            with writing(database) as work:
                below = desk.create_party(work, NewOrganisation(f"new {level}", below), 1)

    def move() -> None:
        with writing(database) as work:
            desk.move_branch(work, firm.north, deep, DAY)

    at_once([grow, move])
    with reading(database) as look:
        parents: dict[int, int | None] = {
            row.id: row.parent for row in look.execute(select(parties.c.id, parties.c.parent))
        }
    assert max(len(tree.path(parents, each)) for each in parents) <= 8
