"""Dunning day by day: looks at who is due, decides, and takes one step for each account in one unit of work. Restartable.

Laws
1. Chunks of accounts are read and decided together; whoever has a step due is held, read and decided anew, and only then the step is taken:
   who pays in between has paid.
2. Killed anywhere and begun again, the end is the same: a step is taken once (sql/dunning.py, law 1), and nothing else is kept.
3. An account that fails is told with its reason, and the others go on.
4. Barring and lifting go out by the outbox, under an epoch of the service; the charging server follows the newest (ocs/balance/bars.py).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError, OperationalError

from ocs.care.customers import branches
from ocs.care.customers.service_desk import bar as note_bar
from ocs.care.customers.service_desk import end_service
from ocs.care.customers.shapes import CustomerFault
from ocs.care.customers.tables import barrings, services
from ocs.clock import Clock
from ocs.sql import locked, reading, writing
from postpaid_bridge.dunning.calculate import Facts
from postpaid_bridge.dunning.decide import LIFT, Decision, Step, decide
from postpaid_bridge.dunning.letters import letter_facts
from postpaid_bridge.dunning.policy import Action, LawBook, Policies, Policy, Rates
from postpaid_bridge.sql import dunning as kept
from postpaid_bridge.sql.bookings import charge, hold_accounts
from postpaid_bridge.sql.dunning import Payer
from postpaid_bridge.sql.journal import outbox
from postpaid_bridge.sql.receivables import Item, ItemKind

__all__ = ["Dunning", "Found", "Terms", "Totals"]

log = structlog.get_logger(__name__)
ACCOUNTS_AT_ONCE = 500
_REASON = "dunning"


class Terms(NamedTuple):
    """What is dunned by: policies, laws by key, base rates."""

    policies: Policies
    laws: Mapping[str, LawBook]
    rates: Rates


class Found(NamedTuple):
    """What was decided of an account; ``policy`` None: it is not dunned."""

    payer: Payer
    facts: Facts
    policy: Policy | None
    decision: Decision | None


@dataclass
class Totals:
    """What a run has done: accounts looked at, steps by action, accounts that failed and why."""

    looked: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


Tell = Callable[[int, int], None]


class Dunning:
    """Dunning on one database."""

    def __init__(self, engine: Engine, terms: Terms, clock: Clock) -> None:
        self._engine = engine
        self._terms = terms
        self._clock = clock

    # -- look and decide

    def found(
        self, look: Connection, accounts: Sequence[int], day: date, *, as_of: bool = False
    ) -> list[Found]:
        """Decide for accounts at a day, in their order; nothing is done."""
        payers = kept.payers(look, accounts)
        facts = kept.facts_of(look, list(payers.values()), day, as_of=as_of)
        return [self._decided(payers[each], facts[each], day) for each in accounts if each in payers]

    def _decided(self, payer: Payer, facts: Facts, day: date) -> Found:
        policy = self._terms.policies.of(payer.kind, payer.credit_class)
        if policy is None:
            return Found(payer, facts, None, None)
        return Found(
            payer, facts, policy, decide(facts, policy, self._terms.laws[policy.law], self._terms.rates, day)
        )

    def preview(self, day: date) -> list[Found]:
        """Return what a run of a day would do, for whom a step is due (dry run)."""
        found: list[Found] = []
        after = 0
        with reading(self._engine) as look:
            while accounts := kept.due_accounts(look, day, after=after, count=ACCOUNTS_AT_ONCE):
                found += [
                    each for each in self.found(look, accounts, day) if each.decision and each.decision.step
                ]
                after = accounts[-1]
        return found

    # -- run

    def run(self, day: date, tell: Tell = lambda _done, _of: None) -> Totals:
        """Look at every account that is due on a day, and take the steps that are."""
        totals, after = Totals(), 0
        with reading(self._engine) as look:
            of = kept.count_due(look, day)
        while True:
            with reading(self._engine) as look:
                accounts = kept.due_accounts(look, day, after=after, count=ACCOUNTS_AT_ONCE)
                if not accounts:
                    return totals
                seen = kept.last_items(look, accounts)
                found = self.found(look, accounts, day)
            due = [each for each in found if each.decision is not None and each.decision.step is not None]
            for each in due:
                self._stepped(each.payer.id, day, totals)
            acted = {each.payer.id for each in due}
            quiet = [_looked(each, seen[each.payer.id], day) for each in found if each.payer.id not in acted]
            if quiet:
                with writing(self._engine) as work:
                    kept.looked(work, quiet)
            after = accounts[-1]
            totals.looked += len(accounts)
            tell(totals.looked, max(of, totals.looked))

    def relieve(self, day: date) -> Totals:
        """Look at whom dunning has barred and of whom there is news: who has paid is not barred until the next run (TKG section 61(7))."""
        totals = Totals()
        with reading(self._engine) as look:
            accounts = kept.barred_and_news(look)
        for each in accounts:
            totals.looked += 1
            self._stepped(each, day, totals)
        return totals

    def _stepped(self, account: int, day: date, totals: Totals) -> None:
        try:
            step = self.step(account, day)
        except (CustomerFault, IntegrityError, OperationalError, ValueError, RuntimeError) as fault:
            told = str(fault).splitlines()[0][:200]
            totals.failed[account] = told
            log.error("dunning.failed", billing_account=account, why=told)  # noqa: TRY400 - the reason is the message
            return
        if step is not None:
            totals.steps[step.action] = totals.steps.get(step.action, 0) + 1

    # -- one account

    def step(self, account: int, day: date) -> Step | None:
        """Take the step that is due for an account on a day; None: none is. One unit of work. Raises CustomerFault."""
        with writing(self._engine) as work:
            payer = kept.payers(work, [account])[account]
            # care holds the tree's top, then services and payers: the same order
            parties = select(services.c.party).where(services.c.billing_account == account).distinct()
            branches.held_tops(work, list(work.execute(parties).scalars()))
            hold_accounts(work, [account])
            (found,) = self.found(work, [account], day)
            seen = kept.last_items(work, [account]).get(account, 0)
            decision, policy = found.decision, found.policy
            if decision is None or policy is None or decision.step is None:
                kept.looked(work, [_looked(found, seen, day)])
                return None
            _Applied(
                work, payer, found.facts, decision, decision.step, policy, day, self._clock.now_ms()
            ).apply()
            seen = kept.last_items(work, [account]).get(account, 0)
            after = decision.step.level
            row = {
                "billing_account": account,
                "wake": _next_day(day),
                "seen": seen,
                "level": after,
                "looked": day,
            }
            kept.looked(work, [row])
            return decision.step


def _next_day(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1)


def _looked(found: Found, seen: int, day: date) -> dict[str, Any]:
    decision = found.decision
    wake = decision.next_day if decision is not None else None
    if wake is not None and wake <= day:
        wake = _next_day(day)
    level = decision.standing.level if decision is not None else 0
    return {"billing_account": found.payer.id, "wake": wake, "seen": seen, "level": level, "looked": day}


class _Applied:
    """One step of one account, in the unit of work that holds it."""

    def __init__(
        self, work: Connection, payer: Payer, facts: Facts, decision: Decision, step: Step, policy: Policy, day: date, at_ms: int
    ) -> None:  # fmt: skip
        self.work, self.payer, self.facts, self.decision = work, payer, facts, decision
        self.did, self.policy, self.day, self.at_ms = step, policy, day, at_ms

    def apply(self) -> None:
        """Keep the step with all that belongs to it."""
        did = self.did
        reasons: list[tuple[str, str]] = [*did.reasons]
        touched = self._bars()
        if did.action == Action.TERMINATE:
            touched = self._affected()
            reasons += [("service", each) for each in self._end(touched)]
        row = {
            "billing_account": self.payer.id, "case": did.case, "level": did.level, "action": did.action, "day": self.day,
            "until": did.until, "letter": did.letter, "channel": did.channel, "policy": self.policy.key,
            "overdue_micros": self.decision.standing.overdue_micros, "default_micros": self.decision.standing.default_micros,
            "fee_micros": did.fee_micros, "interest_micros": sum(each.micros for each in did.interest),
            "flat_micros": sum(each.micros for each in did.flat_sums), "reasons": kept.reasons_text(reasons), "at_ms": self.at_ms,
        }  # fmt: skip
        made = int(self.work.execute(kept.steps.insert().values(row).returning(kept.steps.c.id)).scalar_one())
        self._claim()
        if did.letter:
            self._letter(made, [each.number for each in touched or self._affected()])

    # -- money

    def _claim(self) -> None:
        account, did = self.payer.id, self.did
        if did.fee_micros:
            oldest = self.decision.standing.overdue[0].claim
            item = Item(
                f"dun:{account}:{did.case}:{did.level}:fee", ItemKind.FEE, did.fee_micros, oldest.book, oldest.debt,
                bill_number=oldest.bill, text=f"{did.letter} of {self.day}",
            )  # fmt: skip
            charge(self.work, account, item, self.day, self.at_ms)
        for flat in did.flat_sums:
            claim = flat.claim.claim
            item = Item(
                kept.flat_key(account, flat.bill), ItemKind.FEE, flat.micros, claim.book, claim.debt, bill_number=flat.bill,
                text="BGB §288(5)",
            )  # fmt: skip
            charge(self.work, account, item, self.day, self.at_ms)
        for each in did.interest:
            claim = each.claim
            item = Item(
                kept.interest_key(account, did.case, did.level, claim.id), ItemKind.INTEREST, each.micros, claim.book, claim.debt,
                bill_number=claim.bill, text=f"BGB §288, to {self.day}",
            )  # fmt: skip
            charge(self.work, account, item, self.day, self.at_ms)

    # -- services

    def _affected(self) -> list[Any]:
        return kept.affected(self.work, self.payer.id, self.decision.standing.books, self.day)

    def _bars(self) -> list[Any]:
        """Bar what is affected, or lift what dunning has barred; the services that were touched."""
        if self.did.action == LIFT:
            mine = (kept.bars.c.billing_account == self.payer.id, kept.bars.c.scope != "")
            there = select(services).join(kept.bars, kept.bars.c.service == services.c.id).where(*mine)
            touched = list(self.work.execute(there.order_by(services.c.id)))
            for each in touched:
                self._command(each, "")
            return touched
        if not self.did.scope:
            return []
        touched = self._affected()
        for each in touched:
            self._command(each, self.did.scope)
        return touched

    def _command(self, service: Any, scope: str) -> None:
        """Tell the charging server by the outbox, under the service's next epoch, and note it with the customer's services."""
        c = kept.bars.c
        before = self.work.execute(locked(select(c.epoch).where(c.service == service.id))).scalar()
        epoch = int(before or 0) + 1
        row = {
            "service": service.id, "billing_account": self.payer.id, "subscriber": service.subscriber, "book": service.book,
            "scope": scope, "epoch": epoch,
        }  # fmt: skip
        if before is None:
            self.work.execute(kept.bars.insert().values(row))
        else:
            self.work.execute(kept.bars.update().where(c.service == service.id).values(row))
        content = {"subscriber": service.subscriber, "scope": scope, "epoch": epoch}
        self.work.execute(
            outbox.insert().values(
                kind="bar" if scope else "unbar", book=service.book, key=f"bar:{service.id}:{epoch}",
                content=json.dumps(content, separators=(",", ":")), made_ms=self.at_ms, due_ms=self.at_ms,
            )
        )  # fmt: skip
        self._note(service, scope)

    def _note(self, service: Any, scope: str) -> None:
        """Note the bar where care looks; what somebody else has noted stays."""
        last = (
            select(barrings.c.reason)
            .where(barrings.c.service == service.id)
            .order_by(barrings.c.id.desc())
            .limit(1)
        )
        reason = self.work.execute(last).scalar()
        if service.barred == "none" or (reason or "").startswith(_REASON):
            words = f"{_REASON}: case {self.did.case}, {self.did.action}"
            note_bar(self.work, service.id, scope or "none", words, self.day, self.at_ms)

    def _end(self, touched: Sequence[Any]) -> list[str]:
        """End services behind the letter's term; what cannot be ended is told, for a human."""
        told = []
        for each in touched:
            day = _next_day(self.did.until or self.day)
            try:
                with self.work.begin_nested():
                    end_service(self.work, each.id, day)
            except CustomerFault as fault:
                told.append(f"{each.number or each.id} is not ended: {fault}")
            else:
                told.append(f"{each.number or each.id} ends on {day}")
        return told

    # -- the letter

    def _letter(self, step: int, numbers: list[str]) -> None:
        facts = letter_facts(
            self.facts, self.decision, self.did, self.day, [each for each in numbers if each]
        )
        self.work.execute(
            kept.letters.insert().values(
                step=step, billing_account=self.payer.id, kind=self.did.letter, language=self.payer.language, channel=self.did.channel,
                content=json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":")), made_ms=self.at_ms,
            )
        )  # fmt: skip
