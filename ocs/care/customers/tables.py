"""Tables of customers.

Laws
1. A party is a person or an organisation; branches hang below their company by ``parent``, without a circle, at most PARTY_DEPTH_MAX deep.
2. A customer is a party as somebody who buys: number, kind, credit class. A billing account is where bills go: the paying node of a tree.
3. A service belongs to the party that uses it (a branch, a person), and is paid by one billing account at a time.
4. ``book`` is the charging account of the charging server that a service is charged on ("" for one that it does not know); several
   services may share one. ``book`` and ``subscriber`` never change hands while the service lives.
5. Nothing is deleted: rows end (``until``), so that an old bill can be made again.
"""

from sqlalchemy import (
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

__all__ = ["addresses", "billing_accounts", "customers", "parties", "service_plans", "services"]

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
    CheckConstraint("tax_status IN ('domestic', 'reverse_charge', 'exempt')", name="tax_status"),
    CheckConstraint("itemised IN ('none', 'short', 'full')", name="itemised"),
    CheckConstraint("delivery IN ('email', 'download', 'post')", name="delivery"),
    CheckConstraint("payment IN ('transfer', 'direct_debit')", name="payment"),
    CheckConstraint("status IN ('active', 'closing', 'closed')", name="status"),
)
"""``party`` is the paying node; ``cycle`` a cycle of config/bridge (its key); ``itemised`` short: the last three digits of numbers are cut."""

services = Table(
    "service",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("billing_account", ForeignKey("billing_account.id"), nullable=False, index=True),
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
    CheckConstraint("barred IN ('none', 'outgoing', 'all')", name="barred"),
    Index("ix_service_book", "book"),
    Index("ix_service_number", "number"),
)
"""``number`` is E.164 without a plus; ``subscriber`` the path in the charging server (account, or account/member); ``plan`` the key of a
plan of config/plans, whose history is in ``service_plan``."""

service_plans = Table(
    "service_plan",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("service", ForeignKey("service.id"), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("since", Date, nullable=False),
    Column("until", Date),
    UniqueConstraint("service", "plan", "since"),
)
"""Which plan or option a service has had, from a day to before another one: what rents are made of. Several may run at once."""
