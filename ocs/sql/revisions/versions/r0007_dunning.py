"""Dunning."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables of this revision."""
    _dunning_account()
    _dunning_hold()
    _dunning_step()
    _dunning_bar()
    _dunning_letter()


def _dunning_account() -> None:
    op.create_table(
        "dunning_account",
        sa.Column(
            "billing_account",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("wake", sa.Date(), nullable=True),
        sa.Column("seen", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("looked", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_dunning_account_billing_account")
        ),
        sa.PrimaryKeyConstraint("billing_account", name=op.f("pk_dunning_account")),
    )
    with op.batch_alter_table("dunning_account", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dunning_account_wake"), ["wake"], unique=False)


def _dunning_hold() -> None:
    op.create_table(
        "dunning_hold",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("bill", sa.String(length=32), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('dispute', 'promise', 'manual', 'contested')", name=op.f("ck_dunning_hold_kind")
        ),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_dunning_hold_billing_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_hold")),
    )
    with op.batch_alter_table("dunning_hold", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dunning_hold_billing_account"), ["billing_account"], unique=False
        )


def _dunning_step() -> None:
    op.create_table(
        "dunning_step",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("case", sa.Integer(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("letter", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("policy", sa.String(length=48), nullable=False),
        sa.Column("overdue_micros", sa.BigInteger(), nullable=False),
        sa.Column("default_micros", sa.BigInteger(), nullable=False),
        sa.Column("fee_micros", sa.BigInteger(), nullable=False),
        sa.Column("interest_micros", sa.BigInteger(), nullable=False),
        sa.Column("flat_micros", sa.BigInteger(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "action IN ('remind', 'warn', 'bar_outgoing', 'bar_all', 'terminate', 'collect', 'lift', 'end')",
            name=op.f("ck_dunning_step_action"),
        ),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_dunning_step_billing_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_step")),
        sa.UniqueConstraint(
            "billing_account", "case", "level", name=op.f("uq_dunning_step_billing_account_case_level")
        ),
    )
    with op.batch_alter_table("dunning_step", schema=None) as batch_op:
        batch_op.create_index("ix_dunning_step_day", ["day"], unique=False)


def _dunning_bar() -> None:
    op.create_table(
        "dunning_bar",
        sa.Column(
            "service",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subscriber", sa.String(length=160), nullable=False),
        sa.Column("book", sa.String(length=128), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("scope IN ('', 'outgoing', 'all')", name=op.f("ck_dunning_bar_scope")),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_dunning_bar_billing_account")
        ),
        sa.ForeignKeyConstraint(["service"], ["service.id"], name=op.f("fk_dunning_bar_service")),
        sa.PrimaryKeyConstraint("service", name=op.f("pk_dunning_bar")),
    )
    with op.batch_alter_table("dunning_bar", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dunning_bar_billing_account"), ["billing_account"], unique=False)


def _dunning_letter() -> None:
    op.create_table(
        "dunning_letter",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("step", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("billing_account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["billing_account"], ["billing_account.id"], name=op.f("fk_dunning_letter_billing_account")
        ),
        sa.ForeignKeyConstraint(["step"], ["dunning_step.id"], name=op.f("fk_dunning_letter_step")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_letter")),
        sa.UniqueConstraint("step", name=op.f("uq_dunning_letter_step")),
    )
    with op.batch_alter_table("dunning_letter", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dunning_letter_billing_account"), ["billing_account"], unique=False
        )
