"""`beachhead upload`."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from typing import Annotated

import typer

from ingest.checks.scales import Scale
from ingest.corrections import Corrections
from ingest.expiry import Expiry
from pipelines import lists
from pipelines.commands.output import JsonFlag, show
from schemas.addresses import Role, role_url
from schemas.database import engine
from schemas.settings import settings
from schemas.wire import RowCounts

NEXT = "`beachhead compute --stale`, or the next scheduled run, computes the days anew."
app = typer.Typer(help="What was uploaded, and what became of it.", no_args_is_help=True, add_completion=False)


def corrections() -> Corrections:
    """Corrections on the database of the settings."""
    return Corrections(engine(role_url(Role.OWNER)), settings())


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
    """An upload's receipt, as its gateway got it, and what was put right since."""
    with engine(role_url(Role.OWNER)).connect() as connection:
        told = lists.upload_receipt(connection, upload) | lists.upload_changes(connection, upload)
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False, default=str))


Upload = Annotated[uuid.UUID, typer.Argument(help="The upload's id, from its receipt or `upload list`.")]


@app.command()
def void(
    upload: Upload, reason: Annotated[str | None, typer.Option(help="Why, for whoever reads the ledger.")] = None
) -> None:
    """Take a wrong upload back: what is stored is as if it had never come. Its bytes stay; `retry` loads them again."""
    corrections().void(upload, reason)
    typer.echo(f"Upload {upload} is taken back; the days it touched are stale. {NEXT}")


@app.command()
def retry(upload: Upload) -> None:
    """Load a failed or taken-back upload again, in its old place among the others."""
    corrections().retry(upload)
    _loaded(upload)


@app.command()
def requeue(
    upload: Upload,
    shift: Annotated[
        float | None, typer.Option(help="Seconds added to every time as it was sent; 0: as it was sent.")
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=FACTOR[+OFFSET]",
            help="The value sent, times FACTOR, plus OFFSET, is the right one; 1: as sent. Once a field.",
        ),
    ] = None,
) -> None:
    """Load an upload again whose gateway had a wrong clock, or sent fields in a wrong unit, with that put right."""
    if shift is None and not scale:
        raise typer.BadParameter("give --shift, --scale or both")
    corrections().put_right(upload, shift_s=shift, scales=dict(map(_scale, scale)) if scale else None)
    _loaded(upload)


_SCALE = re.compile(r"(?P<field>.+)=(?P<factor>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)(?P<offset>[-+][0-9.eE+-]+)?")


def _scale(given: str) -> tuple[str, Scale]:
    found = _SCALE.fullmatch(given)
    try:
        if found is None:
            raise ValueError(given)
        return found["field"], Scale(float(found["factor"]), float(found["offset"] or 0))
    except ValueError:
        raise typer.BadParameter(f"{given}: write --scale FIELD=FACTOR or FIELD=FACTOR+OFFSET") from None


@app.command()
def expire(
    days: Annotated[
        int | None, typer.Option(min=1, help="Keep what came in these days; default: BEACHHEAD_KEEP_UPLOADS_DAYS.")
    ] = None,
) -> None:
    """Take away the bytes of uploads that are older than they are to be kept. What is stored of them stays."""
    kept_days = days or settings().keep_uploads_days
    if kept_days is None:
        typer.echo("Nothing expires: BEACHHEAD_KEEP_UPLOADS_DAYS is not set, and no --days are given.")
        return
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=kept_days)
    steps = list(Expiry.of(engine(role_url(Role.OWNER)), settings()).expire(before))
    uploads, files = sum(step.uploads for step in steps), sum(step.files for step in steps)
    typer.echo(
        f"Of {uploads} uploads the bytes are gone, {files} files among them: they came before"
        f" {before:%Y-%m-%d %H:%M} UTC. What is stored of them stays, and cannot be built anew."
    )


def _loaded(upload: uuid.UUID) -> None:
    with engine(role_url(Role.OWNER)).connect() as connection:
        rows = lists.upload_receipt(connection, upload)["rows"]
    # JSONB forgets the order of its fields.
    counts = ", ".join(f"{rows[name]} {name}" for name in RowCounts.model_fields if rows[name] and name != "received")
    typer.echo(f"Upload {upload} is loaded: {rows['received']} rows, {counts or 'none new'}. {NEXT}")
