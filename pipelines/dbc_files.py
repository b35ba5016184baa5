"""DBC files in the registry: added, bound to vehicles or models, mapped to canonical signals."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingest.can.dbc import Dbc
from ingest.can.specs import Canonical
from schemas.errors import NotFoundError
from schemas.tables import Assignment, DbcBinding, DbcFile, DbcMap, Pilot, Vehicle

SHORT = 12


def vehicle_id(connection: sa.Connection, name: str) -> int:
    """A vehicle by its name, or `pilot/vehicle` where several pilots use the name.

    Raises:
        NotFoundError: there is none, or more than one.
    """
    pilot, _, vehicle = name.rpartition("/")
    query = sa.select(Vehicle.id).where(Vehicle.name == vehicle)
    if pilot:
        query = query.join(Assignment, Assignment.vehicle_id == Vehicle.id)
        query = query.join(Pilot, Pilot.id == Assignment.pilot_id).where(Pilot.slug == pilot)
    found = connection.scalars(query.distinct()).all()
    if not found:
        raise NotFoundError(f"no vehicle {name}")
    if len(found) > 1:
        raise NotFoundError(f"{name} is in several pilots: write pilot/{vehicle}")
    return found[0]


def add(connection: sa.Connection, dbc: Dbc, content: bytes) -> int:
    """Store a DBC file, unless the same content is stored; returns its id."""
    known = connection.scalar(sa.select(DbcFile.id).where(DbcFile.sha256 == dbc.sha256))
    if known is not None:
        return known
    values = {
        "sha256": dbc.sha256, "name": dbc.name, "content": content, "messages": len(dbc.messages),
        "signals": sum(len(message.signals) for message in dbc.messages), "warnings": list(dbc.warnings),
    }  # fmt: skip
    return connection.scalars(sa.insert(DbcFile).values(**values).returning(DbcFile.id)).one()


def bind(connection: sa.Connection, dbc_id: int, vehicle: int | None, model: str | None, channel: str | None) -> None:
    """Let a DBC file hold for a vehicle or a model, on a channel or on all. Again, it stays as it is."""
    known = sa.select(DbcBinding.id).where(
        DbcBinding.dbc_id == dbc_id,
        DbcBinding.vehicle_id.is_not_distinct_from(vehicle),
        DbcBinding.model.is_not_distinct_from(model),
        DbcBinding.channel.is_not_distinct_from(channel),
    )
    if connection.scalar(known) is None:
        values = {"dbc_id": dbc_id, "vehicle_id": vehicle, "model": model, "channel": channel}
        connection.execute(sa.insert(DbcBinding).values(**values))


def find(connection: sa.Connection, name: str) -> tuple[int, bytes, str]:
    """Id, content and name of a DBC file, by its name or the beginning of its hash.

    Raises:
        NotFoundError: there is none, or more than one.
    """
    query = sa.select(DbcFile.id, DbcFile.content, DbcFile.name).where(
        sa.or_(DbcFile.name == name, DbcFile.sha256.startswith(name, autoescape=True))
    )
    found = connection.execute(query).all()
    if len(found) != 1:
        raise NotFoundError(
            f"{'no DBC file is' if not found else 'several DBC files are'} called {name}: see `dbc list`"
        )
    return found[0].id, found[0].content, found[0].name


def listed(connection: sa.Connection) -> list[dict[str, Any]]:
    """Every DBC file with each place where it holds."""
    query = (
        sa.select(DbcFile, DbcBinding.channel, DbcBinding.model, Vehicle.name.label("vehicle"))
        .outerjoin(DbcBinding, DbcBinding.dbc_id == DbcFile.id)
        .outerjoin(Vehicle, Vehicle.id == DbcBinding.vehicle_id)
        .order_by(DbcFile.id, DbcBinding.id)
    )
    return [
        {
            "dbc": row.name, "sha256": row.sha256[:SHORT], "vehicle": row.vehicle, "model": row.model,
            "channel": row.channel, "messages": row.messages, "signals": row.signals, "warnings": len(row.warnings),
        }
        for row in connection.execute(query)
    ]  # fmt: skip


def mapped(connection: sa.Connection, dbc_id: int | None) -> list[dict[str, Any]]:
    """The map of a DBC file, or of the built-in table (None)."""
    query = (
        sa.select(DbcMap.canonical, DbcMap.message, DbcMap.signal, DbcMap.factor, DbcMap.offset, Vehicle.name)
        .outerjoin(Vehicle, Vehicle.id == DbcMap.vehicle_id)
        .where(DbcMap.dbc_id.is_not_distinct_from(dbc_id))
        .order_by(DbcMap.id)
    )
    return [
        {"canonical": c or "(kept in full)", "signal": f"{m}.{s}", "factor": f, "offset": o, "vehicle": v}
        for c, m, s, f, o, v in connection.execute(query)
    ]


def set_map(
    connection: sa.Connection, dbc_id: int | None, vehicle: int | None, name: str | None, signals: list[Canonical]
) -> None:
    """Say which signals are a canonical one (or, with name None, are kept in full); what was said before goes."""
    where = (
        DbcMap.dbc_id.is_not_distinct_from(dbc_id),
        DbcMap.vehicle_id.is_not_distinct_from(vehicle),
        DbcMap.canonical.is_not_distinct_from(name),
    )
    connection.execute(sa.delete(DbcMap).where(*where))
    for signal in signals:
        values = {
            "dbc_id": dbc_id, "vehicle_id": vehicle, "canonical": name, "message": signal.message,
            "signal": signal.signal, "factor": signal.factor, "offset": signal.offset,
        }  # fmt: skip
        connection.execute(sa.insert(DbcMap).values(**values))


def vehicles_of(connection: sa.Connection, dbc_id: int) -> list[int]:
    """The vehicles for which a DBC file holds, by themselves or by their model."""
    holds = sa.or_(DbcBinding.vehicle_id == Vehicle.id, DbcBinding.model == Vehicle.model)
    query = sa.select(Vehicle.id).join(DbcBinding, holds).where(DbcBinding.dbc_id == dbc_id)
    return list(connection.scalars(query.distinct().order_by(Vehicle.id)))
