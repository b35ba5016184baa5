"""The floor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

HYPERTABLES = ("telemetry", "signal_sample")

PLAIN_VIEWS = (
    "partner",
    "site",
    "charger",
    "pilot",
    "pilot_partner",
    "pilot_calendar",
    "vehicle",
    "assignment",
    "service_plan",
    "service_day",
    "maintenance",
    "roadcall",
    "telemetry",
    "extra_signal",
    "signal_sample",
    "upload_vehicle",
    "stale_mark",
    "trip",
    "vehicle_day",
    "pilot_day",
)

UPLOAD_VIEW = """
CREATE VIEW reading.upload WITH (security_barrier) AS
SELECT id, seq, gateway_id, kind, encode(sha256, 'hex') AS sha256, content_type, size_bytes, status, reason,
       received_at, loaded_at, first_time, last_time, rows_received, rows_accepted, rows_merged, rows_duplicate,
       rows_conflicting, rows_rejected, rows_late, fields_rejected
FROM public.upload
"""

FIGURE_VIEW = """
CREATE VIEW reading.{grain}_figure WITH (security_barrier) AS
SELECT {keys}, figure.key AS metric,
       (figure.value->>'value')::double precision AS value,
       (figure.value->>'low')::double precision AS low,
       (figure.value->>'high')::double precision AS high,
       (figure.value->>'coverage_pct')::double precision AS coverage_pct,
       (figure.value->>'weight')::double precision AS weight,
       figure.value->>'method' AS method,
       figure.value->>'note' AS note
FROM public.{grain}, jsonb_each(figures) AS figure
"""


def _hypertables_and_views() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    for table in HYPERTABLES:
        op.execute(
            f"SELECT create_hypertable('public.{table}', by_range('time', INTERVAL '7 days'),"
            " create_default_indexes => false)"
        )
    op.execute("CREATE SCHEMA reading")
    for name in PLAIN_VIEWS:
        op.execute(f"CREATE VIEW reading.{name} WITH (security_barrier) AS SELECT * FROM public.{name}")  # noqa: S608
    op.execute(UPLOAD_VIEW)
    op.execute(FIGURE_VIEW.format(grain="vehicle_day", keys="pilot_id, vehicle_id, day"))
    op.execute(FIGURE_VIEW.format(grain="pilot_day", keys="pilot_id, day"))


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "partner",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partner")),
        sa.UniqueConstraint("slug", name=op.f("uq_partner_slug")),
    )
    op.create_table(
        "pilot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("grid", sa.Text(), nullable=True),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("baseline_from", sa.Date(), nullable=True),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column(
            "targets", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "funding", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pilot")),
        sa.UniqueConstraint("slug", name=op.f("uq_pilot_slug")),
    )
    op.create_table(
        "signal_sample",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("signal_id", sa.Integer(), nullable=False),
        sa.Column("time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("vehicle_id", "signal_id", "time", name=op.f("pk_signal_sample")),
        comment="Hypertable. Values of extra signals; booleans are 0 and 1 in `number`.",
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("latitude_deg", sa.Double(), nullable=True),
        sa.Column("longitude_deg", sa.Double(), nullable=True),
        sa.Column("grid", sa.Text(), nullable=True),
        sa.Column("line_loss_pct", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("slug", name=op.f("uq_site_slug")),
    )
    op.create_table(
        "telemetry",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("speed_kmh", sa.Double(), nullable=True),
        sa.Column("odometer_km", sa.Double(), nullable=True),
        sa.Column("latitude_deg", sa.Double(), nullable=True),
        sa.Column("longitude_deg", sa.Double(), nullable=True),
        sa.Column("altitude_m", sa.Double(), nullable=True),
        sa.Column("heading_deg", sa.Double(), nullable=True),
        sa.Column("gnss_hdop", sa.Double(), nullable=True),
        sa.Column("payload_kg", sa.Double(), nullable=True),
        sa.Column("gross_combination_mass_kg", sa.Double(), nullable=True),
        sa.Column("ignition_on", sa.Boolean(), nullable=True),
        sa.Column("ready", sa.Boolean(), nullable=True),
        sa.Column("parking_brake_on", sa.Boolean(), nullable=True),
        sa.Column("plugged_in", sa.Boolean(), nullable=True),
        sa.Column("charging", sa.Boolean(), nullable=True),
        sa.Column("pto_on", sa.Boolean(), nullable=True),
        sa.Column("operating_hours_h", sa.Double(), nullable=True),
        sa.Column("engine_hours_h", sa.Double(), nullable=True),
        sa.Column("motor_hours_h", sa.Double(), nullable=True),
        sa.Column("pto_hours_h", sa.Double(), nullable=True),
        sa.Column("idle_hours_h", sa.Double(), nullable=True),
        sa.Column("lift_cycles_count", sa.BigInteger(), nullable=True),
        sa.Column("battery_soc_pct", sa.Double(), nullable=True),
        sa.Column("displayed_soc_pct", sa.Double(), nullable=True),
        sa.Column("battery_soh_pct", sa.Double(), nullable=True),
        sa.Column("battery_voltage_v", sa.Double(), nullable=True),
        sa.Column("battery_current_a", sa.Double(), nullable=True),
        sa.Column("battery_power_kw", sa.Double(), nullable=True),
        sa.Column("battery_temperature_c", sa.Double(), nullable=True),
        sa.Column("energy_charged_kwh", sa.Double(), nullable=True),
        sa.Column("energy_discharged_kwh", sa.Double(), nullable=True),
        sa.Column("energy_regenerated_kwh", sa.Double(), nullable=True),
        sa.Column("motor_power_kw", sa.Double(), nullable=True),
        sa.Column("auxiliary_power_kw", sa.Double(), nullable=True),
        sa.Column("hvac_power_kw", sa.Double(), nullable=True),
        sa.Column("hotel_power_kw", sa.Double(), nullable=True),
        sa.Column("shaft_power_kw", sa.Double(), nullable=True),
        sa.Column("fuel_cell_power_kw", sa.Double(), nullable=True),
        sa.Column("grid_power_kw", sa.Double(), nullable=True),
        sa.Column("grid_energy_kwh", sa.Double(), nullable=True),
        sa.Column("charger_output_power_kw", sa.Double(), nullable=True),
        sa.Column("charger_output_energy_kwh", sa.Double(), nullable=True),
        sa.Column("fuel_used_l", sa.Double(), nullable=True),
        sa.Column("heater_fuel_used_l", sa.Double(), nullable=True),
        sa.Column("genset_fuel_used_l", sa.Double(), nullable=True),
        sa.Column("hydrogen_used_kg", sa.Double(), nullable=True),
        sa.Column("cng_used_kg", sa.Double(), nullable=True),
        sa.Column("fuel_rate_l_h", sa.Double(), nullable=True),
        sa.Column("fuel_level_pct", sa.Double(), nullable=True),
        sa.Column("hydrogen_rate_kg_h", sa.Double(), nullable=True),
        sa.Column("hydrogen_mass_kg", sa.Double(), nullable=True),
        sa.Column("hydrogen_pressure_bar", sa.Double(), nullable=True),
        sa.Column("hydrogen_temperature_c", sa.Double(), nullable=True),
        sa.Column("cng_rate_kg_h", sa.Double(), nullable=True),
        sa.Column("fuel_cell_hours_h", sa.Double(), nullable=True),
        sa.Column("engine_speed_rpm", sa.Double(), nullable=True),
        sa.Column("engine_torque_pct", sa.Double(), nullable=True),
        sa.Column("engine_reference_torque_nm", sa.Double(), nullable=True),
        sa.Column("nox_outlet_ppm", sa.Double(), nullable=True),
        sa.Column("def_level_pct", sa.Double(), nullable=True),
        sa.Column("ambient_temperature_c", sa.Double(), nullable=True),
        sa.Column("cabin_temperature_c", sa.Double(), nullable=True),
        sa.Column("red_stop_lamp", sa.Boolean(), nullable=True),
        sa.Column("amber_warning_lamp", sa.Boolean(), nullable=True),
        sa.Column("protect_lamp", sa.Boolean(), nullable=True),
        sa.Column("malfunction_lamp", sa.Boolean(), nullable=True),
        sa.Column("fault_count", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("vehicle_id", "time", name=op.f("pk_telemetry")),
        comment="Hypertable. One row per vehicle and instant, one column per canonical signal.",
    )
    op.create_table(
        "charger",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("rated_kw", sa.Double(), nullable=True),
        sa.Column("efficiency_pct", sa.Double(), nullable=True),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_charger_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charger")),
        sa.UniqueConstraint("site_id", "slug", name=op.f("uq_charger_site_id_slug")),
    )
    op.create_table(
        "gateway",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("whole_pilot", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_gateway_pilot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway")),
        sa.UniqueConstraint("pilot_id", "slug", name=op.f("uq_gateway_pilot_id_slug")),
    )
    op.create_table(
        "pilot_calendar",
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("day_starts_at", sa.Time(), nullable=False),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_pilot_calendar_pilot_id")),
        sa.PrimaryKeyConstraint("pilot_id", "valid_from", name=op.f("pk_pilot_calendar")),
    )
    op.create_table(
        "pilot_day",
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("vehicles", sa.Integer(), nullable=False),
        sa.Column("data_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("factors", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("computed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_pilot_day_pilot_id")),
        sa.PrimaryKeyConstraint("pilot_id", "day", name=op.f("pk_pilot_day")),
    )
    op.create_table(
        "pilot_partner",
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("partner_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["partner_id"], ["partner.id"], name=op.f("fk_pilot_partner_partner_id")),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_pilot_partner_pilot_id")),
        sa.PrimaryKeyConstraint("pilot_id", "partner_id", "role", name=op.f("pk_pilot_partner")),
    )
    op.create_table(
        "vehicle",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("powertrain", sa.Text(), nullable=False),
        sa.Column("make", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("model_year", sa.Integer(), nullable=True),
        sa.Column("gross_mass_kg", sa.Double(), nullable=True),
        sa.Column("nameplate_battery_kwh", sa.Double(), nullable=True),
        sa.Column("usable_battery_kwh", sa.Double(), nullable=True),
        sa.Column("battery_packs", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("sample_period_s", sa.Double(), server_default=sa.text("1"), nullable=False),
        sa.Column("sleeps_at_key_off", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("baseline", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "category IN ('truck', 'bus', 'equipment', 'vessel', 'car')", name=op.f("ck_vehicle_category")
        ),
        sa.CheckConstraint(
            "powertrain IN ('bev', 'fcev', 'phev', 'hev', 'cng', 'lng', 'diesel')", name=op.f("ck_vehicle_powertrain")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_vehicle_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vehicle")),
    )
    op.create_index(op.f("ix_vehicle_name"), "vehicle", ["name"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_api_key_gateway_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_key_prefix")),
    )
    op.create_index(op.f("ix_api_key_gateway_id"), "api_key", ["gateway_id"], unique=False)
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.CheckConstraint("ends_on IS NULL OR ends_on >= starts_on - 1", name=op.f("ck_assignment_order")),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_assignment_pilot_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_assignment_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
        sa.UniqueConstraint("vehicle_id", "starts_on", name=op.f("uq_assignment_vehicle_id_starts_on")),
    )
    op.create_index(op.f("ix_assignment_pilot_id"), "assignment", ["pilot_id"], unique=False)
    op.create_index(op.f("ix_assignment_vehicle_id"), "assignment", ["vehicle_id"], unique=False)
    op.create_table(
        "extra_signal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('number', 'boolean', 'text')", name=op.f("ck_extra_signal_kind")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_extra_signal_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_extra_signal")),
        sa.UniqueConstraint("vehicle_id", "name", name=op.f("uq_extra_signal_vehicle_id_name")),
    )
    op.create_table(
        "gateway_vehicle",
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_gateway_vehicle_gateway_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_gateway_vehicle_vehicle_id")),
        sa.PrimaryKeyConstraint("gateway_id", "vehicle_id", name=op.f("pk_gateway_vehicle")),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_maintenance_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
        sa.UniqueConstraint("vehicle_id", "starts_at", name=op.f("uq_maintenance_vehicle_id_starts_at")),
    )
    op.create_table(
        "roadcall",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("system IN ('propulsion', 'storage', 'other')", name=op.f("ck_roadcall_system")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_roadcall_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roadcall")),
        sa.UniqueConstraint("vehicle_id", "time", name=op.f("uq_roadcall_vehicle_id_time")),
    )
    op.create_table(
        "service_day",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("starts_at", sa.Time(), nullable=True),
        sa.Column("ends_at", sa.Time(), nullable=True),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_service_day_vehicle_id")),
        sa.PrimaryKeyConstraint("vehicle_id", "day", name=op.f("pk_service_day")),
    )
    op.create_table(
        "service_plan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("weekdays", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("starts_at", sa.Time(), nullable=False),
        sa.Column("ends_at", sa.Time(), nullable=False),
        sa.Column("holidays", postgresql.ARRAY(sa.Date()), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_service_plan_pilot_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_service_plan_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_plan")),
        sa.UniqueConstraint(
            "pilot_id",
            "vehicle_id",
            "valid_from",
            name=op.f("uq_service_plan_pilot_id_vehicle_id_valid_from"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_service_plan_pilot_id"), "service_plan", ["pilot_id"], unique=False)
    op.create_table(
        "stale_mark",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("from_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("to_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("marked_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_stale_mark_vehicle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stale_mark")),
    )
    op.create_index(op.f("ix_stale_mark_vehicle_id"), "stale_mark", ["vehicle_id"], unique=False)
    op.create_table(
        "trip",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("distance_km", sa.Double(), nullable=True),
        sa.Column("energy_used_kwh", sa.Double(), nullable=True),
        sa.Column("soc_start_pct", sa.Double(), nullable=True),
        sa.Column("soc_end_pct", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_trip_pilot_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_trip_vehicle_id")),
        sa.PrimaryKeyConstraint("vehicle_id", "starts_at", name=op.f("pk_trip")),
    )
    op.create_index("ix_trip_pilot_id_day", "trip", ["pilot_id", "day"], unique=False)
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("gateway_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("loaded_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("first_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("rows_received", sa.Integer(), nullable=False),
        sa.Column("rows_accepted", sa.Integer(), nullable=False),
        sa.Column("rows_merged", sa.Integer(), nullable=False),
        sa.Column("rows_duplicate", sa.Integer(), nullable=False),
        sa.Column("rows_conflicting", sa.Integer(), nullable=False),
        sa.Column("rows_rejected", sa.Integer(), nullable=False),
        sa.Column("rows_late", sa.Integer(), nullable=False),
        sa.Column("fields_rejected", sa.Integer(), nullable=False),
        sa.Column("receipt", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("status IN ('loaded', 'queued', 'failed', 'void')", name=op.f("ck_upload_status")),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateway.id"], name=op.f("fk_upload_gateway_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
        sa.UniqueConstraint("seq", name=op.f("uq_upload_seq")),
    )
    op.create_index("ix_upload_received_at", "upload", ["received_at"], unique=False)
    op.create_index(
        "uq_upload_idempotency_key",
        "upload",
        ["gateway_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL AND status = 'loaded'"),
    )
    op.create_index(
        "uq_upload_same",
        "upload",
        ["gateway_id", "kind", "sha256", "query"],
        unique=True,
        postgresql_where=sa.text("status = 'loaded'"),
    )
    op.create_table(
        "vehicle_alias",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_vehicle_alias_vehicle_id")),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_vehicle_alias")),
    )
    op.create_index(op.f("ix_vehicle_alias_vehicle_id"), "vehicle_alias", ["vehicle_id"], unique=False)
    op.create_table(
        "vehicle_day",
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("pilot_id", sa.Integer(), nullable=False),
        sa.Column("starts_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("data_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("input_rows", sa.Integer(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("factors", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("computed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["pilot_id"], ["pilot.id"], name=op.f("fk_vehicle_day_pilot_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_vehicle_day_vehicle_id")),
        sa.PrimaryKeyConstraint("vehicle_id", "day", name=op.f("pk_vehicle_day")),
    )
    op.create_index("ix_vehicle_day_pilot_id_day", "vehicle_day", ["pilot_id", "day"], unique=False)
    op.create_table(
        "upload_body",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("body_zstd", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name=op.f("fk_upload_body_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_upload_body")),
    )
    # The bodies are compressed already: PostgreSQL need not try again.
    op.execute("ALTER TABLE upload_body ALTER COLUMN body_zstd SET STORAGE EXTERNAL")
    op.create_table(
        "upload_reject",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=True),
        sa.Column("time", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name=op.f("fk_upload_reject_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "n", name=op.f("pk_upload_reject")),
    )
    op.create_table(
        "upload_vehicle",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("vehicle_id", sa.Integer(), nullable=False),
        sa.Column("first_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_time", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name=op.f("fk_upload_vehicle_upload_id")),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicle.id"], name=op.f("fk_upload_vehicle_vehicle_id")),
        sa.PrimaryKeyConstraint("upload_id", "vehicle_id", name=op.f("pk_upload_vehicle")),
    )
    op.create_index(
        "ix_upload_vehicle_range", "upload_vehicle", ["vehicle_id", "first_time", "last_time"], unique=False
    )

    _hypertables_and_views()


def downgrade() -> None:
    """Take back."""
    op.execute("DROP SCHEMA reading CASCADE")
    op.drop_index("ix_upload_vehicle_range", table_name="upload_vehicle")
    op.drop_table("upload_vehicle")
    op.drop_table("upload_reject")
    op.drop_table("upload_body")
    op.drop_index("ix_vehicle_day_pilot_id_day", table_name="vehicle_day")
    op.drop_table("vehicle_day")
    op.drop_index(op.f("ix_vehicle_alias_vehicle_id"), table_name="vehicle_alias")
    op.drop_table("vehicle_alias")
    op.drop_index("uq_upload_same", table_name="upload", postgresql_where=sa.text("status = 'loaded'"))
    op.drop_index(
        "uq_upload_idempotency_key",
        table_name="upload",
        postgresql_where=sa.text("idempotency_key IS NOT NULL AND status = 'loaded'"),
    )
    op.drop_index("ix_upload_received_at", table_name="upload")
    op.drop_table("upload")
    op.drop_index("ix_trip_pilot_id_day", table_name="trip")
    op.drop_table("trip")
    op.drop_index(op.f("ix_stale_mark_vehicle_id"), table_name="stale_mark")
    op.drop_table("stale_mark")
    op.drop_index(op.f("ix_service_plan_pilot_id"), table_name="service_plan")
    op.drop_table("service_plan")
    op.drop_table("service_day")
    op.drop_table("roadcall")
    op.drop_table("maintenance")
    op.drop_table("gateway_vehicle")
    op.drop_table("extra_signal")
    op.drop_index(op.f("ix_assignment_vehicle_id"), table_name="assignment")
    op.drop_index(op.f("ix_assignment_pilot_id"), table_name="assignment")
    op.drop_table("assignment")
    op.drop_index(op.f("ix_api_key_gateway_id"), table_name="api_key")
    op.drop_table("api_key")
    op.drop_index(op.f("ix_vehicle_name"), table_name="vehicle")
    op.drop_table("vehicle")
    op.drop_table("pilot_partner")
    op.drop_table("pilot_day")
    op.drop_table("pilot_calendar")
    op.drop_table("gateway")
    op.drop_table("charger")
    op.drop_table("telemetry")
    op.drop_table("site")
    op.drop_table("signal_sample")
    op.drop_table("pilot")
    op.drop_table("partner")
