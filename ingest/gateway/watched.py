"""A folder into which something else puts files: which of them are complete, and where they go when they are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingest.gateway.spool import Source, sync_folder, write_file
from schemas.wire import Problem

SENT, REFUSED = "sent", "refused"
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")
PROBLEM = ".problem.json"


@dataclass(slots=True)
class Watched:
    """A folder. A file is complete when it has not changed for `settled_s` of looking at it.

    Empty files, hidden ones and those with names of unfinished files (.tmp, .part) are left alone, folders as well.
    """

    folder: Path
    settled_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[Source, float]] = field(default_factory=dict)

    def complete(self) -> Iterator[Source]:
        """Files that have stopped growing, the oldest first."""
        now = self.clock()
        found = {source.path: source for source in self._files()}
        self._seen = {path: self._since(source, now) for path, source in found.items()}
        done = (source for source, since in self._seen.values() if now - since >= self.settled_s)
        yield from sorted(done, key=lambda source: (source.changed_ns, source.path))

    def _since(self, source: Source, now: float) -> tuple[Source, float]:
        before = self._seen.get(source.path)
        return before if before is not None and before[0] == source else (source, now)

    def _files(self) -> Iterator[Source]:
        for path in self.folder.iterdir():
            if path.name.startswith(".") or path.name.endswith(UNFINISHED) or not path.is_file():
                continue
            try:
                source = Source.of(path)
            except OSError:
                continue  # it went away
            if source.size_bytes:
                yield source


def put_away(source: Source, problem: Problem | None) -> Path | None:
    """Move a file that is done to `sent` beside it, or to `refused` with the problem. Null: it is not what it was."""
    if not source.is_there():
        return None
    folder = source.path.parent / (SENT if problem is None else REFUSED)
    folder.mkdir(exist_ok=True)
    target = _free(folder, source.path.name)
    if problem is not None:
        write_file(target.with_name(target.name + PROBLEM), problem.model_dump_json(indent=1).encode())
    source.path.rename(target)
    sync_folder(folder)
    sync_folder(source.path.parent)
    return target


def _free(folder: Path, name: str) -> Path:
    """A name that no file in the folder has."""
    target, n = folder / name, 1
    while target.exists():
        n += 1
        target = folder / f"{n}-{name}"
    return target
