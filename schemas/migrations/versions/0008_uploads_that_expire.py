"""Bytes of uploads are kept for a time that is set; the ledger says of which they are gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.add_column("upload", sa.Column("expired_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.create_index("ix_upload_kept", "upload", ["received_at"], postgresql_where=sa.text("expired_at IS NULL"))
    op.create_index("ix_upload_log_landing_key", "upload_log", ["landing_key"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_upload_log_landing_key", "upload_log")
    op.drop_index("ix_upload_kept", "upload")
    op.drop_column("upload", "expired_at")
