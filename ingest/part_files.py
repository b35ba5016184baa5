"""One gateway's raw logs that come in parts, as files.

    <name in hexadecimal>.<durable bytes>     the log so far
    finished/<name in hexadecimal>            which upload a complete log became
    lock                                      held for moments by whoever reads or changes the above

How many bytes count stands in the file's name: a part is appended and synced, then the file is renamed. What a kill or
a power cut leaves behind the counted bytes is cut off before anything else is done with it. A log that is being read
into the database is locked by itself. Locks are those of files: receivers that share the folder respect them, and they
end with the process that holds them.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO

from pydantic import BaseModel, ValidationError

from schemas.errors import BusyError, PartsConflictError

FINISHED, LOCK = "finished", "lock"
LOCK_PATIENCE_S = 10.0
LOCK_POLL_S = 0.02
PIECE_BYTES = 2**20


class Finished(BaseModel, frozen=True):
    """What a log became: `sha256` and `size_bytes` of its bytes as they were sent, `query` of what they mean."""

    upload_id: uuid.UUID
    sha256: str
    size_bytes: int
    query: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A log so far. The file at `path` may hold more than the durable bytes; what is behind them does not count."""

    path: Path
    name: str
    durable_bytes: int

    @classmethod
    def at(cls, path: Path) -> Unfinished:
        """The log of a file."""
        stem, _, durable_bytes = path.name.partition(".")
        return cls(path, bytes.fromhex(stem).decode(), int(durable_bytes))

    def changed_at_s(self) -> float:
        """When the last part came, in seconds of the epoch."""
        return self.path.stat().st_mtime

    def opened(self) -> BinaryIO:
        """The file with its durable bytes and no others, until it is closed for this caller alone.

        Raises:
            BusyError: somebody else has it open.
        """
        file = self.path.open("r+b")
        try:
            if not _flock(file):
                raise BusyError(f"{self.name} is being read into the database: ask again for its receipt")
            if os.fstat(file.fileno()).st_size > self.durable_bytes:
                file.truncate(self.durable_bytes)
        except BaseException:
            file.close()
            raise
        return file

    def is_free(self) -> bool:
        """Whether nobody has it open."""
        try:
            self.opened().close()
        except BusyError:
            return False
        return True

    def holds(self, part: IO[bytes], offset: int) -> bool:
        """Whether the part's bytes lie at `offset`."""
        part.seek(0)
        with self.path.open("rb") as file:
            file.seek(offset)
            while piece := part.read(PIECE_BYTES):
                if file.read(len(piece)) != piece:
                    return False
        return True

    def grown(self, part: IO[bytes], size_bytes: int) -> Unfinished:
        """The log with a part at its end, durable; without it as before, if the disk is full.

        Raises:
            BusyError: it is being read into the database.
            PartsConflictError: it was kept as a whole log already, but not loaded.
        """
        with self.opened() as file:
            if os.fstat(file.fileno()).st_nlink > 1:
                raise PartsConflictError(f"{self.name} was said to be complete: ask for that again, or DELETE it")
            try:
                _send(part, file, self.durable_bytes, size_bytes)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self.durable_bytes)
                raise
            longer = self.durable_bytes + size_bytes
            path = self.path.rename(self.path.with_name(f"{self.path.stem}.{longer}"))
        _sync(path.parent)
        return replace(self, path=path, durable_bytes=longer)


@dataclass(frozen=True, slots=True)
class PartFolder:
    """A gateway's folder while its lock is held."""

    path: Path

    def logs(self) -> list[Unfinished]:
        """The unfinished logs, by name."""
        # Network file systems leave files of their own here while one is taken away that somebody reads.
        found = self.path.glob("[0-9a-f]*.[0-9]*")
        return sorted(map(Unfinished.at, found), key=lambda log: log.name)

    def find(self, name: str) -> Unfinished | None:
        """The unfinished log of a name."""
        return next(map(Unfinished.at, self.path.glob(f"{_stem(name)}.*")), None)

    def begin(self, name: str) -> Unfinished:
        """A log of no bytes yet."""
        path = self.path / f"{_stem(name)}.0"
        path.touch()
        for folder in (self.path.parent.parent, self.path.parent):
            _sync(folder)
        return Unfinished.at(path)

    def drop(self, name: str) -> None:
        """Take an unfinished log away."""
        for path in self.path.glob(f"{_stem(name)}.*"):
            path.unlink()
        _sync(self.path)

    def finished(self, name: str) -> Finished | None:
        """What the complete log of a name became."""
        try:
            return Finished.model_validate_json(self._finished(name).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None  # what cannot be read is forgotten: the log can be sent again, and is then a duplicate

    def finish(self, name: str, finished: Finished) -> None:
        """Remember what a log became, durably, and take its parts away."""
        target = self._finished(name)
        target.parent.mkdir(exist_ok=True)
        written = target.with_suffix(".new")
        with written.open("wb") as file:
            file.write(finished.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        written.replace(target)
        _sync(target.parent)
        self.drop(name)

    def forget(self, name: str) -> None:
        """Forget what the complete log of a name became."""
        self._finished(name).unlink(missing_ok=True)

    def expire(self, unfinished_s: float, finished_s: float) -> None:
        """Give up logs whose last part is older than `unfinished_s`; forget those complete for `finished_s`."""
        now = time.time()
        for log in self.logs():
            if now - log.changed_at_s() > unfinished_s and log.is_free():
                log.path.unlink()
        for path in (self.path / FINISHED).glob("*"):
            if now - path.stat().st_mtime > finished_s:
                path.unlink()

    def _finished(self, name: str) -> Path:
        return self.path / FINISHED / _stem(name)


@contextmanager
def locked(path: Path, patience_s: float = LOCK_PATIENCE_S) -> Iterator[PartFolder]:
    """A gateway's folder, for this caller alone.

    Raises:
        BusyError: others have had it for longer than anybody should.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / LOCK).open("ab") as lock:
        until = time.monotonic() + patience_s
        while not _flock(lock):
            if time.monotonic() > until:
                raise BusyError("other parts of this gateway are being written: try again")
            time.sleep(LOCK_POLL_S)
        yield PartFolder(path)


def _flock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _send(part: IO[bytes], file: BinaryIO, offset: int, size_bytes: int) -> None:
    os.lseek(file.fileno(), offset, os.SEEK_SET)
    sent = 0
    while sent < size_bytes:
        sent += os.sendfile(file.fileno(), part.fileno(), sent, size_bytes - sent)


def _stem(name: str) -> str:
    # Hexadecimal: no name of a client's is a path, and names that differ only in case differ on every disk.
    return name.encode().hex()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
