"""Stretches of time: lists of [low, high) in UTC microseconds, in order, apart from each other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Spans = list[tuple[int, int]]
MOST_SPANS = 200
MIN_US, MAX_US = -(2**63), 2**63 - 1


def joined(spans: Iterable[tuple[int, int]]) -> Spans:
    """Any spans in order; those that touch or overlap as one."""
    found: Spans = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def overlap(one: Spans, other: Spans) -> Spans:
    """What lies in both."""
    found: Spans = []
    a = b = 0
    while a < len(one) and b < len(other):
        low, high = max(one[a][0], other[b][0]), min(one[a][1], other[b][1])
        if low < high:
            found.append((low, high))
        if one[a][1] < other[b][1]:
            a += 1
        else:
            b += 1
    return found


def without(one: Spans, other: Spans) -> Spans:
    """What lies in the first and not in the second."""
    if not other:
        return one
    edges = [high for _, high in other]
    outside = list(zip([MIN_US, *edges], [*(low for low, _ in other), MAX_US], strict=True))
    return overlap(one, outside)


def reaching(spans: Spans, before_us: int = 0, after_us: int = 0) -> Spans:
    """The spans, each begun earlier and ended later."""
    return joined((low - before_us, high + after_us) for low, high in spans)


def on_grid(spans: Spans, bucket_us: int) -> Spans:
    """The whole buckets that the spans touch."""
    return joined((low // bucket_us * bucket_us, -(-high // bucket_us) * bucket_us) for low, high in spans)


def few(spans: Spans) -> Spans:
    """At most MOST_SPANS that hold all of these: the smallest gaps are closed."""
    if len(spans) <= MOST_SPANS:
        return spans
    gaps = sorted(range(1, len(spans)), key=lambda n: spans[n][0] - spans[n - 1][1])
    kept = sorted(gaps[-(MOST_SPANS - 1) :])
    return [(spans[a][0], spans[b - 1][1]) for a, b in pairwise([0, *kept, len(spans)])]


def inside(time_us: NDArray[np.int64], spans: Spans) -> NDArray[np.bool_]:
    """Which times lie in one of the spans."""
    if not spans:
        return np.zeros(len(time_us), bool)
    lows, highs = np.array(spans, np.int64).T
    at = np.searchsorted(lows, time_us, side="right") - 1
    found: NDArray[np.bool_] = (at >= 0) & (time_us < highs[np.maximum(at, 0)])
    return found
