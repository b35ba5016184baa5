"""A landing store in a bucket of any S3-compatible server.

A PUT, and the end of an upload in parts, makes a file appear whole or not at all. Every file has a key of its own or
one by its content, so whoever writes the same key writes the same content: receivers need no locks and no conditional
requests, which not every server knows. With each file goes the hash of its bytes; what is read is held against it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ingest.disk import unavailable_when_full
from ingest.objects import Entry
from schemas.errors import LandingAwayError, StorageFullError
from schemas.settings import BucketPlace

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

TRUSTED_S = 1.0
SHA256 = "sha256"
PIECE_BYTES = 2**20
PART_BYTES, PARTS_AT_ONCE = 16 * 2**20, 4
CONNECT_S, STALLED_S, QUICK_S, LONG_S = 3, 15, 10, 6 * 3600
RETRIES: RetryConfig = {
    "max_retries": 2,
    "retry_timeout": dt.timedelta(seconds=QUICK_S),
    "backoff": {"init_backoff": dt.timedelta(seconds=0.1), "max_backoff": dt.timedelta(seconds=1), "base": 2},
}
FULL = ("507 Insufficient Storage", "<Code>QuotaExceeded", "<Code>XMinioStorageFull", "<Code>XMinioAdminBucketQuota")
NO_BUCKET = "<Code>NoSuchBucket"
REASON_CHARACTERS = 500
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class S3:
    """Files by key in a bucket. `quick` answers soon or fails, `long` moves large files; `scratch` is a local one."""

    quick: S3Store
    long: S3Store
    scratch: Path
    trusted_s: float = TRUSTED_S

    @classmethod
    def of(cls, place: BucketPlace, scratch: Path) -> S3:
        """The files of a bucket. Nothing is asked of it yet."""
        return cls(_store(place, QUICK_S), _store(place, LONG_S), scratch)

    def put(self, key: str, data: bytes) -> None:
        """Write a small file, or write it again."""
        with _told_as_ours(), _none_is_away():
            obstore.put(self.quick, key, data, attributes={SHA256: hashlib.sha256(data).hexdigest()})

    def keep(self, key: str, file: Path) -> None:
        """Make a local file durable; a file that is there under this key stays as it is."""
        with _told_as_ours():
            if self._is_kept(key):
                return
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            with _none_is_away(), file.open("rb") as content:
                obstore.put(
                    self.long, key, content, attributes={SHA256: digest}, chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )  # fmt: skip

    def _is_kept(self, key: str) -> bool:
        try:
            return SHA256 in obstore.get(self.quick, key, options={"head": True}).attributes
        except FileNotFoundError:
            return False

    def read(self, key: str) -> bytes:
        """A small file's content."""
        with _told_as_ours():
            found = obstore.get(self.long, key)
            data = bytes(found.bytes())
        _compare(key, found.attributes.get(SHA256), hashlib.sha256(data).hexdigest())
        return data

    @contextmanager
    def opened(self, key: str) -> Iterator[BinaryIO]:
        """A file to read, seekable: a copy on this machine, which goes when it is closed."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.scratch) as copy:
            digest = hashlib.sha256()
            with _told_as_ours(), unavailable_when_full():
                found = obstore.get(self.long, key)
                for piece in found.stream(min_chunk_size=PIECE_BYTES):
                    digest.update(piece)
                    copy.write(piece)
            _compare(key, found.attributes.get(SHA256), digest.hexdigest())
            copy.seek(0)
            yield cast(BinaryIO, copy)

    def under(self, folder: str) -> Iterator[Entry]:
        """What lies directly in a folder, in the order of keys; asked for as far as it is looked at."""
        with _told_as_ours(), _none_is_away():
            for page in obstore.list(self.quick, folder, chunk_size=1000):
                for one in page:
                    if one["path"].rpartition("/")[0] == folder:
                        yield Entry(one["path"], one["size"], one["last_modified"].timestamp())

    def keys(self, folder: str) -> Iterator[str]:
        """Keys of what lies directly in a folder; asked for as far as they are looked at."""
        return (entry.key for entry in self.under(folder))

    def delete(self, *keys: str) -> None:
        """Take files away, in this order; those that are not there are passed over."""
        with _told_as_ours():
            for key in keys:
                obstore.delete(self.quick, key)


def _store(place: BucketPlace, timeout_s: float) -> S3Store:
    config: S3Config = {}
    if place.region is not None:
        config["region"] = place.region
    endpoint = place.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        config["endpoint"] = endpoint
    if place.access_key is not None and place.secret_key is not None:
        config["access_key_id"] = place.access_key.get_secret_value()
        config["secret_access_key"] = place.secret_key.get_secret_value()
    client: ClientConfig = {
        "connect_timeout": dt.timedelta(seconds=CONNECT_S),
        "read_timeout": dt.timedelta(seconds=STALLED_S),
        "timeout": dt.timedelta(seconds=timeout_s),
    }
    if endpoint and endpoint.startswith("http://"):
        client["allow_http"] = True
    return S3Store(
        place.bucket, prefix=place.prefix or None, config=config, client_options=client, retry_config=RETRIES
    )


def _compare(key: str, kept: str | None, found: str) -> None:
    if kept != found:
        raise LandingAwayError(f"the landing store gave other bytes of {key} than were kept in it")


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if NO_BUCKET in str(error):
            raise LandingAwayError("the landing store has no such bucket") from error
        raise
    except BaseError as error:
        log.warning("landing store", reason=str(error).partition("\n")[0][:REASON_CHARACTERS])
        if any(word in str(error) for word in FULL):
            raise StorageFullError("the landing store is full; nothing of this request was kept") from error
        raise LandingAwayError("the landing store cannot be reached now") from error


@contextmanager
def _none_is_away() -> Iterator[None]:
    """Where nothing need be there, what is missing is the bucket."""
    try:
        yield
    except FileNotFoundError as error:
        raise LandingAwayError("the landing store has no such bucket") from error
