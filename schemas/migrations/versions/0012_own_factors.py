"""Emission factors of a programme's own, annual and hourly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = ("own_factor", "grid_hour")


def upgrade() -> None:
    """Make."""
    words = ("kind", "key", "area", "name", "boundary", "gases")
    more = ("edition", "source", "confidence")
    op.create_table(
        "own_factor",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in words),
        sa.Column("gwp_set", sa.Text(), nullable=True),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("losses_included", sa.Boolean(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in more),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("hours", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("confidence <> 'RECALLED'", name="ck_own_factor_seen"),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name="fk_own_factor_pilot_id"),
        sa.PrimaryKeyConstraint("id", name="pk_own_factor"),
        sa.UniqueConstraint(
            "kind", "key", "area", "boundary", "gases", "starts_on",
            name="uq_own_factor_kind_key_area_boundary_gases_starts_on",
        ),
    )  # fmt: skip
    op.create_index("ix_own_factor_table_name", "own_factor", ["table_name"])
    op.create_table(
        "grid_hour",
        sa.Column("factor_id", sa.Text(), nullable=False),
        sa.Column("hour", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["factor_id"], ["own_factor.id"], name="fk_grid_hour_factor_id"),
        sa.PrimaryKeyConstraint("factor_id", "hour", name="pk_grid_hour"),
    )
    for name in TABLES:
        op.execute(f"CREATE VIEW reading.{name} WITH (security_barrier) AS SELECT * FROM public.{name}")  # noqa: S608


def downgrade() -> None:
    """Take back."""
    for name in reversed(TABLES):
        op.execute(f"DROP VIEW reading.{name}")
        op.drop_table(name)
