"""CAN logs: definitions, raw logs, trouble codes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FAULT_TABLES = {
    "fault_event": "Hypertable. Episodes of trouble codes: `time` is when one began, `last_seen_at` when it was last "
    "reported, `cleared_at` when its source first reported without it (null: never seen to).",
    "fault_sighting": "Hypertable. What `fault_event` is joined from: stretches in which a trouble code was reported, "
    "cut at fixed minutes. A row without `last_seen_at` tells of a clearing alone.",
}
VIEWS = {
    "fault_event": "SELECT * FROM public.fault_event",
    "dbc": "SELECT id, sha256, name, messages, signals, warnings, added_at FROM public.dbc",
    "dbc_binding": "SELECT * FROM public.dbc_binding",
    "dbc_map": "SELECT * FROM public.dbc_map",
    "upload_log": "SELECT * FROM public.upload_log",
    "extra_signal": "SELECT * FROM public.extra_signal",
}


def _time() -> postgresql.TIMESTAMP:
    return postgresql.TIMESTAMP(timezone=True)


def _fault_table(name: str) -> None:
    op.create_table(
        name,
        sa.Column("vehicle_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("time", _time(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("source", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("spn", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("fmi", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("last_seen_at", _time()),
        sa.Column("cleared_at", _time()),
        sa.Column("occurrence_count", sa.SmallInteger()),
        *(
            sa.Column(lamp, sa.Boolean())
            for lamp in ("red_stop_lamp", "amber_warning_lamp", "protect_lamp", "malfunction_lamp")
        ),
        sa.PrimaryKeyConstraint("vehicle_id", "time", "channel", "source", "spn", "fmi", name=op.f(f"pk_{name}")),
        comment=FAULT_TABLES[name],
    )
    op.execute(
        f"SELECT create_hypertable('public.{name}', by_range('time', INTERVAL '7 days'),"
        " create_default_indexes => false)"
    )


def upgrade() -> None:
    """Make."""
    op.create_table(
        "dbc",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("signals", sa.Integer(), nullable=False),
        sa.Column("warnings", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("added_at", _time(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dbc")),
        sa.UniqueConstraint("sha256", name=op.f("uq_dbc_sha256")),
    )
    op.create_table(
        "dbc_binding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dbc_id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer()),
        sa.Column("model", sa.Text()),
        sa.Column("channel", sa.Text()),
        sa.CheckConstraint("(vehicle_id IS NULL) <> (model IS NULL)", name=op.f("ck_dbc_binding_target")),
        sa.ForeignKeyConstraint(["dbc_id"], ["dbc.id"], name=op.f("fk_dbc_binding_dbc_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_dbc_binding_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dbc_binding")),
        sa.UniqueConstraint(
            "dbc_id", "vehicle_id", "model", "channel",
            name=op.f("uq_dbc_binding_dbc_id_vehicle_id_model_channel"), postgresql_nulls_not_distinct=True,
        ),
    )  # fmt: skip
    op.create_index(op.f("ix_dbc_binding_dbc_id"), "dbc_binding", ["dbc_id"])
    op.create_table(
        "dbc_map",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dbc_id", sa.Integer()),
        sa.Column("vehicle_id", sa.Integer()),
        sa.Column("canonical", sa.Text()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("factor", sa.Double(), server_default=sa.text("1"), nullable=False),
        sa.Column("offset", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["dbc_id"], ["dbc.id"], name=op.f("fk_dbc_map_dbc_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_dbc_map_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dbc_map")),
        sa.UniqueConstraint(
            "dbc_id", "vehicle_id", "canonical", "message", "signal",
            name=op.f("uq_dbc_map_dbc_id_vehicle_id_canonical_message_signal"), postgresql_nulls_not_distinct=True,
        ),
    )  # fmt: skip
    op.create_index(op.f("ix_dbc_map_dbc_id"), "dbc_map", ["dbc_id"])
    op.create_table(
        "upload_log",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("landing_key", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text()),
        sa.Column("start_at", _time()),
        sa.Column("time_zone", sa.Text()),
        sa.Column("signals_key", sa.Text()),
        sa.Column("definitions_sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name=op.f("fk_upload_log_upload_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_upload_log_vehicle_id")),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_upload_log")),
    )
    op.create_index(op.f("ix_upload_log_vehicle_id"), "upload_log", ["vehicle_id"])
    op.add_column("upload", sa.Column("shift_s", sa.Double(), server_default=sa.text("0"), nullable=False))
    op.add_column("extra_signal", sa.Column("unit", sa.Text()))
    for name in FAULT_TABLES:
        _fault_table(name)
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW reading.{name} WITH (security_barrier) AS {query}")


def downgrade() -> None:
    """Take back."""
    for name in VIEWS:
        op.execute(f"DROP VIEW reading.{name}")
    op.drop_column("extra_signal", "unit")
    op.execute("CREATE VIEW reading.extra_signal WITH (security_barrier) AS SELECT * FROM public.extra_signal")
    op.drop_column("upload", "shift_s")
    for name in (*FAULT_TABLES, "upload_log", "dbc_map", "dbc_binding", "dbc"):
        op.drop_table(name)
