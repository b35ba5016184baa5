"""What receipts refused, for readers: where, when and why, without the values, which may tell a place."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

VIEWS = {
    "upload_reject": "SELECT upload_id, n, row, vehicle_id, time, field, reason FROM public.upload_reject",
    "gateway": "SELECT id, pilot_id, slug, whole_pilot, ends_on FROM public.gateway",
}


def upgrade() -> None:
    """Make."""
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW reading.{name} WITH (security_barrier) AS {query}")


def downgrade() -> None:
    """Take back."""
    for name in VIEWS:
        op.execute(f"DROP VIEW reading.{name}")
