"""Token buckets: bursts, refill, debt, bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.buckets import Buckets, whole_seconds


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(2, 3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now = 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now = 1000
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_debt_is_waited_for_and_more_than_the_burst_is_never_given_back() -> None:
    clock = Clock()
    buckets = Buckets(10, 100, clock=clock)
    buckets.spend("a", 600)
    assert buckets.take("a", 0) == 50.1
    clock.now = 50.2
    assert buckets.take("a", 0) == 0
    buckets.spend("a", -1000)
    buckets.spend("a", 100)
    assert buckets.take("a") == 0.1


def test_a_rate_of_0_is_no_limit() -> None:
    buckets = Buckets(0, 0)
    buckets.spend("a", 1e9)
    assert buckets.take("a") == 0


def test_names_used_longest_ago_are_forgotten() -> None:
    buckets = Buckets(1, 1, most=2, clock=Clock())
    assert [buckets.take(name) for name in "abac"] == [0, 0, 1, 0]
    assert len(buckets) == 2
    assert buckets.take("a") == 1  # used after b, so b went
    assert buckets.take("b") == 0


def test_retry_after_is_whole_seconds() -> None:
    assert [whole_seconds(wait_s) for wait_s in (0.01, 1, 1.2)] == [1, 1, 2]
