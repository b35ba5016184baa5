"""A small registry with keys, and a client of the real app, for tests of the receiver."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from sqlalchemy.orm import Session

from ingest import store
from ingest.app import create_app
from schemas.database import sqlalchemy_url
from schemas.settings import Settings
from schemas.tables import (
    Assignment,
    Gateway,
    GatewayVehicle,
    Pilot,
    PilotCalendar,
    Vehicle,
    VehicleAlias,
)

START = dt.datetime(2026, 1, 5, 11, tzinfo=dt.UTC)  # 03:00 in Los Angeles
T0 = dt.datetime(2026, 1, 6, 8, tzinfo=dt.UTC)


on_both = pytest.mark.parametrize("landing_settings", ["file", "s3"], indirect=True)
"""The test runs with the landing store in a folder, and in a bucket."""


def at(second: float) -> str:
    """A time of the tests as RFC 3339."""
    return (T0 + dt.timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


@dataclass
class World:
    """A pilot with truck-01, truck-02 (one gateway each and one for both) and another pilot with bus-01."""

    url: str
    keys: dict[str, str]
    vehicle_ids: dict[str, int]


def make_world(database: Any) -> World:
    """Fill a fresh database."""
    engine = sa.create_engine(sqlalchemy_url(database.url()), poolclass=sa.NullPool)
    with Session(engine) as session, session.begin():
        ids = {}
        for slug, names in (("drayage", ("truck-01", "truck-02")), ("buses", ("bus-01",))):
            pilot = Pilot(slug=slug, name=slug, region="US-CA", segment="drayage", starts_on=dt.date(2026, 1, 5))
            session.add(pilot)
            session.flush()
            session.add(
                PilotCalendar(
                    pilot_id=pilot.id,
                    valid_from=dt.date(2026, 1, 5),
                    time_zone="America/Los_Angeles",
                    day_starts_at=dt.time(3),
                )
            )
            for name in names:
                vehicle = Vehicle(name=name, category="truck", powertrain="bev")
                session.add(vehicle)
                session.flush()
                ids[name] = vehicle.id
                session.add(VehicleAlias(alias=f"VIN-{name}", kind="vin", vehicle_id=vehicle.id))
                session.add(Assignment(vehicle_id=vehicle.id, pilot_id=pilot.id, starts_on=dt.date(2026, 1, 5)))
        keys = {}
        by_slug = {pilot.slug: pilot.id for pilot in session.scalars(sa.select(Pilot))}
        wanted = {
            "both": ("drayage", True, ()),
            "one": ("drayage", False, ("truck-01",)),
            "bus": ("buses", False, ("bus-01",)),
        }
        for slug, (pilot_slug, whole, names) in wanted.items():
            gateway = Gateway(pilot_id=by_slug[pilot_slug], slug=slug, whole_pilot=whole)
            session.add(gateway)
            session.flush()
            session.add_all(GatewayVehicle(gateway_id=gateway.id, vehicle_id=ids[name]) for name in names)
            session.flush()
            keys[slug] = store.create_key(session.connection(), gateway.id)
    engine.dispose()
    return World(database.url("beachhead_ingest"), keys, ids)


def empty(database: Any) -> None:
    """Take away what uploads left; the registry stays as make_world made it."""
    with database.connect() as owner:
        owner.execute(
            "TRUNCATE telemetry, signal_sample, extra_signal, stale_mark,"
            " upload, upload_vehicle, upload_body, upload_log, upload_reject, fault_event, fault_sighting"
        )


@dataclass
class Client:
    """Calls the app in this process, from any thread."""

    app: FastAPI
    portal: BlockingPortal

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.portal.call(partial(self._request, method, path, **request))

    async def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
            return await client.request(method, path, **request)


@dataclass
class Pusher:
    """Uploads with one key."""

    client: Client
    key: str

    def post(
        self,
        rows: list[dict[str, Any]] | bytes,
        content_type: str = "application/json",
        *,
        path: str = "/v1/telemetry",
        **headers: str,
    ) -> httpx.Response:
        body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(
            "POST", path, content=body, headers={"Content-Type": content_type, **self.auth, **named}
        )

    def push(
        self, rows: list[dict[str, Any]] | bytes, content_type: str = "application/json", **more: str
    ) -> dict[str, Any]:
        """The receipt of an upload that must succeed."""
        answer = self.post(rows, content_type, **more)
        assert answer.status_code == 200, answer.text
        receipt = answer.json()
        rows_told = receipt["rows"]
        assert rows_told["received"] == sum(
            rows_told[name] for name in ("accepted", "merged", "duplicate", "conflicting", "rejected")
        )
        return receipt

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def get(self, path: str) -> httpx.Response:
        return self.client.request("GET", path, headers=self.auth)


@contextmanager
def receiving(world: World, **changes: Any) -> Iterator[Client]:
    """The app on the world's database, with a landing folder of its own."""
    changes = {"metrics_address": ""} | changes
    with ExitStack() as stack:
        if "landing_url" not in changes:
            changes = {**changes, "landing_url": f"file://{stack.enter_context(TemporaryDirectory())}"}
        app = create_app(Settings(_env_file=None, ingest_url=world.url, **changes))
        portal = stack.enter_context(start_blocking_portal())
        stack.enter_context(portal.wrap_async_context_manager(app.router.lifespan_context(app)))
        yield Client(app, portal)
