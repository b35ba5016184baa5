"""Old telemetry goes to the columnstore, where TimescaleDB's Community edition is found. Elsewhere nothing changes.

Chunks older than two months are turned into columns, a vehicle (and a signal) together, in order of time. Rows that
come later than that are still taken: TimescaleDB unpacks the segment that they touch.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

SEGMENTS = {"telemetry": "vehicle_id", "signal_sample": "vehicle_id, signal_id"}
AFTER = "60 days"


def upgrade() -> None:
    """Make."""
    if not is_community():
        return
    for table, segment in SEGMENTS.items():
        op.execute(
            f"ALTER TABLE public.{table} SET (timescaledb.compress,"
            f" timescaledb.compress_segmentby = '{segment}', timescaledb.compress_orderby = 'time')"
        )
        op.execute(f"SELECT add_compression_policy('public.{table}', INTERVAL '{AFTER}')")
    # A rebuild of months touches more rows at once than a single statement usually may unpack.
    op.execute(_for_this_database("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0"))


def downgrade() -> None:
    """Take back."""
    if not is_community():
        return
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute(_for_this_database("RESET timescaledb.max_tuples_decompressed_per_dml_transaction"))
    for table in SEGMENTS:
        op.execute(f"SELECT remove_compression_policy('public.{table}', if_exists => true)")
        op.execute(f"SELECT decompress_chunk(c, true) FROM show_chunks('public.{table}') c")  # noqa: S608
        op.execute(f"ALTER TABLE public.{table} SET (timescaledb.compress = false)")


def is_community() -> bool:
    """Whether the server has the Community edition, and may use it."""
    return bool(op.get_bind().scalar(sa.text("SELECT current_setting('timescaledb.license', true) = 'timescale'")))


def _for_this_database(change: str) -> str:
    return f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {change}', current_database()); END $$"
