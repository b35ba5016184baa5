"""Records of chargers and of fuel: outages, what meters counted, what was dispensed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INSTANT = postgresql.TIMESTAMP(timezone=True)
TABLES = ("charger_outage", "meter_session", "fuel_dispensed")


def _views() -> None:
    op.execute("CREATE OR REPLACE VIEW reading.charger WITH (security_barrier) AS SELECT * FROM public.charger")
    for name in TABLES:
        op.execute(f"CREATE VIEW reading.{name} WITH (security_barrier) AS SELECT * FROM public.{name}")  # noqa: S608


def upgrade() -> None:
    """Make."""
    op.add_column("charger", sa.Column("installed_on", sa.Date(), nullable=True))
    op.create_table(
        "charger_outage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("charger_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=True),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["charger_id"], ["charger.id"], name=op.f("fk_charger_outage_charger_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charger_outage")),
        sa.UniqueConstraint("charger_id", "starts_at", name=op.f("uq_charger_outage_charger_id_starts_at")),
    )
    op.create_table(
        "meter_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("charger_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("grid_kwh", sa.Double(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=True),
        sa.Column("matched_vehicle_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["charger_id"], ["charger.id"], name=op.f("fk_meter_session_charger_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_meter_session_vehicle_id")),
        sa.ForeignKeyConstraint(
            ["matched_vehicle_id"], ["vehicle.id"], name=op.f("fk_meter_session_matched_vehicle_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_session")),
        sa.UniqueConstraint("charger_id", "starts_at", name=op.f("uq_meter_session_charger_id_starts_at")),
    )
    op.create_table(
        "fuel_dispensed",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("time", INSTANT, nullable=False),
        sa.Column("fuel", sa.Text(), nullable=False),
        sa.Column("amount", sa.Double(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("mass_kg", sa.Double(), nullable=True),
        sa.Column("volume_l", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_fuel_dispensed_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fuel_dispensed")),
        sa.UniqueConstraint("vehicle_id", "time", "fuel", name=op.f("uq_fuel_dispensed_vehicle_id_time_fuel")),
    )
    _views()


def downgrade() -> None:
    """Take back."""
    for name in TABLES:
        op.execute(f"DROP VIEW reading.{name}")
        op.drop_table(name)
    op.execute("DROP VIEW reading.charger")
    op.drop_column("charger", "installed_on")
    op.execute("CREATE VIEW reading.charger WITH (security_barrier) AS SELECT * FROM public.charger")
