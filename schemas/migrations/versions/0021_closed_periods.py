"""Closed months of pilots, and the factors that they pin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

INSTANT = postgresql.TIMESTAMP(timezone=True)
TABLES = ("pinned_factors", "report_period")


def upgrade() -> None:
    """Make."""
    op.create_table(
        "pinned_factors",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rows", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_pinned_factors")),
    )
    op.create_table(
        "report_period",
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("closed_at", INSTANT, nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("figures", postgresql.JSONB(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("vehicles", sa.Integer(), nullable=False),
        sa.Column("data_until", INSTANT, nullable=True),
        sa.Column("input_rows", sa.BigInteger(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("factors", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("factors_sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_report_period_pilot_id")),
        sa.ForeignKeyConstraint(
            ["factors_sha256"], ["pinned_factors.sha256"], name=op.f("fk_report_period_factors_sha256")
        ),
        sa.PrimaryKeyConstraint("pilot_id", "month", "revision", name=op.f("pk_report_period")),
    )
    for name in TABLES:
        op.execute(f"CREATE VIEW reading.{name} WITH (security_barrier) AS SELECT * FROM public.{name}")  # noqa: S608


def downgrade() -> None:
    """Take back."""
    for name in reversed(TABLES):
        op.execute(f"DROP VIEW reading.{name}")
        op.drop_table(name)
