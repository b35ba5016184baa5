"""The vehicle of a meter session is the one that its record names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

VIEW = "CREATE VIEW reading.meter_session WITH (security_barrier) AS SELECT * FROM public.meter_session"


def upgrade() -> None:
    """Make."""
    op.execute("DROP VIEW reading.meter_session")
    op.drop_column("meter_session", "matched_vehicle_id")
    op.execute(VIEW)


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.meter_session")
    op.add_column("meter_session", sa.Column("matched_vehicle_id", sa.Integer(), nullable=True))
    op.create_foreign_key(
        op.f("fk_meter_session_matched_vehicle_id"), "meter_session", "vehicle", ["matched_vehicle_id"], ["id"]
    )
    op.execute(VIEW)
