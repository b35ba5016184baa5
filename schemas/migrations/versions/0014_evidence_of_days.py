"""Vehicle-days keep what single methods tell, how they agree and what was set aside; pilot-days their input."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LISTS = {
    "methods": ("method", "metric text, method text, value double precision, coverage_pct double precision"),
    "agreements": (
        "agreement",
        '"check" text, numerator double precision, denominator double precision, agrees boolean',
    ),
    "set_aside": ("set_aside", "signal text, reason text, samples bigint, left_out boolean"),
}
"""Columns of lists, and the view with a row for each of their entries."""


def upgrade() -> None:
    """Make."""
    for column, (name, fields) in LISTS.items():
        empty = sa.text("'[]'::jsonb")
        op.add_column("vehicle_day", sa.Column(column, postgresql.JSONB(), server_default=empty, nullable=False))
        op.execute(
            f"CREATE VIEW reading.vehicle_day_{name} WITH (security_barrier) AS"  # noqa: S608
            f" SELECT pilot_id, vehicle_id, day, entry.* FROM public.vehicle_day,"
            f" jsonb_to_recordset({column}) AS entry({fields})"
        )
    op.add_column("pilot_day", sa.Column("input_rows", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("pilot_day", sa.Column("input_hash", sa.Text(), server_default=sa.text("''"), nullable=False))
    for name in ("vehicle_day", "pilot_day"):
        op.execute(f"CREATE OR REPLACE VIEW reading.{name} WITH (security_barrier) AS SELECT * FROM public.{name}")  # noqa: S608


def downgrade() -> None:
    """Take back."""
    for name in ("vehicle_day", "pilot_day", *(f"vehicle_day_{view}" for view, _ in LISTS.values())):
        op.execute(f"DROP VIEW reading.{name}")
    for column in ("input_hash", "input_rows"):
        op.drop_column("pilot_day", column)
    for column in LISTS:
        op.drop_column("vehicle_day", column)
    for name in ("vehicle_day", "pilot_day"):
        op.execute(f"CREATE VIEW reading.{name} WITH (security_barrier) AS SELECT * FROM public.{name}")  # noqa: S608
