"""`beachhead demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.settings import settings


def demo(
    serve: Annotated[bool, typer.Option(help="Leave the pages up until Ctrl-C.")] = True,
    days: Annotated[int | None, typer.Option(min=1, max=14, help="Only the first days.")] = None,
    pilot: Annotated[list[str] | None, typer.Option(help="Only this pilot; may be given again.")] = None,
) -> None:
    """Run a fictitious programme of six pilots through the whole path on this machine."""
    from pipelines.demo.run import Extent, run

    run(settings().home, Extent(days, tuple(pilot) if pilot else None), serve=serve)
