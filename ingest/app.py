"""The receiver as an application."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Any, cast

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from ingest import endpoints, log_endpoints, logs, problems, store
from ingest.auth import Attempts
from ingest.calls import Admitted, Asked
from ingest.drain import Drain
from ingest.gates import Gates
from ingest.group import Groups
from ingest.log_parts import LogParts
from ingest.log_receiver import LogReceiver
from ingest.meters import Measured, Meters, MetersServer, State, StateCollector
from ingest.openapi import DESCRIPTION, complete
from ingest.receiver import Receiver
from schemas import database
from schemas.addresses import Role, role_url
from schemas.errors import UnavailableError
from schemas.settings import Settings

ASSETS = "/docs/assets"


def create_app(given: Settings) -> FastAPI:
    """The receiver. Nothing is opened before the app starts."""
    meters = Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = database.engine(
            role_url(Role.INGEST, given), pool_size=given.database_pool, application="beachhead-ingest"
        )
        app.state.receiver = Receiver(engine, given)
        app.state.log_receiver = LogReceiver(app.state.receiver)
        app.state.attempts = Attempts(app.state.receiver.keys, given.failed_keys_per_minute)
        app.state.asked = Asked()
        app.state.gates, app.state.meters = Gates(given), meters
        app.state.log_parts = LogParts(app.state.log_receiver)
        app.state.limiter = CapacityLimiter(given.database_pool)
        app.state.disk_limiter = CapacityLimiter(given.database_pool)
        await to_thread.run_sync(app.state.log_parts.parts.expire)
        await to_thread.run_sync(app.state.receiver.waiting.sweep)
        await to_thread.run_sync(app.state.receiver.landing.sweep)
        drain = Drain(app.state.receiver, app.state.log_receiver, meters.upload)
        drain.start()
        app.state.groups = Groups(app.state.receiver, given.group_wait_ms / 1000)
        app.state.groups.start()
        meters.registry.register(StateCollector(meters, states(app, engine)))
        metrics = MetersServer(meters, given.metrics_address) if given.metrics_address else None
        if metrics is not None:
            metrics.start()
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked through again and again
        yield
        if metrics is not None:
            await to_thread.run_sync(metrics.stop)
        await to_thread.run_sync(app.state.groups.stop)
        await to_thread.run_sync(drain.stop)
        engine.dispose()

    app = FastAPI(
        title="Beachhead receiver",
        version=version("beachhead"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    for router in (endpoints.v1, log_endpoints.v1, endpoints.router):
        app.include_router(router)
    app.add_middleware(Admitted)
    app.add_middleware(Measured, meters=meters)
    app.add_middleware(logs.RequestLog)
    problems.install(app)
    _add_docs(app)
    return app


def states(app: FastAPI, engine: sa.Engine) -> list[State]:
    """What can be asked of a running receiver."""
    gates, attempts, waiting = app.state.gates, app.state.attempts, app.state.receiver.waiting
    pool = cast(sa.QueuePool, engine.pool)
    return [
        State("uploads_under_way", "Uploads whose body comes or that are being loaded.", lambda: gates.uploads),
        State("uploads_held_bytes", "Bytes of uploads of rows in memory.", lambda: gates.held_bytes),
        State("received_bytes", "Bytes of bodies, as they came.", lambda: gates.received_bytes, counts=True),
        State("database_connections_in_use", "Of the pool.", pool.checkedout),
        State("database_connections_most", "The size of the pool.", pool.size),
        State("waiting_uploads", "Uploads that wait for the database.", waiting.count),
        State("waiting_bytes", "Bytes of uploads that wait for the database.", waiting.bytes_waiting),
        State("results_behind_seconds", "How long the jobs have owed results of what came.", lambda: _behind_s(engine)),
        State("unknown_keys", "Requests with an unknown key.", lambda: attempts.failed, counts=True),
        State("key_attempts_refused", "Requests refused for too many of those.", lambda: attempts.refused, counts=True),
    ]


def _behind_s(engine: sa.Engine) -> float:
    """How long the jobs have owed results; uploads go first where connections are short."""
    pool = cast(sa.QueuePool, engine.pool)
    if pool.checkedout() >= pool.size():
        raise UnavailableError("all connections are in use")
    with database.unavailable_when_gone(), database.psycopg_transaction(engine) as db:
        return store.results_behind_s(db)


def _add_docs(app: FastAPI) -> None:
    """`/docs` from assets that are installed with the app, so that it works offline."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        return complete(plain())

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount(ASSETS, StaticFiles(directory=str(files("fastapi_swagger.resources"))), name="assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        )
