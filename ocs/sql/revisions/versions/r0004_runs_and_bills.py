"""Runs and bills."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of this revision."""
    _bill_number()
    _bill_run()
    _run_event()
    _charge()
    _run_account()
    _bill()
    _bill_line()
    _bill_tax()


def _bill_number() -> None:
    op.create_table(
        "bill_number",
        sa.Column("series", sa.String(length=8), nullable=False),
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("series", "year", name=op.f("pk_bill_number")),
    )


def _bill_run() -> None:
    op.create_table(
        "bill_run",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cycle", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("series", sa.String(length=8), nullable=False),
        sa.Column("zero_bills", sa.Integer(), nullable=False),
        sa.Column("late_days", sa.Integer(), nullable=False),
        sa.Column("bill_day", sa.Date(), nullable=True),
        sa.Column("bill_ms", sa.BigInteger(), nullable=True),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('regular', 'on_demand', 'final')", name=op.f("ck_bill_run_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_run")),
        sa.UniqueConstraint("name", name=op.f("uq_bill_run_name")),
    )


def _run_event() -> None:
    op.create_table(
        "run_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["bill_run.id"], name=op.f("fk_run_event_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_event")),
    )
    with op.batch_alter_table("run_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_event_run"), ["run"], unique=False)


def _charge() -> None:
    op.create_table(
        "charge",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("of_class", sa.String(length=32), nullable=False),
        sa.Column("tax_code", sa.String(length=32), nullable=False),
        sa.Column("basis", sa.String(length=8), nullable=False),
        sa.Column("held", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("corrects", sa.String(length=200), nullable=False),
        sa.Column("granted", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint("basis IN ('gross', 'net')", name=op.f("ck_charge_basis")),
        sa.CheckConstraint("since < until", name=op.f("ck_charge_days")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_charge_billing_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge")),
        sa.UniqueConstraint("key", name=op.f("uq_charge_key")),
    )
    with op.batch_alter_table("charge", schema=None) as batch_op:
        batch_op.create_index("ix_charge_bill", ["bill"], unique=False)
        batch_op.create_index("ix_charge_held", ["held"], unique=False)
        batch_op.create_index("ix_charge_open", ["billing_account", "granted", "bill"], unique=False)


def _run_account() -> None:
    op.create_table(
        "run_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("period_first", sa.Date(), nullable=True),
        sa.Column("period_next", sa.Date(), nullable=True),
        sa.Column("more_due", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("holds", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.String(length=64), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("previewed_cents", sa.BigInteger(), nullable=True),
        sa.Column("last_cents", sa.BigInteger(), nullable=True),
        sa.Column("outlier", sa.String(length=32), nullable=False),
        sa.Column("foreseen", sa.String(length=400), nullable=False),
        sa.Column("net_cents", sa.BigInteger(), nullable=True),
        sa.Column("tax_cents", sa.BigInteger(), nullable=True),
        sa.Column("gross_cents", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('planned', 'done', 'parked', 'closed', 'left_out')", name=op.f("ck_run_account_state")
        ),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_run_account_billing_account")
        ),
        sa.ForeignKeyConstraint(["run"], ["bill_run.id"], name=op.f("fk_run_account_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_account")),
        sa.UniqueConstraint("holds", name=op.f("uq_run_account_holds")),
        sa.UniqueConstraint("run", "billing_account", name=op.f("uq_run_account_run_billing_account")),
    )
    with op.batch_alter_table("run_account", schema=None) as batch_op:
        batch_op.create_index("ix_run_account_state", ["run", "state", "number"], unique=False)


def _bill() -> None:
    op.create_table(
        "bill",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("period_first", sa.Date(), nullable=False),
        sa.Column("period_next", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("net_cents", sa.BigInteger(), nullable=False),
        sa.Column("tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("gross_cents", sa.BigInteger(), nullable=False),
        sa.Column("due_days", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("drafted_ms", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.String(length=8), nullable=True),
        sa.Column("year", sa.Integer(), nullable=True),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("number", sa.String(length=32), nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("document_sha256", sa.String(length=64), nullable=True),
        sa.Column("numbered_ms", sa.BigInteger(), nullable=True),
        sa.Column("due_day", sa.Date(), nullable=True),
        sa.Column("published_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(number IS NULL) = (state IN ('draft', 'nothing'))", name=op.f("ck_bill_number")),
        sa.CheckConstraint("(published_ms IS NULL) = (state <> 'published')", name=op.f("ck_bill_published")),
        sa.CheckConstraint(
            "state IN ('draft', 'nothing', 'numbered', 'published')", name=op.f("ck_bill_state")
        ),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_bill_billing_account")
        ),
        sa.ForeignKeyConstraint(["id"], ["run_account.id"], name=op.f("fk_bill_id")),
        sa.ForeignKeyConstraint(["run"], ["bill_run.id"], name=op.f("fk_bill_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill")),
        sa.UniqueConstraint("number", name=op.f("uq_bill_number")),
        sa.UniqueConstraint("series", "year", "sequence", name=op.f("uq_bill_series_year_sequence")),
    )
    with op.batch_alter_table("bill", schema=None) as batch_op:
        batch_op.create_index("ix_bill_account", ["billing_account", "period_next"], unique=False)
        batch_op.create_index(batch_op.f("ix_bill_run"), ["run"], unique=False)
        batch_op.create_index("ix_bill_state", ["run", "state"], unique=False)


def _bill_line() -> None:
    op.create_table(
        "bill_line",
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("charge", sa.String(length=200), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("relieved_micros", sa.BigInteger(), nullable=False),
        sa.Column("of_class", sa.String(length=32), nullable=False),
        sa.Column("item", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=8), nullable=False),
        sa.Column("tax_code", sa.String(length=32), nullable=False),
        sa.Column("net_cents", sa.BigInteger(), nullable=False),
        sa.Column("tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("gross_cents", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bill"], ["bill.id"], name=op.f("fk_bill_line_bill")),
        sa.PrimaryKeyConstraint("bill", "number", name=op.f("pk_bill_line")),
    )


def _bill_tax() -> None:
    op.create_table(
        "bill_tax",
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("tax_class", sa.String(length=32), nullable=False),
        sa.Column("category", sa.String(length=2), nullable=False),
        sa.Column("percent_micros", sa.BigInteger(), nullable=False),
        sa.Column("net_cents", sa.BigInteger(), nullable=False),
        sa.Column("tax_cents", sa.BigInteger(), nullable=False),
        sa.Column("gross_cents", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bill"], ["bill.id"], name=op.f("fk_bill_tax_bill")),
        sa.PrimaryKeyConstraint("bill", "party", "code", name=op.f("pk_bill_tax")),
    )
