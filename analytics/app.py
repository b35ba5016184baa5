"""The read side's process: API, pages and charts. It reads through the role `beachhead_reader` and writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analytics.api import catalogue, health, pilots, problems, quality, telemetry
from analytics.views import Reader
from analytics.web import documents, pages
from analytics.web import quality as quality_pages
from analytics.web import segments as segment_pages
from schemas.addresses import Role, role_url
from schemas.settings import Settings
from schemas.wire import Problem

STATIC = Path(__file__).parent / "web" / "static"
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self'; img-src 'self' data:; script-src 'none'; object-src 'none';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def create_app(given: Settings) -> FastAPI:
    """The application, reading the database that the settings name.

    Raises:
        LocalServerError: no database is set and the local server was never started.
    """
    reader = Reader(role_url(Role.READER, given), pool_size=given.database_pool)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        reader.close()

    app = FastAPI(
        title="Beachhead", version="1", summary="Figures of zero-emission pilot fleets", docs_url=None, redoc_url=None,
        lifespan=lifespan, responses={"default": {"model": Problem, "description": "A problem (RFC 9457)"}},
    )  # fmt: skip
    app.state.reader = reader
    app.add_middleware(SecureHeaders)
    problems.install(app)
    for part in (health, pilots, quality, telemetry, catalogue, pages, quality_pages, segment_pages, documents):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


class SecureHeaders:
    """Adds the security headers to every answer, without touching the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add headers to what comes back."""

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, adding)
