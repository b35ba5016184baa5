"""How processes that compute use their memory."""

from __future__ import annotations

import ctypes

KEPT_BYTES, ON_HEAP_BYTES = 256 << 20, 32 << 20
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> bool:
    """Let this process keep up to `KEPT_BYTES` that it has freed, for its next arrays; whether that was taken.

    The C library gives large blocks back to the system as soon as they are free. Taking them anew costs a page fault
    for each 4 kB, which is more time than most of the arithmetic on them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, ON_HEAP_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
