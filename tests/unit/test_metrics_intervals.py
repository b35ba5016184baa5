"""Intervals of several owners on one line."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from metrics_case import at

from analytics.metrics.intervals import Line, merged

ENDS = st.tuples(st.integers(0, 12), st.integers(0, 12))
OWNED = st.lists(st.tuples(st.sampled_from([2, 3, 5]), ENDS), max_size=12)


def _arrays(intervals: list[tuple[int, tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = [(owner, *ends) for owner, ends in intervals]
    owner, starts, ends = np.array(rows, np.int64).reshape(-1, 3).T
    return owner, starts, ends


@given(OWNED)
def test_the_union_covers_what_any_interval_covers_and_its_parts_do_not_touch(
    intervals: list[tuple[int, tuple[int, int]]],
) -> None:
    line = Line(np.array([2, 5]), 1, 9)
    union = line.spans(*_arrays(intervals))
    assert (union.starts < union.ends).all()
    assert (union.ends[:-1] < union.starts[1:]).all()
    for owner in (2, 5):
        for us in range(1, 10):
            covered = any(whose == owner and start <= us < end for whose, (start, end) in intervals)
            _, inside = union.around(line.at(np.array([owner]), np.array([us])))
            assert inside.tolist() == [covered]


@given(OWNED)
def test_merged_intervals_are_of_the_columns_types_and_in_order(intervals: list[tuple[int, tuple[int, int]]]) -> None:
    schema = {"vehicle_id": pl.Int32, "starts_at": pl.Datetime("us", "UTC"), "ends_at": pl.Datetime("us", "UTC")}
    rows = [(owner, at(start), at(end)) for owner, (start, end) in intervals]
    frame = merged(pl.DataFrame(rows, schema=schema, orient="row"))
    assert dict(frame.schema) == schema
    assert frame.equals(frame.sort("vehicle_id", "starts_at"))
    seconds = {(o, s) for o, (start, end) in intervals for s in range(start, end)}
    total_s = sum((end - start).total_seconds() for _, start, end in frame.iter_rows())
    assert total_s == len(seconds)
