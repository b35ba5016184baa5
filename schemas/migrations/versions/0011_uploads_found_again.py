"""An upload that comes again is found by an index, whatever became of it the first time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.create_index("ix_upload_gateway_id_sha256", "upload", ["gateway_id", "sha256"])
    op.create_index(
        "ix_upload_gateway_id_idempotency_key",
        "upload",
        ["gateway_id", "idempotency_key"],
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_upload_gateway_id_idempotency_key", table_name="upload")
    op.drop_index("ix_upload_gateway_id_sha256", table_name="upload")
