"""Accounts that do not pay, for tests of dunning: the shipped policies, a ground to be judged on, and short words for claims and days."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy import Engine, select, update

from ocs.care.customers.tables import customers, parties, service_plans, services
from ocs.care.customers.tables import holdings as holdings_table
from ocs.settings import config_folder
from ocs.sql import reading, writing
from postpaid_bridge.dunning import rules_de
from postpaid_bridge.dunning.calculate import Facts, Owed
from postpaid_bridge.dunning.decide import Decision, decide
from postpaid_bridge.dunning.policy import (
    LawBook,
    Policies,
    Policy,
    Rates,
    read_law,
    read_policies,
    read_rates,
)
from postpaid_bridge.jobs.dunning import Dunning, Terms
from postpaid_bridge.payments import Received
from postpaid_bridge.sql import dunning as kept
from postpaid_bridge.sql.payments import receive
from tests import bridge_accounts
from tests.bridge_accounts import AT_MS, EURO

FOLDER = config_folder() / "dunning"
LAW: LawBook = read_law((FOLDER / "law-de.yaml").read_text(), "law-de.yaml")
LAWS = {"de": LAW}
RULES = {"de": rules_de.refused}
RATES: Rates = read_rates((FOLDER / "rates.yaml").read_text(), "rates.yaml")
PAGES = {each.name: each.read_text() for each in (FOLDER / "policies").glob("*.yaml")}
POLICIES: Policies = read_policies(PAGES, LAWS, RULES)
TERMS = Terms(POLICIES, LAWS, RATES)
DUE = date(2026, 3, 2)
"""A Monday: when the bills of this scene are due."""


def policy_of(kind: str) -> Policy:
    found = POLICIES.of(kind, "standard")
    assert found is not None
    return found


def owed(euros: float, *, number: int = 1, due: date = DUE, **more: Any) -> Owed:
    """A claim of a bill of its own."""
    issued = due - timedelta(14)
    made = Owed(
        number, f"2026-{number:06d}", f"bill:{number}", "principal", "b1", "", round(euros * EURO), issued, due
    )  # fmt: skip
    return made._replace(**more)


def decided(facts: Facts, day: date, policy: Policy | None = None, rates: Rates = RATES) -> Decision:
    return decide(facts, policy or policy_of(facts.kind), LAW, rates, day)


class Clock:
    """A clock that stands at the scene's instant."""

    def now_ms(self) -> int:
        return AT_MS

    def monotonic_ms(self) -> int:
        return AT_MS


class Scene:
    """One database with accounts, services and what dunning makes of them."""

    def __init__(self, engine: Engine, terms: Terms = TERMS) -> None:
        self.engine = engine
        self.dunning = Dunning(engine, terms, Clock())
        self._bills = 0

    def account(
        self, number: str = "1000001", kind: str = "consumer", books: tuple[str, ...] = ("b1",)
    ) -> int:
        """An account of a kind of customer, with a service for each book."""
        made = bridge_accounts.account(self.engine, number, language="de")
        with writing(self.engine) as work:
            work.execute(update(customers).where(customers.c.number == f"c{number}").values(kind=kind))
            party = work.execute(select(parties.c.id).order_by(parties.c.id.desc()).limit(1)).scalar_one()
            for place, book in enumerate(books):
                row = {
                    "billing_account": made, "party": party, "kind": "mobile", "mode": "postpaid", "number": f"49170{number}{place}",
                    "book": f"{book}-{made}", "subscriber": f"{book}-{made}", "plan": "mobile-m", "since": date(2026, 1, 1),
                }  # fmt: skip
                service = work.execute(services.insert().values(row).returning(services.c.id)).scalar_one()
                days = {"service": service, "since": date(2026, 1, 1)}
                work.execute(holdings_table.insert().values(days | {"party": party, "billing_account": made}))
                work.execute(service_plans.insert().values(days | {"plan": "mobile-m", "role": "plan"}))
        return made

    def bill(self, account: int, euros: float, due: date = DUE, book: str = "b1") -> str:
        self._bills += 1
        parts = ((f"{book}-{account}", "", round(euros * EURO)),)
        return bridge_accounts.bill(
            self.engine, account, 1000 * account + self._bills, parts, day=due - timedelta(14), due=due
        )

    def pay(self, account: int, euros: float, day: date, own_id: str = "") -> None:
        asked = Received(
            provider="bank", own_id=own_id or f"{account}-{day}-{euros}", amount_micros=round(euros * EURO), currency="EUR", day=day,
            method="transfer", billing_account=account,
        )  # fmt: skip
        with writing(self.engine) as work:
            receive(work, asked, AT_MS)

    def run(self, first: date, last: date | None = None) -> dict[date, dict[str, int]]:
        """Dun day by day; what was done on which day."""
        found: dict[date, dict[str, int]] = {}
        day = first
        while day <= (last or first):
            totals = self.dunning.run(day)
            assert totals.failed == {}
            if totals.steps:
                found[day] = totals.steps
            day += timedelta(1)
        return found

    def steps(self, account: int) -> list[tuple[int, int, str, date]]:
        with reading(self.engine) as look:
            c = kept.steps.c
            asked = (
                select(c.case, c.level, c.action, c.day).where(c.billing_account == account).order_by(c.id)
            )
            return [tuple(row) for row in look.execute(asked)]

    def rows(self, table: Any, *where: Any) -> list[Any]:
        with reading(self.engine) as look:
            return list(look.execute(select(table).where(*where).order_by(*table.primary_key.columns)))
