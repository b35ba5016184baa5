"""Lists for people: what the commands print of pilots, vehicles, gateways and uploads."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from analytics.factors.own import to_list, with_own
from analytics.factors.resolve import electricity, fuels, grid_reasons
from pipelines.store import PilotFacts, vehicles_frame
from schemas import tables
from schemas.errors import NotFoundError


def pilot_rows(connection: sa.Connection) -> list[dict[str, Any]]:
    """Every pilot with its size."""
    pilot, assignment = tables.Pilot, tables.Assignment
    vehicles = sa.func.count(assignment.vehicle_id.distinct())
    query = (
        sa.select(pilot.slug, pilot.name, pilot.region, pilot.segment, pilot.starts_on, vehicles.label("vehicles"))
        .outerjoin(assignment, assignment.pilot_id == pilot.id)
        .group_by(pilot.id)
        .order_by(pilot.slug)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def vehicle_rows(connection: sa.Connection, facts: PilotFacts) -> list[dict[str, Any]]:
    """The vehicles of a pilot, and since when and until when it has heard of them."""
    vehicles = {row["vehicle_id"]: row for row in vehicles_frame(
        connection, facts.pilot_id, [vehicle.vehicle_id for vehicle in facts.vehicles]
    ).to_dicts()}  # fmt: skip
    return [
        {
            "vehicle": vehicle.name, "category": vehicles[vehicle.vehicle_id]["category"],
            "powertrain": vehicles[vehicle.vehicle_id]["powertrain"],
            "grid": vehicles[vehicle.vehicle_id]["grid"], "from": vehicle.starts_on, "to": vehicle.ends_on,
            "first_row": vehicle.first_time, "last_row": vehicle.last_time,
        }
        for vehicle in facts.vehicles
    ]  # fmt: skip


def gateway_id(connection: sa.Connection, name: str) -> int:
    """A gateway by `gateway`, or `pilot/gateway` where several pilots use the name.

    Raises:
        NotFoundError: there is none, or more than one.
    """
    pilot, _, slug = name.rpartition("/")
    query = sa.select(tables.Gateway.id).join(tables.Pilot, tables.Pilot.id == tables.Gateway.pilot_id)
    query = query.where(tables.Gateway.slug == slug, tables.Gateway.ends_on.is_(None))
    ids = list(connection.scalars(query.where(tables.Pilot.slug == pilot) if pilot else query))
    if len(ids) == 1:
        return ids[0]
    reason = "there is no such gateway" if not ids else "several pilots have it; write pilot/gateway"
    raise NotFoundError(f"{name}: {reason}")


def gateway_ids(connection: sa.Connection) -> dict[str, int]:
    """Every gateway in use, by name."""
    query = sa.select(tables.Gateway.slug, tables.Gateway.id).where(tables.Gateway.ends_on.is_(None))
    return {row.slug: row.id for row in connection.execute(query)}


def upload_rows(
    connection: sa.Connection, vehicle: str | None, since: dt.datetime | None, limit: int
) -> list[dict[str, Any]]:
    """The newest uploads with their counts."""
    upload, part = tables.Upload, tables.UploadVehicle
    query = (
        sa.select(
            upload.id.label("upload"), upload.received_at, tables.Gateway.slug.label("gateway"), upload.status,
            upload.rows_received, upload.rows_accepted, upload.rows_merged, upload.rows_duplicate,
            upload.rows_conflicting, upload.rows_rejected, upload.fields_rejected, upload.first_time, upload.last_time,
        )
        .join(tables.Gateway, tables.Gateway.id == upload.gateway_id)
        .order_by(upload.seq.desc())
        .limit(limit)
    )  # fmt: skip
    if since is not None:
        query = query.where(upload.received_at >= since)
    if vehicle is not None:
        named = sa.select(part.upload_id).join(tables.Vehicle, tables.Vehicle.id == part.vehicle_id)
        query = query.where(upload.id.in_(named.where(tables.Vehicle.name == vehicle)))
    return [dict(row._mapping) for row in connection.execute(query)]


def upload_receipt(connection: sa.Connection, upload_id: uuid.UUID) -> dict[str, Any]:
    """The receipt of an upload.

    Raises:
        NotFoundError: there is no such upload.
    """
    receipt: dict[str, Any] | None = connection.scalar(sa.select(tables.Upload.receipt).filter_by(id=upload_id))
    if receipt is None:
        raise NotFoundError(f"there is no upload {upload_id}; `beachhead upload list` shows the newest")
    return receipt


def upload_changes(connection: sa.Connection, upload_id: uuid.UUID) -> dict[str, Any]:
    """What an operator put right in an upload, and since when its bytes are gone; only what there is."""
    upload = tables.Upload
    row = connection.execute(
        sa.select(upload.shift_s, upload.scales, upload.expired_at).where(upload.id == upload_id)
    ).one()
    return {name: value for name, value in row._mapping.items() if value}


FACTOR_COLUMNS = ("id", "name", "value", "unit", "boundary", "gases", "year", "edition", "confidence", "source")


@dataclass(frozen=True)
class FuelPlace:
    """Where a fuel is burnt, and by whom (null: nobody in particular)."""

    region: str
    pilot_id: int | None


def factor_rows(own: pl.DataFrame, kind: str | None, *, own_only: bool) -> list[dict[str, Any]]:
    """Every factor, shipped or of `own` (`OwnRows`)."""
    rows = to_list(own)
    if kind is not None:
        rows = rows.filter(pl.col("kind") == kind)
    if own_only:
        rows = rows.filter(pl.col("id").is_in(own["id"].implode()))
    return rows.select(FACTOR_COLUMNS).to_dicts()


def factor_answers(own: pl.DataFrame, name: str, place: FuelPlace, day: dt.date) -> list[dict[str, Any]]:
    """The factors that hold for a grid or a fuel on a day, best first, and why where there is none."""
    table = with_own(own)
    if ":" in name:
        asked = pl.DataFrame({"grid": [name], "region": [place.region], "day": [day]})
        found = electricity(asked, table)
        reasons = grid_reasons(asked, table).filter(~pl.col("boundary").is_in(found["boundary"].implode()))
    else:
        case = {"pilot_id": [place.pilot_id], "region": [place.region], "fuel": [name], "day": [day]}
        found = fuels(pl.DataFrame(case, schema_overrides={"pilot_id": pl.Int32}), table)
        reasons = pl.DataFrame(schema={"boundary": pl.String, "grid_reason": pl.String})
    told = found.select("boundary", "id", "value", "unit", "gases", "edition", "confidence", "source")
    silent = reasons.select("boundary", source=pl.col("grid_reason"))
    rows = pl.concat([told, silent], how="diagonal_relaxed")
    return rows.sort("boundary", maintain_order=True).to_dicts()
