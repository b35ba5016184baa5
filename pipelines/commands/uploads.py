"""`beachhead upload`."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Annotated

import typer

from pipelines import lists
from pipelines.commands.output import JsonFlag, show
from schemas.addresses import Role, role_url
from schemas.database import engine

app = typer.Typer(help="What was uploaded, and what became of it.", no_args_is_help=True, add_completion=False)


@app.command("list")
def list_(
    vehicle: Annotated[str | None, typer.Option(help="Only uploads that hold rows of this vehicle.")] = None,
    since: Annotated[dt.datetime | None, typer.Option(help="Only uploads received since.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """The newest uploads, with the counts of their rows."""
    after = since.astimezone(dt.UTC) if since else None
    with engine(role_url(Role.OWNER)).connect() as connection:
        show(lists.upload_rows(connection, vehicle, after, limit), as_json=as_json, empty="no uploads yet")


@app.command("show")
def show_(upload: uuid.UUID) -> None:
    """An upload's receipt, as its gateway got it."""
    with engine(role_url(Role.OWNER)).connect() as connection:
        typer.echo(json.dumps(lists.upload_receipt(connection, upload), indent=1, ensure_ascii=False))
