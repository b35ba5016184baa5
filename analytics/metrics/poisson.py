"""Exact Poisson intervals for small counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

NONE_SEEN_UPPER = 3.0
"""With no event the expected count is below this with 95 % confidence: -ln 0.05, rounded up."""


@lru_cache(maxsize=1024)
def interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of the expected count, given `count` events (Garwood 1936).

    The lower bound makes so many events or more as rare as the tail, the upper one so few or fewer.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else _solved(lambda mean: 1 - _at_most(count - 1, mean) - tail, count)
    high = _solved(lambda mean: tail - _at_most(count, mean), count)
    return low, high


def _at_most(count: int, mean: float) -> float:
    """Probability of `count` events or fewer; terms in logarithms so that large means do not underflow."""
    if mean == 0:
        return 1.0
    return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _solved(rising: Callable[[float], float], count: int) -> float:
    """The root of a rising function between zero and far above `count`, by bisection."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(200):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
