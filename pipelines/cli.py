"""The `beachhead` command. Exit codes: 0 done, 1 failed, 2 wrong usage.

A command's module is imported when the command is called: `beachhead db up` need not wait for Polars.
"""

from __future__ import annotations

import sys
from importlib import import_module

import psycopg
import sqlalchemy as sa
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from schemas.errors import BeachheadError

COMMANDS = {
    "db": "database:app",
    "migrate": "database:migrate",
    "serve": "serve:app",
    "pilot": "pilots:app",
    "records": "records:app",
    "factors": "factors:app",
    "key": "keys:app",
    "gateway": "gateways:app",
    "dbc": "dbc:app",
    "push": "push:push",
    "upload": "uploads:app",
    "redecode": "redecode:redecode",
    "compute": "compute:compute",
    "period": "periods:app",
    "simulate": "push:simulate",
    "demo": "demo:demo",
}
"""Commands and groups by name, as `module:attribute` below `pipelines.commands`."""


class Commands(TyperGroup):
    """The commands, each loaded when it is wanted."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]
        """One of them."""
        return _load(cmd_name) if cmd_name in COMMANDS else None


def _load(name: str) -> TyperCommand | TyperGroup:
    module, _, attribute = COMMANDS[name].partition(":")
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
