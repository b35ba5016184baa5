"""When a CAN log holds frames, whether or not they have a definition."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.add_column(
        "upload_log",
        sa.Column("spans", postgresql.TSTZMULTIRANGE(), server_default=sa.text("'{}'::tstzmultirange"), nullable=False),
    )
    op.create_index("ix_upload_log_spans", "upload_log", ["spans"], postgresql_using="gist")
    op.execute(
        "UPDATE upload_log l SET spans = tstzmultirange(tstzrange(v.first_time, v.last_time, '[]'))"
        " FROM upload_vehicle v WHERE v.upload_id = l.upload_id AND v.vehicle_id = l.vehicle_id"
    )
    op.execute("CREATE OR REPLACE VIEW reading.upload_log WITH (security_barrier) AS SELECT * FROM public.upload_log")


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW reading.upload_log")
    op.drop_index("ix_upload_log_spans", "upload_log")
    op.drop_column("upload_log", "spans")
    op.execute("CREATE VIEW reading.upload_log WITH (security_barrier) AS SELECT * FROM public.upload_log")
