"""What each database role may do. Roles are made by `beachhead db up` or by whoever runs the server; this grants.

`beachhead_ingest` writes telemetry, ledger and marks; `beachhead_jobs` writes results and takes marks away;
`beachhead_web` keeps records and imported factors; `beachhead_reader` sees the views of schema `reading`, nothing else.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

REGISTRY = (
    "partner", "site", "charger", "pilot", "pilot_partner", "pilot_calendar", "vehicle", "vehicle_alias",
    "assignment", "gateway", "gateway_vehicle",
)  # fmt: skip
RECORDS = (
    "service_plan", "service_day", "maintenance", "roadcall", "charger_outage", "meter_session", "fuel_dispensed",
)  # fmt: skip
FACTORS = ("own_factor", "grid_hour")
DEFINITIONS = ("dbc", "dbc_binding", "dbc_map")
LEDGER = ("upload", "upload_vehicle", "upload_body", "upload_log", "upload_reject")
RESULTS = ("history_day", "meter_match", "trip", "charge_session", "state_spell", "vehicle_day", "pilot_day")
CLOSED = ("pinned_factors", "report_period")  # nobody may change or delete these
# What is rebuilt from kept uploads, where several of them tell of the same minutes.
REBUILT = ("telemetry", "signal_sample", "fault_event", "fault_sighting")

GRANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "beachhead_ingest": {
        "SELECT": (*REGISTRY, *DEFINITIONS, "api_key", "extra_signal", *REBUILT, *LEDGER, "stale_mark"),
        "INSERT": ("extra_signal", *REBUILT, *LEDGER, "stale_mark"),
        "UPDATE": ("telemetry", "signal_sample", "extra_signal", "upload", "upload_vehicle", "upload_log"),
        "DELETE": REBUILT,
        "UPDATE (last_used_at)": ("api_key",),
    },
    "beachhead_jobs": {
        "SELECT": (*REGISTRY, *RECORDS, *FACTORS, "telemetry", "extra_signal", "signal_sample", "fault_event",
                   "upload", "upload_vehicle", "stale_mark", *RESULTS, *CLOSED),
        "INSERT": ("stale_mark", *RESULTS, *CLOSED),
        "UPDATE": RESULTS,
        "DELETE": ("stale_mark", *RESULTS),
    },
    "beachhead_web": {
        "SELECT": (*REGISTRY, *RECORDS, *FACTORS, "meter_match"),
        "INSERT": (*RECORDS, *FACTORS, "stale_mark"),
        "UPDATE": (*RECORDS, *FACTORS),
        "DELETE": (*RECORDS, *FACTORS, "meter_match"),
    },
}  # fmt: skip
READING_SCHEMA = "reading"


def grant(owner: psycopg.Connection) -> None:
    """Give every role that exists on the server what it needs, and no more. Run again after each migration."""
    present = {name for (name,) in owner.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'beachhead_%'")}
    for role in sorted(present & GRANTS.keys()):
        _grant_tables(owner, role)
    if "beachhead_reader" in present:
        _grant_reading(owner)


def _grant_tables(owner: psycopg.Connection, role: str) -> None:
    name = sql.Identifier(role)
    owner.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(name))
    owner.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(name))
    owner.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(name))
    for privilege, tables in GRANTS[role].items():
        listed = sql.SQL(", ").join(sql.Identifier("public", table) for table in tables)
        owner.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(privilege), listed, name))


def _grant_reading(owner: psycopg.Connection) -> None:
    schema, role = sql.Identifier(READING_SCHEMA), sql.Identifier("beachhead_reader")
    owner.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role))
    owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
    owner.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role))
