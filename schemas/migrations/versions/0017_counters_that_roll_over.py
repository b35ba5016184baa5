"""Vehicles say at which values their counters start again from zero."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    empty = sa.text("'{}'::jsonb")
    op.add_column("vehicle", sa.Column("roll_over", postgresql.JSONB(), server_default=empty, nullable=False))
    op.execute("CREATE OR REPLACE VIEW reading.vehicle WITH (security_barrier) AS SELECT * FROM public.vehicle")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.vehicle")
    op.drop_column("vehicle", "roll_over")
    op.execute("CREATE VIEW reading.vehicle WITH (security_barrier) AS SELECT * FROM public.vehicle")
