"""`beachhead push --watch` and `--spool`: what is told of a forwarder, and how it is ended."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import httpx
import typer

from ingest.gateway.forward import REFUSED, Done, Forwarder, Make, Tally, Teller
from ingest.gateway.spool import Spool
from ingest.gateway.watched import Watched

ENDING = (signal.SIGINT, signal.SIGTERM)


def default_spool(url: str) -> Path:
    """The spool of one receiver, beside the user's other programs' state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    address = httpx.URL(url)
    place = re.sub(r"[^A-Za-z0-9.]+", "-", f"{address.netloc.decode()}{address.path}").strip("-")
    return Path(state) / "beachhead" / "spool" / place


def forward(
    make: Make, files: Sequence[Path], folder: Path, url: str, key: str, watched: Watched | None, *, leave: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Bring files through a spool to the receiver; exit with 1 if something was refused, or waits without a watch."""
    teller = _Json() if as_json else _Lines()
    with closing(Spool(folder)) as spool, _ended_by_signals() as stop:
        forwarder = Forwarder(
            spool, url, key, make, Teller(teller.done, teller.trouble), stop=stop, watched=watched,
            after="record" if leave else "move",
        )  # fmt: skip
        taken = [forwarder.take(file) for file in files]
        tally = forwarder.run()
    teller.sum_up(tally, folder)
    if not all(taken) or tally.key_unknown or tally.files[REFUSED] or (tally.left and watched is None):
        raise typer.Exit(1)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; the second of them ends the process at once."""
    stop = threading.Event()

    def ended(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = [signal.signal(number, ended) for number in ENDING]
    try:
        yield stop
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)


class _Lines:
    """A line for each file, and one for the whole."""

    def done(self, done: Done) -> None:
        told = [done.status, f"{done.uploads} uploads", *_counts(done.rows.model_dump())]
        if done.fields_rejected:
            told.append(f"{done.fields_rejected} values set aside")
        if done.note:
            told.append(done.note)
        typer.echo(f"{done.file}: {', '.join(told)}", err=done.status == REFUSED)

    def trouble(self, sentence: str) -> None:
        typer.echo(sentence, err=True)

    def sum_up(self, tally: Tally, folder: Path) -> None:
        files = [f"{count} {status}" for status, count in tally.files.items()]
        if tally.left:
            files.append(f"{tally.left} waiting in {folder}")
        typer.echo(f"files: {', '.join(files) or 'none'}; {', '.join(_counts(tally.rows)) or 'no rows'}")


def _counts(rows: dict[str, int]) -> list[str]:
    return [f"{count} {name}" for name, count in rows.items() if count]


class _Json:
    """The same as JSON, one object a line; the last one is the summary."""

    def done(self, done: Done) -> None:
        typer.echo(json.dumps({**asdict(done), "rows": done.rows.model_dump()}, ensure_ascii=False))

    def trouble(self, sentence: str) -> None:
        typer.echo(json.dumps({"trouble": sentence}, ensure_ascii=False), err=True)

    def sum_up(self, tally: Tally, folder: Path) -> None:
        told = {"files": dict(tally.files), "rows": dict(tally.rows), "waiting": tally.left, "spool": str(folder)}
        typer.echo(json.dumps({"summary": told}, ensure_ascii=False))
