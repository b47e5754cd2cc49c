"""Random changes of a company, on both databases: what is kept of who pays is what the tree says, on each day as it was then."""

import random
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine, select

from ocs.care.customers import desk, reading, tree
from ocs.care.customers.shapes import CustomerFault, NewAccount, NewOrganisation
from ocs.care.customers.tables import billing_accounts, holdings, parties, services
from ocs.sql import reading as looking
from ocs.sql import writing
from tests.unit.care.customers.scene import DAY, company, service_of

pytestmark = pytest.mark.long

CHANGES = 25


def said(database: Engine) -> dict[int, int | None]:
    """Who pays for each service as the tree and its open accounts say it now, by the pure rule."""
    with looking(database) as look:
        parents: dict[int, int | None] = {row.id: row.parent for row in look.execute(select(parties))}
        accounts: dict[int, int] = {}
        opened = (
            select(billing_accounts)
            .where(billing_accounts.c.status == "active")
            .order_by(billing_accounts.c.id)
        )
        for row in look.execute(opened):
            accounts.setdefault(row.party, row.id)
        return {row.id: tree.payer_of(parents, accounts, row.party) for row in look.execute(select(services))}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_who_pays_is_kept_as_the_tree_said_it_on_each_day(database: Engine, seed: int) -> None:
    chance = random.Random(seed)
    firm = company(database)
    nodes = [firm.top, firm.north, firm.south, firm.lab]
    with writing(database) as work:
        for name in "abcd":
            nodes.append(desk.create_party(work, NewOrganisation(name, chance.choice(nodes)), 1))
    for node in nodes[1:]:
        service_of(database, node)
    past: dict[date, dict[int, int | None]] = {}
    done = 0
    for turn in range(1, CHANGES + 1):
        day = DAY + timedelta(days=turn)
        try:
            with writing(database) as work:
                kind = chance.randrange(4)
                if kind == 0:
                    desk.open_account(
                        work, NewAccount(firm.customer, day, chance.choice(nodes), delivery="post")
                    )
                elif kind == 1:
                    ids = (
                        work.execute(
                            select(billing_accounts.c.id).where(billing_accounts.c.status == "active")
                        )
                        .scalars()
                        .all()
                    )
                    desk.end_account(work, chance.choice(ids), day)
                else:
                    desk.move_branch(work, chance.choice(nodes), chance.choice(nodes), day)
            done += 1
        except CustomerFault:
            pass  # a circle, or a last payer: nothing was changed, and what is kept says so below
        past[day] = said(database)
    assert done > CHANGES // 4
    with looking(database) as look:
        for day, payers in past.items():
            assert {service: reading.payer_of(look, service, day) for service in payers} == payers
        for service in past[day]:
            pieces = look.execute(
                select(holdings).where(holdings.c.service == service).order_by(holdings.c.since)
            ).all()
            assert [piece.until for piece in pieces] == [*(piece.since for piece in pieces[1:]), None]
