"""Vehicles say what they burn themselves, and to which standard their engine is certified."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COLUMNS = ("fuel", "emission_standard")


def upgrade() -> None:
    """Make."""
    for name in COLUMNS:
        op.add_column("vehicle", sa.Column(name, sa.Text(), nullable=True))
    op.execute("CREATE OR REPLACE VIEW reading.vehicle WITH (security_barrier) AS SELECT * FROM public.vehicle")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.vehicle")
    for name in COLUMNS:
        op.drop_column("vehicle", name)
    op.execute("CREATE VIEW reading.vehicle WITH (security_barrier) AS SELECT * FROM public.vehicle")
