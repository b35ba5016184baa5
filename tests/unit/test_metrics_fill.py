"""What a vehicle last said, on rows of two vehicles, by hand."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from analytics.metrics.fill import Memory, Said, following, indexed

T0 = dt.datetime(2026, 1, 6, tzinfo=dt.UTC)


@pytest.fixture
def rows() -> pl.DataFrame:
    """Vehicle 1 speaks at 0, 10 and 30 s, vehicle 2 at 0 and 100 s."""
    seconds = [0, 10, 30, 0, 100]
    times = pl.Series([T0 + dt.timedelta(seconds=s) for s in seconds], dtype=pl.Datetime("us", "UTC"))
    return indexed(pl.DataFrame({"vehicle_id": [1, 1, 1, 2, 2], "time": times, "key": [None, True, None, None, False]}))


def test_rows_know_the_bounds_of_their_vehicle(rows: pl.DataFrame) -> None:
    assert rows["first_row"].to_list() == [0, 0, 0, 3, 3]
    assert rows["last_row"].to_list() == [2, 2, 2, 4, 4]
    assert Memory.of(rows).has_next.tolist() == [True, True, False, True, False]


def test_what_was_said_holds_for_its_own_vehicle_alone(rows: pl.DataFrame) -> None:
    memory, key = Memory.of(rows), Said.of(rows["key"])
    assert memory.carried(key).series("key").to_list() == [None, True, True, None, False]
    assert memory.ever(key.told).tolist() == [True] * 5
    assert memory.ever(np.array([False, True, False, False, False])).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(("seconds", "last"), [(20.0, True), (19.9, None)])
def test_what_was_said_is_believed_for_so_long(rows: pl.DataFrame, seconds: float, last: bool | None) -> None:
    carried = Memory.of(rows).carried_for(Said.of(rows["key"]), seconds).series("key")
    assert carried.to_list() == [None, True, last, None, False]


def test_the_next_telling_is_of_the_same_vehicle(rows: pl.DataFrame) -> None:
    at, known = Memory.of(rows).next(Said.of(rows["key"]).told)
    assert known.tolist() == [True, True, False, True, True]
    assert at[known].tolist() == [1, 1, 4, 4]


@pytest.mark.parametrize("kind", [pl.Float64(), pl.Boolean()])
def test_a_column_of_which_nothing_is_known_keeps_its_type(rows: pl.DataFrame, kind: pl.DataType) -> None:
    nothing = Said.of(pl.Series("x", [None] * rows.height, kind))
    told = Memory.of(rows).carried(nothing).series("x")
    assert told.dtype == kind
    assert told.null_count() == rows.height


def test_the_first_that_says_something_counts() -> None:
    one = Said.of(pl.Series([None, False, True], dtype=pl.Boolean))
    other = Said.of(pl.Series([True, True, None], dtype=pl.Boolean))
    assert one.otherwise(other).series("x").to_list() == [True, False, True]


def test_following() -> None:
    assert following(np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 3.0, 3.0]
