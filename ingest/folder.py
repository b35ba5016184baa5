"""A landing store in a folder of this machine.

A file appears under its name by a rename, when it is on disk; after that its folder is. There is never half a file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO

from ingest.disk import unavailable_when_full
from ingest.objects import Entry
from schemas.errors import LandingAwayError


@dataclass(frozen=True, slots=True)
class Folder:
    """Files by key in a folder; receivers on one machine may share it."""

    root: Path
    trusted_s: float = 0.0

    def put(self, key: str, data: bytes) -> None:
        """Write a small file, or write it again."""
        with _told_as_ours():
            target = self._target(key)
            partial = _partial(target)
            try:
                with partial.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                partial.rename(target)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            self._sync_folders(target)

    def keep(self, key: str, file: Path) -> None:
        """Make a local file on the same disk durable; a file that is there under this key stays as it is."""
        with _told_as_ours():
            target = self._target(key)
            if not target.exists():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
                partial = _partial(target)
                os.link(file, partial)
                partial.replace(target)
            # Where it is there, somebody else may just have made it: the folders are synced all the same.
            self._sync_folders(target)

    def read(self, key: str) -> bytes:
        """A small file's content."""
        with _told_as_ours():
            return (self.root / key).read_bytes()

    @contextmanager
    def opened(self, key: str) -> Iterator[BinaryIO]:
        """A file to read, seekable."""
        with _told_as_ours():
            file = (self.root / key).open("rb")
        with file:
            yield file

    def under(self, folder: str) -> Iterator[Entry]:
        """What lies directly in a folder, in the order of keys."""
        with _told_as_ours():
            try:
                with os.scandir(self.root / folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except FileNotFoundError:
                return
        for entry in entries:
            try:
                found_now = entry.stat()
            except FileNotFoundError:
                continue  # somebody else has just taken it away
            if S_ISDIR(found_now.st_mode):
                continue
            yield Entry(f"{folder}/{entry.name}", found_now.st_size, found_now.st_mtime)

    def keys(self, folder: str) -> Iterator[str]:
        """Keys of what lies directly in a folder, in any order; looked for only as far as they are asked for."""
        with _told_as_ours():
            try:
                with os.scandir(self.root / folder) as found:
                    for entry in found:
                        yield f"{folder}/{entry.name}"
            except FileNotFoundError:
                return

    def delete(self, *keys: str) -> None:
        """Take files away, in this order; those that are not there are passed over."""
        with _told_as_ours():
            for key in keys:
                (self.root / key).unlink(missing_ok=True)

    def _target(self, key: str) -> Path:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _sync_folders(self, target: Path) -> None:
        for folder in target.parents:
            _sync(folder)
            if folder == self.root:
                return


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        with unavailable_when_full():
            yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LandingAwayError(f"the landing store cannot be used: {error.strerror or error}") from error
