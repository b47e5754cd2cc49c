"""Usage as it is taken in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of this revision."""
    _book_payment()
    _intake_alarm()
    _intake_place()
    _usage_book()
    _usage_file()
    _usage_rejected()
    _usage_line()


def _book_payment() -> None:
    op.create_table(
        "book_payment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("reference", sa.String(length=400), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel", sa.String(length=128), nullable=False),
        sa.Column("voucher", sa.String(length=64), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("allotted_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_book_payment")),
        sa.UniqueConstraint("key", name=op.f("uq_book_payment_key")),
    )
    with op.batch_alter_table("book_payment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_book_payment_billing_account"), ["billing_account"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_book_payment_reference"), ["reference"], unique=False)


def _intake_alarm() -> None:
    op.create_table(
        "intake_alarm",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("after_id", sa.String(length=40), nullable=False),
        sa.Column("next_id", sa.String(length=40), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("difference_micros", sa.BigInteger(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('missing', 'undone', 'difference')", name=op.f("ck_intake_alarm_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intake_alarm")),
        sa.UniqueConstraint("key", name=op.f("uq_intake_alarm_key")),
    )


def _intake_place() -> None:
    op.create_table(
        "intake_place",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.String(length=40), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name=op.f("pk_intake_place")),
    )


def _usage_book() -> None:
    op.create_table(
        "usage_book",
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("floor_micros", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("balance_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book", name=op.f("pk_usage_book")),
    )


def _usage_file() -> None:
    op.create_table(
        "usage_file",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("form", sa.String(length=8), nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("repeated", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('reading', 'done', 'refused')", name=op.f("ck_usage_file_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_file")),
        sa.UniqueConstraint("sha256", name=op.f("uq_usage_file_sha256")),
    )


def _usage_rejected() -> None:
    op.create_table(
        "usage_rejected",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(length=80), nullable=False),
        sa.Column("file", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("why", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("replayable", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('parked', 'taken', 'dropped')", name=op.f("ck_usage_rejected_state")),
        sa.ForeignKeyConstraint(["file"], ["usage_file.id"], name=op.f("fk_usage_rejected_file")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_rejected")),
        sa.UniqueConstraint("key", name=op.f("uq_usage_rejected_key")),
    )
    with op.batch_alter_table("usage_rejected", schema=None) as batch_op:
        batch_op.create_index("ix_usage_rejected_book", ["state", "book"], unique=False)


def _usage_line() -> None:
    op.create_table(
        "usage_line",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=600), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(length=80), nullable=False),
        sa.Column("session", sa.String(length=400), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service_key", sa.String(length=120), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("party", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("member", sa.String(length=128), nullable=False),
        sa.Column("subscriber_number", sa.String(length=20), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("usage_class", sa.String(length=32), nullable=False),
        sa.Column("counterpart", sa.String(length=32), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("roaming", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("unit", sa.SmallInteger(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("allowance_units", sa.BigInteger(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("priced_micros", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.String(length=120), nullable=False),
        sa.Column("tariff", sa.String(length=120), nullable=False),
        sa.Column("revenue_class", sa.String(length=32), nullable=False),
        sa.Column("tax_code", sa.String(length=32), nullable=False),
        sa.Column("ledger", sa.String(length=16), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("entry", sa.String(length=200), nullable=False),
        sa.Column("corrects", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("held", sa.String(length=8), nullable=False),
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint("source IN ('stream', 'file', 'rerate')", name=op.f("ck_usage_line_source")),
        sa.ForeignKeyConstraint(["corrects"], ["usage_line.id"], name=op.f("fk_usage_line_corrects")),
        sa.ForeignKeyConstraint(["service"], ["service.id"], name=op.f("fk_usage_line_service")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_line")),
        sa.UniqueConstraint("key", name=op.f("uq_usage_line_key")),
    )
    with op.batch_alter_table("usage_line", schema=None) as batch_op:
        batch_op.create_index("ix_usage_line_run", ["billing_account", "bill", "at_ms"], unique=False)
