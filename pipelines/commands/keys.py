"""`beachhead key`."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Annotated

import typer

from ingest import store as keys
from pipelines import lists
from pipelines.commands.output import JsonFlag, show
from schemas.addresses import Role, role_url
from schemas.database import engine

OVERLAP_H = 72.0
"""A vehicle that is parked on Friday still has Monday for its new key."""
TheGateway = Annotated[str, typer.Argument(help="The gateway, as gateway or pilot/gateway.")]
app = typer.Typer(
    help="Gateway keys. Only a hash is kept: a key is shown once, when it is made.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def create(gateway: TheGateway) -> None:
    """Make another key for a gateway; the ones it has stay valid until they are revoked or rotated."""
    with engine(role_url(Role.OWNER)).begin() as connection:
        typer.echo(keys.create_key(connection, lists.gateway_id(connection, gateway)))


@app.command()
def rotate(
    gateway: TheGateway,
    overlap: Annotated[float, typer.Option(min=0, help="Hours for which the keys it has stay valid.")] = OVERLAP_H,
) -> None:
    """Make another key for a gateway, and let the ones it has end after a while. Prints the new key alone on stdout."""
    with engine(role_url(Role.OWNER)).begin() as connection:
        gateway_id = lists.gateway_id(connection, gateway)
        key, ending = keys.rotate_key(connection, gateway_id, dt.timedelta(hours=overlap))
    typer.echo(key)
    typer.echo(f"{', '.join(ending) or 'No other key'} ends in {overlap:g} h at the latest.", err=True)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """All keys, by the part of them that is no secret."""
    with engine(role_url(Role.OWNER)).connect() as connection:
        show([dataclasses.asdict(key) for key in keys.list_keys(connection)], as_json=as_json)


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="The key's prefix, from `beachhead key list`.")]) -> None:
    """Make a key useless."""
    with engine(role_url(Role.OWNER)).begin() as connection:
        keys.revoke_key(connection, prefix)
    typer.echo(f"Key {prefix} is revoked; running receivers forget it within BEACHHEAD_KEY_CACHE_S seconds.")
