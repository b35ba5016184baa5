"""What a benchmark tells, as `build/bench.json` lists it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One figure. `ratio` tells how many times better than the peer it is; null without a peer."""

    name: str
    value: float | None
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    peak_mb: float | None = None
    note: str = ""


Benchmark = Callable[[], Iterable[Result]]
