"""What a vehicle was doing is a result that is stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make."""
    op.create_table(
        "state_spell",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT, nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("unobserved", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_state_spell_pilot_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_state_spell_vehicle_id")),
        sa.PrimaryKeyConstraint("vehicle_id", "starts_at", name=op.f("pk_state_spell")),
    )
    op.create_index("ix_state_spell_pilot_id_day", "state_spell", ["pilot_id", "day"])
    op.execute("CREATE VIEW reading.state_spell WITH (security_barrier) AS SELECT * FROM public.state_spell")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.state_spell")
    op.drop_table("state_spell")
