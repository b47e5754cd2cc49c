"""Documents and their deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables of this revision."""
    _document()
    _delivery()


def _document() -> None:
    op.create_table(
        "document",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=True),
        sa.Column("path", sa.String(length=120), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("octets", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("queued_ms", sa.BigInteger(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(bill IS NOT NULL) = (kind = 'bill')", name=op.f("ck_document_bill")),
        sa.CheckConstraint("channel IN ('', 'email', 'post')", name=op.f("ck_document_channel")),
        sa.CheckConstraint("state IN ('waiting', 'made', 'parked')", name=op.f("ck_document_state")),
        sa.ForeignKeyConstraint(["bill"], ["bill.id"], name=op.f("fk_document_bill")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_document_billing_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
        sa.UniqueConstraint("bill", name=op.f("uq_document_bill")),
        sa.UniqueConstraint("key", name=op.f("uq_document_key")),
    )
    with op.batch_alter_table("document", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_document_billing_account"), ["billing_account"], unique=False)
        batch_op.create_index(batch_op.f("ix_document_state"), ["state"], unique=False)


def _delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("document", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=400), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("channel IN ('email', 'download', 'post')", name=op.f("ck_delivery_channel")),
        sa.CheckConstraint(
            "state IN ('waiting', 'sending', 'sent', 'failed', 'left')", name=op.f("ck_delivery_state")
        ),
        sa.ForeignKeyConstraint(["document"], ["document.id"], name=op.f("fk_delivery_document")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("key", name=op.f("uq_delivery_key")),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_document"), ["document"], unique=False)
        batch_op.create_index("ix_delivery_due", ["state", "next_ms"], unique=False)
