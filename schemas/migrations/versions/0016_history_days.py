"""Days before a vehicle entered its pilot, where they are its baseline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.create_table(
        "history_day",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("figures", postgresql.JSONB(), nullable=False),
        sa.Column("computed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name="fk_history_day_vehicle_id"),
        sa.PrimaryKeyConstraint("vehicle_id", "day", name="pk_history_day"),
    )
    op.execute("CREATE VIEW reading.history_day WITH (security_barrier) AS SELECT * FROM public.history_day")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.history_day")
    op.drop_table("history_day")
