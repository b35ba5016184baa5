"""A gateway key may end at a time; a gateway's uploads of the last days are found without those of the others."""

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
    op.create_index("ix_upload_gateway_id_received_at", "upload", ["gateway_id", "received_at"])


def downgrade() -> None:
    """Take back; a key that would still have ended is revoked."""
    op.drop_index("ix_upload_gateway_id_received_at", "upload")
    op.execute("UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE expires_at IS NOT NULL")
    op.drop_column("api_key", "expires_at")
