"""A gateway's uploads of the last days are found without those of the others."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.create_index("ix_upload_gateway_id_received_at", "upload", ["gateway_id", "received_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_upload_gateway_id_received_at", "upload")
