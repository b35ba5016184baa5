"""`beachhead serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.settings import settings

app = typer.Typer(help="The two servers: gateways talk to one, people to the other.", no_args_is_help=True)
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]


@app.command()
def ingest(host: Host = "127.0.0.1", port: int = 8000, workers: Workers = 1) -> None:
    """Serve the receiver: POST /v1/telemetry, receipts, /docs."""
    from ingest.app import serve

    serve(host=host, port=port, workers=workers)


@app.command()
def analytics(host: Host = "127.0.0.1", port: int = 8001, workers: Workers = 1) -> None:
    """Serve the read side: pages, /v1, /docs."""
    from analytics.app import serve

    serve(settings(), host=host, port=port, workers=workers)
