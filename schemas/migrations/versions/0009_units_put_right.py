"""An upload whose fields came in a wrong unit says by what they are multiplied and shifted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make."""
    op.add_column(
        "upload",
        sa.Column("scales", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("upload", "scales")
