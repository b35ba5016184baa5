"""Stretches of time, beside sets of numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.can import spans
from ingest.can.spans import MOST_SPANS, few, inside, joined, on_grid, overlap, reaching, without

some = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda one: (one[0], one[0] + one[1])), max_size=8
)


def numbers(found: spans.Spans) -> set[int]:
    return {n for low, high in found for n in range(low, high)}


@given(some)
def test_joined_spans_hold_the_same_and_are_apart(given_: spans.Spans) -> None:
    found = joined(given_)
    assert numbers(found) == numbers(given_)
    assert all(one[1] < other[0] for one, other in pairwise(found))


@given(some, some)
def test_overlap_and_difference(one: spans.Spans, other: spans.Spans) -> None:
    one, other = joined(one), joined(other)
    assert numbers(overlap(one, other)) == numbers(one) & numbers(other)
    assert numbers(without(one, other)) == numbers(one) - numbers(other)


@given(some)
def test_times_inside(given_: spans.Spans) -> None:
    found = inside(np.arange(-5, 90), joined(given_))
    assert set((np.flatnonzero(found) - 5).tolist()) == numbers(given_)


@given(some)
def test_whole_buckets(given_: spans.Spans) -> None:
    buckets = {n // 10 for n in numbers(given_)}
    assert numbers(on_grid(given_, 10)) == {n for bucket in buckets for n in range(10 * bucket, 10 * bucket + 10)}


def test_reaching_further() -> None:
    assert reaching([(10, 20), (40, 50)], before_us=5, after_us=15) == [(5, 65)]
    assert reaching([(10, 20), (40, 50)], after_us=1) == [(10, 21), (40, 51)]


def test_few_spans_hold_all_of_many() -> None:
    many = [(n * 10, n * 10 + 3 + n % 5) for n in range(5 * MOST_SPANS)]
    found = few(many)
    assert len(found) == MOST_SPANS
    assert numbers(found) >= numbers(many)
    assert few(many[:3]) == many[:3]
