"""A full disk, told as what it is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import StorageFullError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def unavailable_when_full() -> Iterator[None]:
    """Turn the system's word for a full disk into ours.

    Raises:
        StorageFullError: the disk or the quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageFullError("the receiver's disk is full; nothing of this request was kept") from error
