"""Tables of customers.

Laws
1. A party is a person or an organisation; branches hang below their company by ``parent``, without a circle, at most PARTY_DEPTH_MAX deep.
2. A customer is a party as somebody who buys: number, kind, credit class. A billing account is where bills go: the paying node of a tree.
3. A service belongs to the party that uses it (a branch, a person), and is paid by one billing account at a time.
4. ``book`` is the charging account of the charging server that a service is charged on ("" for one that it does not know); several
   services may share one, and then have the same payer. ``book`` and ``subscriber`` never change hands while the service lives.
5. Nothing is deleted: rows end (``until``), so that an old bill can be made again. Days are half open: [since, until).
6. What a service has now stands in its row; what it had on a day, in ``service_holding`` (who held it, who paid), ``service_plan`` and
   ``service_barring``. The row says what was decided last, also where that begins on a day to come.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from ocs.sql import KEY, MICROS, MILLISECONDS, metadata

__all__ = [
    "addresses", "barrings", "billing_accounts", "claims", "counters", "customers", "holdings", "parties", "requests", "service_plans",
    "services",
]  # fmt: skip

parties = Table(
    "party",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("parent", ForeignKey("party.id"), index=True),
    Column("given_name", String(100), nullable=False, default=""),
    Column("family_name", String(100), nullable=False, default=""),
    Column("organisation_name", String(200), nullable=False, default=""),
    Column("birth_day", Date),
    Column("register_number", String(64), nullable=False, default=""),
    Column("vat_id", String(32), nullable=False, default=""),
    Column("email", String(254), nullable=False, default=""),
    Column("phone", String(32), nullable=False, default=""),
    Column("language", String(2), nullable=False, default="de"),
    Column("since_ms", MILLISECONDS, nullable=False),
    Column("until_ms", MILLISECONDS),
    CheckConstraint("kind IN ('person', 'organisation')", name="kind"),
    CheckConstraint("kind = 'organisation' OR parent IS NULL", name="branch"),
)

addresses = Table(
    "address",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("party", ForeignKey("party.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("street", String(200), nullable=False),
    Column("house_number", String(16), nullable=False, default=""),
    Column("addition", String(200), nullable=False, default=""),
    Column("postcode", String(16), nullable=False),
    Column("city", String(100), nullable=False),
    Column("country", String(2), nullable=False, default="DE"),
    UniqueConstraint("party", "kind"),
    CheckConstraint("kind IN ('main', 'billing', 'delivery')", name="kind"),
)

customers = Table(
    "customer",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("number", String(20), nullable=False, unique=True),
    Column("party", ForeignKey("party.id"), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("credit_class", String(16), nullable=False, default="standard"),
    Column("status", String(16), nullable=False, default="active"),
    Column("since_ms", MILLISECONDS, nullable=False),
    CheckConstraint("kind IN ('consumer', 'business', 'small_business', 'non_profit')", name="kind"),
    CheckConstraint("status IN ('active', 'terminated')", name="status"),
)
"""``kind`` decides which protection applies: TKG section 61(4) and 71(3), BGB sections 286 to 288."""

billing_accounts = Table(
    "billing_account",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("number", String(20), nullable=False, unique=True),
    Column("customer", ForeignKey("customer.id"), nullable=False, index=True),
    Column("party", ForeignKey("party.id"), nullable=False),
    Column("currency", String(3), nullable=False, default="EUR"),
    Column("language", String(2), nullable=False, default="de"),
    Column("cycle", String(32), nullable=False, default="monthly-1"),
    Column("tax_status", String(16), nullable=False, default="domestic"),
    Column("itemised", String(16), nullable=False, default="none"),
    Column("delivery", String(16), nullable=False, default="email"),
    Column("email", String(254), nullable=False, default=""),
    Column("payment", String(16), nullable=False, default="transfer"),
    Column("iban", String(34), nullable=False, default=""),
    Column("mandate", String(35), nullable=False, default=""),
    Column("mandate_day", Date),
    Column("due_days", Integer, nullable=False, default=14),
    Column("discount_plan", String(64), nullable=False, default=""),
    Column("status", String(16), nullable=False, default="active"),
    Column("since", Date, nullable=False),
    Column("until", Date),
    Column("billed_until", Date),
    CheckConstraint("tax_status IN ('domestic', 'reverse_charge', 'exempt')", name="tax_status"),
    CheckConstraint("itemised IN ('none', 'short', 'full')", name="itemised"),
    CheckConstraint("delivery IN ('email', 'download', 'post')", name="delivery"),
    CheckConstraint("payment IN ('transfer', 'direct_debit')", name="payment"),
    CheckConstraint("status IN ('active', 'closing', 'closed')", name="status"),
    Index("ix_billing_account_cycle", "cycle", "id"),
)
"""``party`` is the paying node; ``cycle`` a cycle of config/bridge (its key); ``itemised`` short: the last three digits of numbers are cut.
``billed_until``: days before it are on bills that have numbers (the run sets it), so what they were made of is not changed any more."""

services = Table(
    "service",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("billing_account", ForeignKey("billing_account.id"), index=True),
    Column("payer_named", Boolean, nullable=False, default=False),
    Column("party", ForeignKey("party.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("number", String(20), nullable=False, default=""),
    Column("book", String(128), nullable=False, default=""),
    Column("subscriber", String(160), nullable=False, default=""),
    Column("plan", String(64), nullable=False),
    Column("since", Date, nullable=False),
    Column("until", Date),
    Column("barred", String(16), nullable=False, default="none"),
    Column("credit_limit_micros", MICROS, nullable=False, default=0),
    CheckConstraint("kind IN ('mobile', 'fixed')", name="kind"),
    CheckConstraint("mode IN ('postpaid', 'prepaid', 'hybrid')", name="mode"),
    CheckConstraint("mode = 'prepaid' OR billing_account IS NOT NULL", name="payer"),
    CheckConstraint("barred IN ('none', 'outgoing', 'all')", name="barred"),
    Index("ix_service_book", "book"),
    Index("ix_service_number", "number"),
)
"""``number`` is E.164 without a plus; ``subscriber`` the path in the charging server (account, or account/member); ``plan`` the key of a
plan of config/plans, whose history is in ``service_plan``. Without ``payer_named`` the payer is the nearest node upwards with an open
billing account (tree.py); a prepaid service may have none."""

holdings = Table(
    "service_holding",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("service", ForeignKey("service.id"), nullable=False),
    Column("party", ForeignKey("party.id"), nullable=False),
    Column("billing_account", ForeignKey("billing_account.id"), index=True),
    Column("since", Date, nullable=False),
    Column("until", Date),
    UniqueConstraint("service", "since"),
)
"""Who held a service and who paid for it, from a day to before another: pieces without a gap from the service's first day to its end."""

service_plans = Table(
    "service_plan",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("service", ForeignKey("service.id"), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("role", String(8), nullable=False, default="plan"),
    Column("since", Date, nullable=False),
    Column("until", Date),
    UniqueConstraint("service", "plan", "since"),
    CheckConstraint("role IN ('plan', 'option')", name="role"),
)
"""Which plan or option a service has had, from a day to before another one: what rents are made of. Options may run beside the one plan.
A row whose until is its since never held: it was changed again on its first day."""

barrings = Table(
    "service_barring",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("service", ForeignKey("service.id"), nullable=False, index=True),
    Column("barred", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("since", Date, nullable=False),
    Column("at_ms", MILLISECONDS, nullable=False),
    CheckConstraint("barred IN ('none', 'outgoing', 'all')", name="barred"),
)
"""What a service was barred for from an instant until the next row's; ``since`` is its day in the operator's zone."""

claims = Table("claim", metadata, Column("name", String(160), primary_key=True))
"""One row for each number and each book that was ever held ("number:…", "book:…"): locked while one changes hands, so that no two
services get a number at once, and no two payers a book."""

counters = Table(
    "counter",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("next", KEY, nullable=False),
)
"""Sequences of numbers that people read: the unit of work that takes one holds its row until it ends."""

requests = Table(
    "care_request",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("own_id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("content", String(64), nullable=False),
    Column("result", KEY),
    Column("at_ms", MILLISECONDS, nullable=False),
)
"""What a channel asked for under an id of its own: done once. ``content`` is the SHA-256 of what was asked, ``result`` the key of what was made."""
