"""What accounts owe and payments."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables of this revision."""
    _statement()
    _payment()
    _receivable()
    _allocation()
    _clearing_decision()
    _payment_return()
    _statement_entry()


def _statement() -> None:
    op.create_table(
        "statement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("iban", sa.String(length=34), nullable=False),
        sa.Column("name", sa.String(length=35), nullable=False),
        sa.Column("sequence", sa.String(length=35), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("file", sa.String(length=200), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("opening_micros", sa.BigInteger(), nullable=False),
        sa.Column("closing_micros", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement")),
        sa.UniqueConstraint("iban", "name", "sequence", name=op.f("uq_statement_iban_name_sequence")),
    )


def _payment() -> None:
    op.create_table(
        "payment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("own_id", sa.String(length=128), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("payer", sa.String(length=140), nullable=False),
        sa.Column("iban", sa.String(length=34), nullable=False),
        sa.Column("text", sa.String(length=400), nullable=False),
        sa.Column("wishes", sa.Text(), nullable=False),
        sa.Column("twin", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint(
            "(state = 'placed') = (billing_account IS NOT NULL)", name=op.f("ck_payment_placed")
        ),
        sa.CheckConstraint("state IN ('placed', 'clearing', 'left', 'gone')", name=op.f("ck_payment_state")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_payment_amount")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_payment_billing_account")
        ),
        sa.ForeignKeyConstraint(["twin"], ["payment.id"], name=op.f("fk_payment_twin")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("provider", "own_id", name=op.f("uq_payment_provider_own_id")),
    )
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_payment_billing_account"), ["billing_account"], unique=False)
        batch_op.create_index("ix_payment_iban", ["iban", "day"], unique=False)
        batch_op.create_index("ix_payment_state", ["state"], unique=False)


def _receivable() -> None:
    op.create_table(
        "receivable",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("debt", sa.String(length=64), nullable=False),
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("bill_number", sa.String(length=32), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("creditor", sa.String(length=64), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("due", sa.Date(), nullable=False),
        sa.Column("secured", sa.Boolean(), nullable=False),
        sa.Column("burden", sa.Integer(), nullable=False),
        sa.Column("payment", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.CheckConstraint(
            "kind IN ('principal', 'fee', 'interest', 'credit', 'payment', 'returned', 'refund', 'write_off')",
            name=op.f("ck_receivable_kind"),
        ),
        sa.CheckConstraint("amount_micros <> 0", name=op.f("ck_receivable_amount")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_receivable_billing_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receivable")),
        sa.UniqueConstraint("key", name=op.f("uq_receivable_key")),
    )
    with op.batch_alter_table("receivable", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_receivable_bill"), ["bill"], unique=False)
        batch_op.create_index(batch_op.f("ix_receivable_bill_number"), ["bill_number"], unique=False)
        batch_op.create_index(batch_op.f("ix_receivable_billing_account"), ["billing_account"], unique=False)
        batch_op.create_index(batch_op.f("ix_receivable_payment"), ["payment"], unique=False)


def _allocation() -> None:
    op.create_table(
        "allocation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event", sa.String(length=200), nullable=False),
        sa.Column("credit", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("claim", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_micros <> 0", name=op.f("ck_allocation_amount")),
        sa.ForeignKeyConstraint(["claim"], ["receivable.id"], name=op.f("fk_allocation_claim")),
        sa.ForeignKeyConstraint(["credit"], ["receivable.id"], name=op.f("fk_allocation_credit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation")),
    )
    with op.batch_alter_table("allocation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_allocation_claim"), ["claim"], unique=False)
        batch_op.create_index(batch_op.f("ix_allocation_credit"), ["credit"], unique=False)
        batch_op.create_index("ix_allocation_event", ["event"], unique=False)


def _clearing_decision() -> None:
    op.create_table(
        "clearing_decision",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payment", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("action IN ('place', 'leave')", name=op.f("ck_clearing_decision_action")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_clearing_decision_billing_account")
        ),
        sa.ForeignKeyConstraint(["payment"], ["payment.id"], name=op.f("fk_clearing_decision_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clearing_decision")),
    )
    with op.batch_alter_table("clearing_decision", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_clearing_decision_payment"), ["payment"], unique=False)


def _payment_return() -> None:
    op.create_table(
        "payment_return",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("own_id", sa.String(length=128), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("payment", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("fee_micros", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('charge_back', 'refund')", name=op.f("ck_payment_return_kind")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_payment_return_amount")),
        sa.ForeignKeyConstraint(["payment"], ["payment.id"], name=op.f("fk_payment_return_payment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_return")),
        sa.UniqueConstraint("provider", "own_id", name=op.f("uq_payment_return_provider_own_id")),
    )
    with op.batch_alter_table("payment_return", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_payment_return_payment"), ["payment"], unique=False)


def _statement_entry() -> None:
    op.create_table(
        "statement_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("statement", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("why", sa.String(length=300), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("payment", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("returned", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('payment', 'charge_back', 'ours', 'repeated', 'rejected', 'doubtful', 'accepted')",
            name=op.f("ck_statement_entry_state"),
        ),
        sa.ForeignKeyConstraint(["payment"], ["payment.id"], name=op.f("fk_statement_entry_payment")),
        sa.ForeignKeyConstraint(
            ["returned"], ["payment_return.id"], name=op.f("fk_statement_entry_returned")
        ),
        sa.ForeignKeyConstraint(["statement"], ["statement.id"], name=op.f("fk_statement_entry_statement")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_entry")),
        sa.UniqueConstraint(
            "statement", "number", "place", name=op.f("uq_statement_entry_statement_number_place")
        ),
    )
    with op.batch_alter_table("statement_entry", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_statement_entry_key"), ["key"], unique=False)
