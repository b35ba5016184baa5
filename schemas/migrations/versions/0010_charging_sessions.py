"""Charging sessions are results like trips."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make."""
    op.create_table(
        "charge_session",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("charging_h", sa.Double(), nullable=False),
        sa.Column("energy_charged_kwh", sa.Double(), nullable=True),
        sa.Column("energy_method", sa.Text(), nullable=True),
        sa.Column("grid_energy_kwh", sa.Double(), nullable=True),
        sa.Column("grid_method", sa.Text(), nullable=True),
        sa.Column("power_kw", sa.Double(), nullable=True),
        sa.Column("soc_start_pct", sa.Double(), nullable=True),
        sa.Column("soc_end_pct", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_charge_session_pilot_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_charge_session_vehicle_id")),
        sa.PrimaryKeyConstraint("vehicle_id", "starts_at", name=op.f("pk_charge_session")),
    )
    op.create_index("ix_charge_session_pilot_id_day", "charge_session", ["pilot_id", "day"])
    op.execute("CREATE VIEW reading.charge_session WITH (security_barrier) AS SELECT * FROM public.charge_session")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.charge_session")
    op.drop_table("charge_session")
