"""The `beachhead` command. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import sys

import typer

from pipelines.commands import compute, database, demo, keys, pilots, push, records, serve, uploads
from schemas.errors import BeachheadError

typer_app = typer.Typer(
    name="beachhead",
    help="Telematics pipeline for pilot fleets of zero- and near-zero-emission vehicles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
typer_app.add_typer(database.app, name="db")
typer_app.command("migrate")(database.migrate)
typer_app.add_typer(serve.app, name="serve")
typer_app.add_typer(pilots.app, name="pilot")
typer_app.add_typer(records.app, name="records")
typer_app.add_typer(keys.app, name="key")
typer_app.add_typer(uploads.app, name="upload")
typer_app.command("push")(push.push)
typer_app.command("simulate")(push.simulate)
typer_app.command("compute")(compute.compute)
typer_app.command("demo")(demo.demo)


def app() -> None:
    """Run the command; a fault that was foreseen is one message, not a stack of calls."""
    try:
        typer_app()
    except BeachheadError as error:
        sys.stderr.write(f"beachhead: {error}\n")
        sys.exit(1)
