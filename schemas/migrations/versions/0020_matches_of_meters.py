"""Which vehicle a meter session without a name is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.create_table(
        "meter_match",
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["meter_session.id"], name=op.f("fk_meter_match_meter_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_meter_match_vehicle_id")),
        sa.PrimaryKeyConstraint("meter_id", name=op.f("pk_meter_match")),
    )
    op.execute("CREATE VIEW reading.meter_match WITH (security_barrier) AS SELECT * FROM public.meter_match")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.meter_match")
    op.drop_table("meter_match")
