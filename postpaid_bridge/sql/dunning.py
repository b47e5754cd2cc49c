"""Dunning in SQL: what was done and why, holds, bars, letters that wait, and when to look at an account again.

Laws
1. A step is known by (billing account, case, level): it is taken once. Level 0 ends a case. Nothing is changed or removed.
2. A step, its fee and interest, its letter, its bars and their rows of the outbox are one unit of work, on the held billing account.
3. Each service has an epoch that grows with every command of dunning; ``scope`` is what dunning itself has barred, and only that is lifted.
4. An account is looked at when its day has come (``wake``), or when it has an item that is younger than the last that was seen: who pays or
   is billed need not know of dunning. Items are numbered under the account's lock, so none is missed.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Date,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    case,
    func,
    or_,
    select,
)

from ocs.care.customers.shapes import missing, wrong
from ocs.care.customers.tables import billing_accounts, customers, services
from ocs.limits import SQL_ROWS_AT_ONCE
from ocs.sql import KEY, MICROS, MILLISECONDS, insert_new, metadata
from postpaid_bridge.dunning.calculate import Done, Facts, Hold, Objection, Owed
from postpaid_bridge.sql.bookings import hold_accounts
from postpaid_bridge.sql.receivables import OpenClaim, allocations, items, open_claims_of

__all__ = [
    "Payer", "add_hold", "bars", "due_accounts", "end_hold", "facts_of", "holds", "holds_of", "letters", "letters_waiting", "looked", "looks",
    "payers", "steps", "wake_now",
]  # fmt: skip

HOLD_KINDS = ("dispute", "promise", "manual", "contested")
"""contested stops nothing: so much of a bill is not counted."""

looks = Table(
    "dunning_account",
    metadata,
    Column("billing_account", ForeignKey("billing_account.id"), primary_key=True, autoincrement=False),
    Column("wake", Date, index=True),
    Column("seen", KEY, nullable=False, default=0),
    Column("level", Integer, nullable=False, default=0),
    Column("looked", Date, nullable=False),
)
"""``wake`` is the day on which to look again (none: only if something happens), ``seen`` the last item that was seen, ``level`` for metrics."""

steps = Table(
    "dunning_step",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False),
    Column("case", Integer, nullable=False),
    Column("level", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    Column("day", Date, nullable=False),
    Column("until", Date),
    Column("letter", String(16), nullable=False, default=""),
    Column("channel", String(16), nullable=False, default=""),
    Column("policy", String(48), nullable=False),
    Column("overdue_micros", MICROS, nullable=False),
    Column("default_micros", MICROS, nullable=False),
    Column("fee_micros", MICROS, nullable=False, default=0),
    Column("interest_micros", MICROS, nullable=False, default=0),
    Column("flat_micros", MICROS, nullable=False, default=0),
    Column("reasons", Text, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    UniqueConstraint("billing_account", "case", "level"),
    CheckConstraint(
        "action IN ('remind', 'warn', 'bar_outgoing', 'bar_all', 'terminate', 'collect', 'lift', 'end')",
        name="action",
    ),
    Index("ix_dunning_step_day", "day"),
)
"""``reasons`` is a JSON list of paragraph and sentence."""

holds = Table(
    "dunning_hold",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("bill", String(32), nullable=False, default=""),
    Column("amount_micros", MICROS),
    Column("reason", String(200), nullable=False),
    Column("by", String(64), nullable=False, default=""),
    Column("since", Date, nullable=False),
    Column("until", Date),
    Column("at_ms", MILLISECONDS, nullable=False),
    Column("ended", Date),
    CheckConstraint("kind IN ('dispute', 'promise', 'manual', 'contested')", name="kind"),
)
"""``until`` is its last day; ``ended`` the first day on which it holds no more, since somebody has ended it."""

bars = Table(
    "dunning_bar",
    metadata,
    Column("service", ForeignKey("service.id"), primary_key=True, autoincrement=False),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False, index=True),
    Column("subscriber", String(160), nullable=False),
    Column("book", String(128), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    CheckConstraint("scope IN ('', 'outgoing', 'all')", name="scope"),
)

letters = Table(
    "dunning_letter",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("step", ForeignKey("dunning_step.id"), nullable=False, unique=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("language", String(2), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("made_ms", MILLISECONDS, nullable=False),
    Column("taken_ms", MILLISECONDS),
)
"""Letters for delivery: ``content`` is what they say (JSON: letters.py); ``taken_ms`` when documents took it over."""


class Payer(NamedTuple):
    """A billing account as dunning sees it."""

    id: int
    number: str
    party: int
    kind: str
    credit_class: str
    language: str
    currency: str


# ---------------------------------------------------------------- read


def payers(look: Connection, accounts: Sequence[int]) -> dict[int, Payer]:
    """Return billing accounts by id."""
    found: dict[int, Payer] = {}
    c = billing_accounts.c
    asked = select(
        c.id, c.number, c.party, customers.c.kind, customers.c.credit_class, c.language, c.currency
    ).join(customers, customers.c.id == c.customer)
    for part in _parts(accounts):
        found.update((row.id, Payer(*row)) for row in look.execute(asked.where(c.id.in_(part))))
    return found


def _due(asked: Select[Any], day: date) -> Select[Any]:
    """Let a select of billing accounts be of those that are to be looked at on a day (law 4)."""
    account, seen = billing_accounts.c.id, looks.c.seen
    item = select(items.c.id).where(items.c.billing_account == account)
    return (
        asked.select_from(billing_accounts.outerjoin(looks, looks.c.billing_account == account))
        .where(
            or_(
                looks.c.wake <= day,
                and_(seen.is_(None), item.exists()),
                and_(seen.is_not(None), item.where(items.c.id > seen).exists()),
            )
        )
    )  # fmt: skip


def due_accounts(look: Connection, day: date, *, after: int = 0, count: int = 500) -> list[int]:
    """Return the next billing accounts behind an id that are to be looked at on a day (law 4)."""
    asked = _due(select(billing_accounts.c.id), day).where(billing_accounts.c.id > after)
    return list(look.execute(asked.order_by(billing_accounts.c.id).limit(count)).scalars())


def count_due(look: Connection, day: date) -> int:
    """Return how many accounts are to be looked at on a day."""
    return int(look.execute(_due(select(func.count()), day)).scalar_one())


def barred_and_news(look: Connection) -> list[int]:
    """Return the accounts that dunning has barred and that have an item which was not seen: somebody may have paid."""
    barred = select(bars.c.billing_account).where(bars.c.scope != "").distinct()
    asked = (
        select(items.c.billing_account)
        .join(looks, looks.c.billing_account == items.c.billing_account)
        .where(items.c.billing_account.in_(barred), items.c.id > looks.c.seen)
        .distinct()
        .order_by(items.c.billing_account)
    )
    return list(look.execute(asked).scalars())


def last_items(look: Connection, accounts: Sequence[int]) -> dict[int, int]:
    """Return the last item of each account."""
    found: dict[int, int] = {}
    asked = select(items.c.billing_account, func.max(items.c.id)).group_by(items.c.billing_account)
    for part in _parts(accounts):
        found.update(
            (row[0], int(row[1])) for row in look.execute(asked.where(items.c.billing_account.in_(part)))
        )
    return found


def facts_of(
    look: Connection, accounts: Sequence[Payer], day: date, *, as_of: bool = False
) -> dict[int, Facts]:
    """Return all that is known of accounts; with ``as_of`` as it was at the end of the day, by the days of payments."""
    ids = [each.id for each in accounts]
    claims = open_claims_of(look, ids, day if as_of else None)
    paid = _paid(look, [each.id for of in claims.values() for each in of], day if as_of else None)
    objections, held = _held(look, ids, day)
    history, barred, (charged, flat) = _history(look, ids), _barred(look, ids), _charged(look, ids)
    return {
        each.id: Facts(
            each.id, each.kind, [_owed(one, paid) for one in claims.get(each.id, ())], objections.get(each.id, ()),
            held.get(each.id, ()), history.get(each.id, ()), barred.get(each.id, ""), charged.get(each.id, {}),
            frozenset(flat.get(each.id, ())),
        )
        for each in accounts
    }  # fmt: skip


def _owed(each: OpenClaim, paid: dict[int, list[tuple[date, int]]]) -> Owed:
    return Owed(
        each.id, each.number, each.debt, each.kind.value, each.book, each.creditor, each.open_micros, each.since, each.due,
        tuple(paid.get(each.id, ())),
    )  # fmt: skip


def _paid(look: Connection, claims: Sequence[int], day: date | None) -> dict[int, list[tuple[date, int]]]:
    found: dict[int, list[tuple[date, int]]] = {}
    c = allocations.c
    asked = (
        select(c.claim, c.day, func.sum(c.amount_micros)).group_by(c.claim, c.day).order_by(c.claim, c.day)
    )
    asked = asked if day is None else asked.where(c.day <= day)
    for part in _parts(claims):
        for claim, on, micros in look.execute(asked.where(c.claim.in_(part))):
            found.setdefault(claim, []).append((on, int(micros)))
    return found


def _held(
    look: Connection, accounts: Sequence[int], day: date
) -> tuple[dict[int, list[Objection]], dict[int, list[Hold]]]:
    objections: dict[int, list[Objection]] = {}
    held: dict[int, list[Hold]] = {}
    c = holds.c
    holding = (c.since <= day, or_(c.ended.is_(None), c.ended > day))
    for part in _parts(accounts):
        for row in look.execute(select(holds).where(c.billing_account.in_(part), *holding).order_by(c.id)):
            if row.kind != "contested":
                held.setdefault(row.billing_account, []).append(
                    Hold(row.id, row.kind, row.reason, row.since, row.until)
                )
            elif row.until is None or day <= row.until:
                objections.setdefault(row.billing_account, []).append(
                    Objection(row.bill, row.amount_micros, row.until)
                )
    return objections, held


def _history(look: Connection, accounts: Sequence[int]) -> dict[int, list[Done]]:
    found: dict[int, list[Done]] = {}
    c = steps.c
    asked = select(
        c.billing_account, c.case, c.level, c.action, c.day, c.until, c.letter, c.channel
    ).order_by(c.id)
    for part in _parts(accounts):
        for row in look.execute(asked.where(c.billing_account.in_(part))):
            found.setdefault(row.billing_account, []).append(Done(*row[1:]))
    return found


def _barred(look: Connection, accounts: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in _parts(accounts):
        asked = select(bars.c.billing_account, bars.c.scope).where(
            bars.c.billing_account.in_(part), bars.c.scope != ""
        )
        for account, scope in look.execute(asked):
            found[account] = "all" if "all" in {scope, found.get(account)} else scope
    return found


def interest_key(account: int, number: int, level: int, claim: int) -> str:
    """Return the key of an item of interest: it says of which claim."""
    return f"dun:{account}:{number}:{level}:interest:{claim}"


def flat_key(account: int, bill: str) -> str:
    """Return the key of a bill's flat sum: once for each bill."""
    return f"dun:{account}:flat:{bill}"


def _charged(
    look: Connection, accounts: Sequence[int]
) -> tuple[dict[int, dict[int, int]], dict[int, list[str]]]:
    charged: dict[int, dict[int, int]] = {}
    flat: dict[int, list[str]] = {}
    for part in _parts(accounts):
        asked = select(items.c.billing_account, items.c.key, items.c.amount_micros).where(
            items.c.billing_account.in_(part),
            items.c.kind.in_(["fee", "interest"]),
            items.c.key.like("dun:%"),
        )
        for account, key, micros in look.execute(asked):
            _, _, *words = key.split(":", 3)
            if words[0] == "flat":
                flat.setdefault(account, []).append(words[1])
            elif ":interest:" in key:
                of = charged.setdefault(account, {})
                claim = int(key.rpartition(":")[2])
                of[claim] = of.get(claim, 0) + int(micros)
    return charged, flat


# ---------------------------------------------------------------- looked at


def looked(work: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep when to look at accounts again; one that has seen more meanwhile keeps what it has."""
    new = insert_new(work, looks, rows, "billing_account")
    for row in rows:
        if row["billing_account"] not in new:
            mine = (looks.c.billing_account == row["billing_account"], looks.c.seen <= row["seen"])
            work.execute(looks.update().where(*mine).values(row))


def wake_now(work: Connection, billing_account: int, day: date) -> None:
    """Let an account be looked at from a day on, whatever was decided."""
    sooner = case((looks.c.wake < day, looks.c.wake), else_=day)
    work.execute(looks.update().where(looks.c.billing_account == billing_account).values(wake=sooner))


# ---------------------------------------------------------------- holds


def add_hold(
    work: Connection, billing_account: int, kind: str, reason: str, day: date, at_ms: int, *, until: date | None = None,
    bill: str = "", amount_micros: int | None = None, by: str = "",
) -> int:  # fmt: skip
    """Hold an account's dunning from a day on; its id. Raises CustomerFault."""
    if kind not in HOLD_KINDS:
        raise wrong("kind", f"{kind!r} is no hold", f"write {', '.join(HOLD_KINDS)}")
    if not 0 < len(reason) <= 200:
        raise wrong("reason", "a hold has its reason", "write 1 to 200 characters")
    if until is not None and until < day:
        raise wrong("until", f"it ends on {until}, before it begins", f"write {day} or later")
    if kind == "promise" and until is None:
        raise wrong("until", "a promise to pay has its day", "name the last day of it")
    if (kind == "contested") != bool(bill):
        raise wrong(
            "bill", "what is contested is of a bill, and nothing else is", "name the bill with kind contested"
        )
    if amount_micros is not None and (kind != "contested" or amount_micros <= 0):
        raise wrong(
            "amount_micros", "only what is contested has an amount, above zero", "leave it out for all"
        )
    hold_accounts(work, [billing_account])
    row = {
        "billing_account": billing_account, "kind": kind, "bill": bill, "amount_micros": amount_micros, "reason": reason, "by": by,
        "since": day, "until": until, "at_ms": at_ms,
    }  # fmt: skip
    made = int(work.execute(holds.insert().values(row).returning(holds.c.id)).scalar_one())
    wake_now(work, billing_account, day)
    return made


def end_hold(work: Connection, hold: int, day: date) -> bool:
    """End a hold from a day on; whether it held still. Raises CustomerFault."""
    row = work.execute(select(holds).where(holds.c.id == hold)).one_or_none()
    if row is None:
        raise missing(f"hold {hold}")
    if row.ended is not None:
        return False
    work.execute(holds.update().where(holds.c.id == hold).values(ended=day))
    wake_now(work, row.billing_account, day)
    return True


def holds_of(look: Connection, billing_account: int) -> list[Any]:
    """Return the rows of an account's holds, the oldest first."""
    asked = select(holds).where(holds.c.billing_account == billing_account).order_by(holds.c.id)
    return list(look.execute(asked))


# ---------------------------------------------------------------- services and letters


def affected(look: Connection, billing_account: int, books: Sequence[str], day: date) -> list[Any]:
    """Return the living services that an account pays for on books, and that the charging server knows (TKG section 61(6))."""
    c = services.c
    asked = select(c.id, c.party, c.book, c.subscriber, c.number, c.barred).where(
        c.billing_account == billing_account, c.book.in_(list(books)), c.subscriber != "", or_(c.until.is_(None), c.until > day)
    )  # fmt: skip
    return list(look.execute(asked.order_by(c.id)))


def letters_waiting(look: Connection, count: int = 500) -> list[Any]:
    """Return the letters that nobody has taken over, the oldest first: rows of ``letters``."""
    return list(
        look.execute(select(letters).where(letters.c.taken_ms.is_(None)).order_by(letters.c.id).limit(count))
    )


def taken(work: Connection, letter: int, at_ms: int) -> bool:
    """Keep that documents took a letter over; whether that is new."""
    mine = (letters.c.id == letter, letters.c.taken_ms.is_(None))
    return work.execute(letters.update().where(*mine).values(taken_ms=at_ms)).rowcount == 1


def reasons_text(reasons: Sequence[tuple[str, str]]) -> str:
    """Write reasons as they are kept."""
    return json.dumps([list(each) for each in reasons], ensure_ascii=False, separators=(",", ":"))


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), SQL_ROWS_AT_ONCE):
        yield values[start : start + SQL_ROWS_AT_ONCE]
