"""How the read side is served."""

from __future__ import annotations

import multiprocessing
from functools import partial

from granian import Granian
from granian.constants import Interfaces
from starlette.types import ASGIApp

from schemas import logs, starting
from schemas.settings import Settings


def serve(given: Settings, *, host: str = "127.0.0.1", port: int = 8001, workers: int = 1) -> None:
    """Serve until told to stop. Workers are started afresh: the threads of Polars do not survive a fork."""
    multiprocessing.set_start_method("spawn", force=True)
    server = Granian(
        "analytics.app:create_app", address=host, port=port, workers=workers, interface=Interfaces.ASGI,
        websockets=False, log_dictconfig=logs.SERVER,
    )  # fmt: skip
    server.serve(target_loader=partial(_application, given), wrap_loader=False)


def _application(given: Settings) -> ASGIApp:
    with starting.importing():
        from analytics.app import create_app
    return create_app(given)
