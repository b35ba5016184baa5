"""Raw logs that come in parts: what may come next, how much of it, and for how long it is kept."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from ingest.landing import sha256_of
from ingest.part_files import Finished, PartFolder, Unfinished, locked
from schemas.errors import (
    BodyTooLargeError,
    BusyError,
    NotFoundError,
    PartChecksumError,
    PartsConflictError,
    PartsLimitError,
)
from schemas.wire import PartsState, UnfinishedUploads

FINISHED_EXPIRE_S = 90 * 86_400


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest log, and how many unfinished logs of how many bytes a gateway may have, for how long."""

    log_bytes: int
    logs: int
    unfinished_bytes: int
    expire_s: float


@dataclass(frozen=True, slots=True)
class Parts:
    """The logs in parts of all gateways. Safe to use from several threads and processes at once."""

    root: Path
    limits: Limits

    def incoming(self) -> IO[bytes]:
        """A file to write a part to. It has no name: nothing of it outlives the process."""
        self.root.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self.root)

    def state(self, gateway_id: int, name: str) -> PartsState:
        """How far a log has come.

        Raises:
            NotFoundError: none of this name was begun, or it was given up.
        """
        with self._locked(gateway_id) as folder:
            if (log := folder.find(name)) is not None:
                return self._told(log)
            finished = folder.finished(name)
        if finished is None:
            raise NotFoundError(f"{name}: no part of it is here: begin with offset=0")
        return PartsState(name=name, durable_bytes=finished.size_bytes, finished=True, upload_id=finished.upload_id)

    def unfinished(self, gateway_id: int) -> UnfinishedUploads:
        """The gateway's unfinished logs, by name."""
        with self._locked(gateway_id) as folder:
            return UnfinishedUploads(uploads=[self._told(log) for log in folder.logs()])

    def check(self, gateway_id: int, name: str, offset: int, size_bytes: int) -> None:
        """Refuse a part before its bytes are sent. Raises as `append` does."""
        with self._locked(gateway_id) as folder:
            self._admit(folder, name, offset, size_bytes)

    def append(self, gateway_id: int, name: str, offset: int, part: IO[bytes], sha256: str | None = None) -> PartsState:
        """Add a part to a log. When this returns it is on disk. The same part again changes nothing.

        Raises:
            PartChecksumError: its bytes are not those of `sha256`.
            PartsConflictError: it leaves a gap, overlaps or differs; or the log is complete.
            BodyTooLargeError: the log becomes larger than logs may be.
            PartsLimitError: the gateway has too much unfinished.
            BusyError: the log is being read into the database.
        """
        digest, size_bytes = sha256_of(part)  # type: ignore[arg-type]
        if sha256 is not None and sha256.lower() != digest:
            raise PartChecksumError(f"sha256 of the part's {size_bytes} bytes is {digest}: send them again")
        with self._locked(gateway_id) as folder:
            log = self._admit(folder, name, offset, size_bytes)
            if log is not None:
                return self._told(_added(log, offset, part, size_bytes))
            if size_bytes:
                log = _begun(folder, name, part, size_bytes)
        self.expire()
        return self._told(log) if log else PartsState(name=name, durable_bytes=0)

    def give_up(self, gateway_id: int, name: str) -> None:
        """Take a log's parts away, and forget what became of it.

        Raises:
            BusyError: it is being read into the database.
        """
        with self._locked(gateway_id) as folder:
            if (log := folder.find(name)) is not None:
                log.opened().close()
                folder.drop(name)
            folder.forget(name)

    def expire(self) -> None:
        """Give up what no part has come for; other receivers may do the same at the same time."""
        for path in self.root.glob("[0-9]*"):
            with suppress(BusyError), locked(path, patience_s=0) as folder:
                self._expire(folder)

    # --- a whole log on its way into the database ---

    @contextmanager
    def taken(self, gateway_id: int, name: str) -> Iterator[BinaryIO | None]:
        """A log's bytes to read, while nobody else adds to them or takes them; null if it has none.

        Raises:
            BusyError: somebody else has taken it.
        """
        with self._locked(gateway_id) as folder:
            log = folder.find(name)
            file = log.opened() if log and log.durable_bytes else None
        try:
            yield file
        finally:
            if file is not None:
                file.close()

    def drop(self, gateway_id: int, name: str) -> None:
        """Take the parts of a taken log away."""
        with self._locked(gateway_id) as folder:
            folder.drop(name)

    def finish(self, gateway_id: int, name: str, finished: Finished) -> None:
        """Remember what a taken log became; its parts go."""
        with self._locked(gateway_id) as folder:
            folder.finish(name, finished)

    def finished(self, gateway_id: int, name: str) -> Finished | None:
        """What the complete log of a name became."""
        with self._locked(gateway_id) as folder:
            return folder.finished(name)

    # --- under the gateway's lock ---

    def _locked(self, gateway_id: int) -> AbstractContextManager[PartFolder]:
        return locked(self.root / str(gateway_id))

    def _told(self, log: Unfinished) -> PartsState:
        expires_at = dt.datetime.fromtimestamp(log.changed_at_s() + self.limits.expire_s, dt.UTC)
        return PartsState(name=log.name, durable_bytes=log.durable_bytes, expires_at=expires_at)

    def _expire(self, folder: PartFolder) -> None:
        folder.expire(self.limits.expire_s, FINISHED_EXPIRE_S)

    def _admit(self, folder: PartFolder, name: str, offset: int, size_bytes: int) -> Unfinished | None:
        """The log that a part may be added to; null: the part begins it."""
        log = folder.find(name)
        if log is None:
            _refuse_finished(folder, name)
        durable = log.durable_bytes if log else 0
        if offset > durable or offset < durable < offset + size_bytes:
            raise PartsConflictError(
                f"the part begins at byte {offset}, and {durable} bytes are kept: send what follows, offset={durable}",
                durable,
            )
        if offset + size_bytes > durable:
            self._refuse_too_much(folder, log, offset + size_bytes)
        return log

    def _refuse_too_much(self, folder: PartFolder, log: Unfinished | None, size_bytes: int) -> None:
        limits = self.limits
        if size_bytes > limits.log_bytes:
            raise BodyTooLargeError(f"the log is larger than {limits.log_bytes} bytes")
        if log is None:
            self._expire(folder)
        others = [other for other in folder.logs() if log is None or other.name != log.name]
        advice = "complete or DELETE one; GET /v1/can-logs/parts lists them"
        if log is None and len(others) >= limits.logs:
            raise PartsLimitError(f"{limits.logs} logs are unfinished, which is the most: {advice}")
        if sum(other.durable_bytes for other in others) + size_bytes > limits.unfinished_bytes:
            raise PartsLimitError(f"unfinished logs would hold more than {limits.unfinished_bytes} bytes: {advice}")


def _refuse_finished(folder: PartFolder, name: str) -> None:
    finished = folder.finished(name)
    if finished is not None:
        raise PartsConflictError(
            f"{name} is complete, its receipt is /v1/uploads/{finished.upload_id}: another log needs another name,"
            " or DELETE this one first"
        )


def _begun(folder: PartFolder, name: str, part: IO[bytes], size_bytes: int) -> Unfinished:
    try:
        return folder.begin(name).grown(part, size_bytes)
    except OSError:
        folder.drop(name)
        raise


def _added(log: Unfinished, offset: int, part: IO[bytes], size_bytes: int) -> Unfinished:
    if offset == log.durable_bytes and size_bytes:
        return log.grown(part, size_bytes)
    if not log.holds(part, offset):
        raise PartsConflictError(
            f"other bytes are kept from byte {offset} on than this part has: go on with offset={log.durable_bytes}"
            " if they are right, or DELETE and begin again",
            log.durable_bytes,
        )
    return log
