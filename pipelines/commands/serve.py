"""`beachhead serve`."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from schemas.errors import LocalServerError
from schemas.settings import settings

app = typer.Typer(
    help="The two servers: gateways talk to one, people to the other.", no_args_is_help=True, add_completion=False
)
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


@app.command()
def ingest(host: Host = "127.0.0.1", port: int = 8000, workers: Workers = 1) -> None:
    """Serve the receiver: POST /v1/telemetry, receipts, /docs."""
    from ingest.server import serve

    _require_free(host, port)
    serve(settings(), host=host, port=port, workers=workers)


@app.command()
def analytics(host: Host = "127.0.0.1", port: int = 8001, workers: Workers = 1) -> None:
    """Serve the read side: pages, /v1, /docs."""
    from analytics.server import serve

    _require_free(host, port)
    serve(settings(), host=host, port=port, workers=workers)


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise LocalServerError(f"{host}:{port} cannot be used ({reason}): choose another with --port.") from None
