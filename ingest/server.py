"""How the receiver is served: what the server process runs, and what each of its workers starts."""

from __future__ import annotations

from granian.constants import Interfaces
from granian.http import HTTP2Settings
from granian.server import Server
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from starlette.types import ASGIApp

from schemas import logs, starting
from schemas.addresses import Role, role_url
from schemas.memory import keep_freed_memory
from schemas.settings import Settings, settings


def application() -> ASGIApp:
    """The receiver with this process's settings."""
    with starting.importing():
        from ingest.app import create_app
    logs.configure()
    keep_freed_memory()
    app: ASGIApp = create_app(settings())
    proxies = settings().trusted_proxies
    return wrap_asgi_with_proxy_headers(app, proxies) if proxies else app


def serve(given: Settings, *, host: str, port: int, workers: int = 1) -> None:
    """Serve until the process is told to end. Requests under way are finished.

    Raises:
        LocalServerError: no database is set, and the local one was never started.
    """
    role_url(Role.INGEST, given)
    Server(
        "ingest.server:application",
        address=host,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        factory=True,
        log_access=False,
        log_dictconfig=logs.SERVER,
        # A worker that is killed comes back; when that happens twice within seconds, whatever supervises starts anew.
        respawn_failed_workers=True,
        respawn_interval=0.1,
        http2_settings=HTTP2Settings(max_headers_size=given.max_header_bytes),
    ).serve()
