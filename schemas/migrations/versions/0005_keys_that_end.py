"""A gateway key may end at a time: an old one overlaps with the one that takes its place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.add_column("api_key", sa.Column("expires_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Take back; a key that would still have ended is revoked."""
    op.execute("UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE expires_at IS NOT NULL")
    op.drop_column("api_key", "expires_at")
