"""A value that was set aside is found again: it is set aside once, however often it is sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.create_index(
        "ix_upload_reject_value",
        "upload_reject",
        ["vehicle_id", "time", "field"],
        postgresql_where=sa.text("field IS NOT NULL AND time IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_upload_reject_value", "upload_reject")
