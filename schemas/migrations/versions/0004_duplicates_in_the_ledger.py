"""A queued upload that turns out to be a duplicate has an entry of its own, so that its receipt is found."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATUSES = "('loaded', 'queued', 'failed', 'void'{more})"


def _allow(more: str) -> None:
    op.drop_constraint(op.f("ck_upload_status"), "upload", type_="check")
    op.create_check_constraint(op.f("ck_upload_status"), "upload", "status IN " + STATUSES.format(more=more))


def upgrade() -> None:
    """Make."""
    _allow(", 'duplicate'")


def downgrade() -> None:
    """Take back."""
    op.execute("UPDATE upload SET status = 'failed', reason = 'a duplicate' WHERE status = 'duplicate'")
    _allow("")
