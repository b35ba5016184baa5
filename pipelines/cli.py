"""The `beachhead` command. Exit codes: 0 done, 1 failed, 2 wrong usage.

A command's module is imported when the command is called: nobody waits for a library that is not used.
"""

from __future__ import annotations

import sys
from importlib import import_module

import psycopg
import sqlalchemy as sa
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from schemas import starting
from schemas.errors import BeachheadError

COMMANDS = {
    "db": ("database:app", "The TimescaleDB of this checkout, or the one BEACHHEAD_DATABASE_URL names."),
    "migrate": ("database:migrate", "Bring the database up to date, and give each role its rights."),
    "serve": ("serve:app", "The two servers: gateways talk to one, people to the other."),
    "pilot": ("pilots:app", "Pilots, and the programme files that declare them."),
    "records": (
        "records:app",
        "What people and schedules say: service plans, maintenance, roadcalls, fuel, meters, outages.",
    ),
    "factors": ("factors:app", "Emission factors: those that ship, and your own."),
    "key": ("keys:app", "Gateway keys."),
    "gateway": ("gateways:app", "How gateways do."),
    "dbc": (
        "dbc:app",
        "Definitions of CAN frames: DBC files, where they hold, and which of their signals are canonical.",
    ),
    "push": ("push:push", "Upload files to a receiver."),
    "upload": ("uploads:app", "What was uploaded, and what became of it."),
    "redecode": ("redecode:redecode", "Decode kept logs anew, after a DBC file or a map changed."),
    "compute": ("compute:compute", "Compute vehicle-days and pilot-days."),
    "period": ("periods:app", "Months that are closed: their figures stay."),
    "simulate": ("push:simulate", "Write the demonstration fleet's telemetry as Parquet."),
    "demo": ("demo:demo", "Run a fictitious programme of six pilots through the whole path on this machine."),
}
"""Commands and groups by name: `module:attribute` below `pipelines.commands`, and the line that lists show."""


class Commands(TyperGroup):
    """The commands, each loaded when it is called; a list of them loads none."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]
        """One of them, as lists show it."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(  # type: ignore[override]
        self, ctx: typer.Context, args: list[str]
    ) -> tuple[str | None, TyperCommand | TyperGroup | None, list[str]]:
        """The one that is called, whole."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name and found else None, rest


def _load(name: str) -> TyperCommand | TyperGroup:
    module, _, attribute = COMMANDS[name][0].partition(":")
    with starting.importing():
        found = getattr(import_module(f"pipelines.commands.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(pretty_exceptions_enable=False)
        found.command(name)(function)
    command = get_command(found)
    command.name = name
    return command  # type: ignore[return-value]


typer_app = typer.Typer(
    name="beachhead", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help="Telematics pipeline for pilot fleets of zero- and near-zero-emission vehicles.",
)  # fmt: skip


@typer_app.callback()
def _root() -> None:
    pass


def app() -> None:
    """Run the command; a fault that was foreseen is one message, not a stack of calls."""
    try:
        typer_app()
    except BeachheadError as error:
        _fail(str(error))
    except (psycopg.OperationalError, sa.exc.OperationalError):
        _fail("the database cannot be reached: run `beachhead db up`, or check BEACHHEAD_DATABASE_URL and its siblings")
    except sa.exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.UndefinedTable):
            raise
        _fail("the database has no tables yet: run `beachhead migrate`")


def _fail(message: str) -> None:
    sys.stderr.write(f"beachhead: {message}\n")
    sys.exit(1)
