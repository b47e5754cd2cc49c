"""Customers, their billing accounts and services."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of this revision."""
    _care_request()
    _claim()
    _counter()
    _party()
    _address()
    _customer()
    _billing_account()
    _service()
    _service_barring()
    _service_holding()
    _service_plan()


def _care_request() -> None:
    op.create_table(
        "care_request",
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("own_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("result", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "own_id", name=op.f("pk_care_request")),
    )


def _claim() -> None:
    op.create_table(
        "claim",
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_claim")),
    )


def _counter() -> None:
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("next", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )


def _party() -> None:
    op.create_table(
        "party",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("parent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("given_name", sa.String(length=100), nullable=False),
        sa.Column("family_name", sa.String(length=100), nullable=False),
        sa.Column("organisation_name", sa.String(length=200), nullable=False),
        sa.Column("birth_day", sa.Date(), nullable=True),
        sa.Column("register_number", sa.String(length=64), nullable=False),
        sa.Column("vat_id", sa.String(length=32), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("phone", sa.String(length=32), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind = 'organisation' OR parent IS NULL", name=op.f("ck_party_branch")),
        sa.CheckConstraint("kind IN ('person', 'organisation')", name=op.f("ck_party_kind")),
        sa.ForeignKeyConstraint(["parent"], ["party.id"], name=op.f("fk_party_parent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_party")),
    )
    with op.batch_alter_table("party", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_party_parent"), ["parent"], unique=False)


def _address() -> None:
    op.create_table(
        "address",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("street", sa.String(length=200), nullable=False),
        sa.Column("house_number", sa.String(length=16), nullable=False),
        sa.Column("addition", sa.String(length=200), nullable=False),
        sa.Column("postcode", sa.String(length=16), nullable=False),
        sa.Column("city", sa.String(length=100), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.CheckConstraint("kind IN ('main', 'billing', 'delivery')", name=op.f("ck_address_kind")),
        sa.ForeignKeyConstraint(["party"], ["party.id"], name=op.f("fk_address_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address")),
        sa.UniqueConstraint("party", "kind", name=op.f("uq_address_party_kind")),
    )


def _customer() -> None:
    op.create_table(
        "customer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("credit_class", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('consumer', 'business', 'small_business', 'non_profit')", name=op.f("ck_customer_kind")
        ),
        sa.CheckConstraint("status IN ('active', 'terminated')", name=op.f("ck_customer_status")),
        sa.ForeignKeyConstraint(["party"], ["party.id"], name=op.f("fk_customer_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
        sa.UniqueConstraint("number", name=op.f("uq_customer_number")),
        sa.UniqueConstraint("party", name=op.f("uq_customer_party")),
    )


def _billing_account() -> None:
    op.create_table(
        "billing_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("customer", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("cycle", sa.String(length=32), nullable=False),
        sa.Column("tax_status", sa.String(length=16), nullable=False),
        sa.Column("itemised", sa.String(length=16), nullable=False),
        sa.Column("delivery", sa.String(length=16), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("payment", sa.String(length=16), nullable=False),
        sa.Column("iban", sa.String(length=34), nullable=False),
        sa.Column("mandate", sa.String(length=35), nullable=False),
        sa.Column("mandate_day", sa.Date(), nullable=True),
        sa.Column("due_days", sa.Integer(), nullable=False),
        sa.Column("discount_plan", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("billed_until", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "delivery IN ('email', 'download', 'post')", name=op.f("ck_billing_account_delivery")
        ),
        sa.CheckConstraint("itemised IN ('none', 'short', 'full')", name=op.f("ck_billing_account_itemised")),
        sa.CheckConstraint(
            "payment IN ('transfer', 'direct_debit')", name=op.f("ck_billing_account_payment")
        ),
        sa.CheckConstraint(
            "status IN ('active', 'closing', 'closed')", name=op.f("ck_billing_account_status")
        ),
        sa.CheckConstraint(
            "tax_status IN ('domestic', 'reverse_charge', 'exempt')",
            name=op.f("ck_billing_account_tax_status"),
        ),
        sa.ForeignKeyConstraint(["customer"], ["customer.id"], name=op.f("fk_billing_account_customer")),
        sa.ForeignKeyConstraint(["party"], ["party.id"], name=op.f("fk_billing_account_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_account")),
        sa.UniqueConstraint("number", name=op.f("uq_billing_account_number")),
    )
    with op.batch_alter_table("billing_account", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_billing_account_customer"), ["customer"], unique=False)
        batch_op.create_index("ix_billing_account_cycle", ["cycle", "id"], unique=False)


def _service() -> None:
    op.create_table(
        "service",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("payer_named", sa.Boolean(), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("subscriber", sa.String(length=160), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("barred", sa.String(length=16), nullable=False),
        sa.Column("credit_limit_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("barred IN ('none', 'outgoing', 'all')", name=op.f("ck_service_barred")),
        sa.CheckConstraint("kind IN ('mobile', 'fixed')", name=op.f("ck_service_kind")),
        sa.CheckConstraint("mode = 'prepaid' OR billing_account IS NOT NULL", name=op.f("ck_service_payer")),
        sa.CheckConstraint("mode IN ('postpaid', 'prepaid', 'hybrid')", name=op.f("ck_service_mode")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_service_billing_account")
        ),
        sa.ForeignKeyConstraint(["party"], ["party.id"], name=op.f("fk_service_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service")),
    )
    with op.batch_alter_table("service", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_service_billing_account"), ["billing_account"], unique=False)
        batch_op.create_index("ix_service_book", ["book"], unique=False)
        batch_op.create_index("ix_service_number", ["number"], unique=False)
        batch_op.create_index(batch_op.f("ix_service_party"), ["party"], unique=False)


def _service_barring() -> None:
    op.create_table(
        "service_barring",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("barred", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("barred IN ('none', 'outgoing', 'all')", name=op.f("ck_service_barring_barred")),
        sa.ForeignKeyConstraint(["service"], ["service.id"], name=op.f("fk_service_barring_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_barring")),
    )
    with op.batch_alter_table("service_barring", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_service_barring_service"), ["service"], unique=False)


def _service_holding() -> None:
    op.create_table(
        "service_holding",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_service_holding_billing_account")
        ),
        sa.ForeignKeyConstraint(["party"], ["party.id"], name=op.f("fk_service_holding_party")),
        sa.ForeignKeyConstraint(["service"], ["service.id"], name=op.f("fk_service_holding_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_holding")),
        sa.UniqueConstraint("service", "since", name=op.f("uq_service_holding_service_since")),
    )
    with op.batch_alter_table("service_holding", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_service_holding_billing_account"), ["billing_account"], unique=False
        )


def _service_plan() -> None:
    op.create_table(
        "service_plan",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.CheckConstraint("role IN ('plan', 'option')", name=op.f("ck_service_plan_role")),
        sa.ForeignKeyConstraint(["service"], ["service.id"], name=op.f("fk_service_plan_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_plan")),
        sa.UniqueConstraint("service", "plan", "since", name=op.f("uq_service_plan_service_plan_since")),
    )
