"""What the landing store keeps its files in: a folder (`ingest/folder.py`) or a bucket (`ingest/s3.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is there. `changed_s` counts seconds from 1970."""

    key: str
    size_bytes: int
    changed_s: float


class Objects(Protocol):
    """Files by key: each is there whole, and durable when it was written, or is not there at all.

    Keys are parts joined by `/`. Several processes may work on the same files at once. Everything raises
    `LandingAwayError` where the files cannot be reached, and `StorageFullError` where there is no room for more.
    """

    @property
    def trusted_s(self) -> float:
        """For how long what was found in it may be held to be so: asking again costs time or money."""

    def put(self, key: str, data: bytes) -> None:
        """Write a small file, or write it again."""

    def keep(self, key: str, file: Path) -> None:
        """Make a local file durable; a file that is there under this key stays as it is."""

    def read(self, key: str) -> bytes:
        """A small file's content.

        Raises:
            FileNotFoundError: there is none.
        """

    def opened(self, key: str) -> AbstractContextManager[BinaryIO]:
        """A file to read, seekable.

        Raises:
            FileNotFoundError: there is none.
        """

    def under(self, folder: str) -> Iterator[Entry]:
        """What lies directly in a folder, in the order of keys."""

    def keys(self, folder: str) -> Iterator[str]:
        """Keys of what lies directly in a folder, in any order; looked for only as far as they are asked for."""

    def delete(self, *keys: str) -> None:
        """Take files away, in this order; those that are not there are passed over."""
