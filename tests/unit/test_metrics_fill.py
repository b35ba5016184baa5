"""What a vehicle last said, on rows of two vehicles, by hand."""

import numpy as np
import polars as pl
import pytest

from analytics.metrics.fill import Memory, Said, following
from analytics.metrics.readings import Rows

KEY = Said.read(pl.Series([None, True, None, None, False], dtype=pl.Boolean))


@pytest.fixture
def memory() -> Memory:
    """Vehicle 1 speaks at 0, 10 and 30 s, vehicle 2 at 0 and 100 s."""
    us = np.array([0, 10, 30, 0, 100]) * 1_000_000
    rows = Rows.of(np.array([1, 1, 1, 2, 2]), us, np.ones(5, bool))
    return Memory(rows.us, rows.first_row, rows.last_row)


def test_rows_know_the_bounds_of_their_vehicle(memory: Memory) -> None:
    assert memory.first_row.tolist() == [0, 0, 0, 3, 3]
    assert memory.last_row.tolist() == [2, 2, 2, 4, 4]
    assert memory.has_next.tolist() == [True, True, False, True, False]


def test_rows_know_the_last_cut_of_their_own_vehicle() -> None:
    real = np.array([True, False, True, True, True, False, True])
    assert Rows.of(np.array([1, 1, 1, 2, 2, 2, 2]), np.arange(7), real).cut.tolist() == [-1, 0, 0, -1, -1, 1, 1]


def test_what_was_said_holds_for_its_own_vehicle_alone(memory: Memory) -> None:
    key = KEY
    assert memory.carried(key).series("key").to_list() == [None, True, True, None, False]
    assert memory.ever(key.told).tolist() == [True] * 5
    assert memory.ever(np.array([False, True, False, False, False])).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(("seconds", "last"), [(20.0, True), (19.9, None)])
def test_what_was_said_is_believed_for_so_long(memory: Memory, seconds: float, last: bool | None) -> None:
    carried = memory.carried_for(KEY, seconds).series("key")
    assert carried.to_list() == [None, True, last, None, False]


def test_the_next_telling_is_of_the_same_vehicle(memory: Memory) -> None:
    at, known = memory.next(KEY.told)
    assert known.tolist() == [True, True, False, True, True]
    assert at[known].tolist() == [1, 1, 4, 4]


@pytest.mark.parametrize("nothing", [np.zeros(5), np.zeros(5, bool)])
def test_a_column_of_which_nothing_is_known_keeps_its_type(memory: Memory, nothing: np.ndarray) -> None:
    told = memory.carried(Said(nothing, np.zeros(5, bool))).series("x")
    assert told.dtype == (pl.Boolean if nothing.dtype == bool else pl.Float64)
    assert told.null_count() == 5


def test_the_first_that_says_something_counts() -> None:
    one = Said.read(pl.Series([None, False, True], dtype=pl.Boolean))
    other = Said.read(pl.Series([True, True, None], dtype=pl.Boolean))
    assert one.otherwise(other).series("x").to_list() == [True, False, True]


def test_following() -> None:
    assert following(np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 3.0, 3.0]
