"""How processes that compute use their memory."""

from __future__ import annotations

import ctypes

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment in which a process that computes is best started: its arrays then lie on large pages of memory, where
the system has them to give. Finding one's way over small ones takes a tenth of the time."""

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
