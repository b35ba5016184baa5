"""Token buckets in memory: how often, and how much, something may be done by each of many names."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_NAMES = 10_000


@dataclass(slots=True)
class _Level:
    tokens: float
    at: float


class Buckets:
    """One bucket per name: it holds `burst` tokens and fills by `per_s`; a rate of 0 means no limit.

    A bucket may go into debt, so that something larger than what it holds can still be done, and is then waited for.
    The names that were used longest ago are forgotten. Safe to use from several threads at once.
    """

    def __init__(
        self, per_s: float, burst: float, most: int = MOST_NAMES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s, self._burst, self._most, self._clock = per_s, burst, most, clock
        self._levels: OrderedDict[str, _Level] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str, tokens: float = 1.0) -> float:
        """Take tokens if there is a whole one: 0, or the seconds until there will be one (then nothing is taken)."""
        if not self._per_s:
            return 0.0
        with self._lock:
            level = self._level(name)
            if level.tokens < 1:
                return (1 - level.tokens) / self._per_s
            level.tokens -= tokens
            return 0.0

    def wait_s(self, name: str) -> float:
        """The seconds until there will be a whole token; 0: there is one."""
        if not self._per_s:
            return 0.0
        with self._lock:
            return max(0.0, (1 - self._level(name).tokens) / self._per_s)

    def spend(self, name: str, tokens: float) -> None:
        """Take tokens whether they are there or not; a negative number gives some back."""
        if self._per_s:
            with self._lock:
                level = self._level(name)
                level.tokens = min(self._burst, level.tokens - tokens)

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._levels)

    def _level(self, name: str) -> _Level:
        now = self._clock()
        level = self._levels.setdefault(name, _Level(self._burst, now))
        level.tokens = min(self._burst, level.tokens + (now - level.at) * self._per_s)
        level.at = now
        self._levels.move_to_end(name)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return level


def whole_seconds(wait_s: float) -> int:
    """A wait as `Retry-After` tells it: whole seconds, at least one."""
    return max(1, math.ceil(wait_s))
