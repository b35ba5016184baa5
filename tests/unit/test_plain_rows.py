"""The short way for rows of which there is nothing to say, beside the long way and beside plain arithmetic."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest import loader
from ingest.checks import rows as rows_module
from ingest.checks.plain import Sender, vehicles_of
from ingest.checks.rows import Checked, Clock, Query, check, check_plain
from ingest.checks.scope import NAME_SCHEMA, SPAN_SCHEMA, Scope
from ingest.decoders.decoded import Decoded
from ingest.together import lines_of
from schemas.frames import UTC_TIME


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


NOW = utc(2026, 12, 1)
CLOCK = Clock(NOW, 600)


def scope(gateway_id: int, names: dict[str, int], spans: list[tuple[int, Any, Any]]) -> Scope:
    return Scope(
        gateway_id=gateway_id,
        gateway=f"gw-{gateway_id}",
        pilot="p",
        vehicle_names={id_: name for name, id_ in names.items()},
        names=pl.DataFrame({"address": list(names), "vehicle_id": list(names.values())}, schema=NAME_SCHEMA),
        spans=pl.DataFrame(spans, schema=SPAN_SCHEMA, orient="row"),
    )


FIRST = scope(
    1,
    {"open": 1, "ended": 2, "358000000000001": 2, "with a gap": 3, "without one": 4, "never": 5},
    [
        (1, utc(2025, 1, 1), None),
        (2, utc(2026, 1, 1), utc(2026, 3, 1)),
        (3, utc(2026, 1, 1), utc(2026, 3, 1)),
        (3, utc(2026, 6, 1), None),
        (4, utc(2026, 1, 1), utc(2026, 3, 1)),
        (4, utc(2026, 3, 1), utc(2026, 9, 1)),
    ],
)
SECOND = scope(2, {"open": 9, "other": 2}, [(9, utc(2026, 1, 1), None), (2, utc(2026, 1, 1), utc(2026, 3, 1))])

EDGES = [
    utc(2024, 12, 31), utc(2025, 1, 1), utc(2026, 1, 1), utc(2026, 2, 28, 23, 59, 59), utc(2026, 3, 1),
    utc(2026, 8, 31), utc(2026, 9, 1), NOW, NOW + dt.timedelta(seconds=600), NOW + dt.timedelta(seconds=601),
]  # fmt: skip
names = st.sampled_from(["open", "ended", "without one", " open ", "", "with a gap", "never", "unknown", None])
moments = st.sampled_from(EDGES) | st.integers(0, 3600).map(lambda s: utc(2026, 2, 1) + dt.timedelta(seconds=s))


def sent(times: list[dt.datetime | None], vehicles: list[str | None] | None) -> Decoded:
    columns = {"time": pl.Series(times, dtype=UTC_TIME), "speed_kmh": pl.Series([50.0] * len(times))}
    named = {} if vehicles is None else {"vehicle": pl.Series(vehicles, dtype=pl.String)}
    return Decoded.whole(pl.DataFrame(columns | named))


def same(one: Checked, other: Checked) -> None:
    assert_frame_equal(one.rows, other.rows)
    assert_frame_equal(one.rejects, other.rejects)
    assert (one.received, one.foreign) == (other.received, other.foreign)


@given(st.data())
def test_what_the_short_way_lets_in_is_what_the_long_way_does(data: st.DataObject) -> None:
    few = st.sampled_from(data.draw(st.lists(names, min_size=1, max_size=2)))
    times = data.draw(st.lists(moments | st.none() if data.draw(st.booleans()) else moments, min_size=1, max_size=6))
    vehicles = data.draw(st.none() | st.lists(few, min_size=len(times), max_size=len(times)))
    query = Query(data.draw(st.sampled_from([None, "open", "ended", "unknown"])))
    decoded = sent(times, vehicles)
    short = check(decoded, FIRST, query, CLOCK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "vehicles_of", lambda *_: None)
        same(short, check(decoded, FIRST, query, CLOCK))


@pytest.mark.parametrize(
    ("name", "time", "vehicle_id"),
    [
        ("open", EDGES[1], 1), ("open", EDGES[0], None), ("open", EDGES[8], 1), ("open", EDGES[9], None),
        ("ended", EDGES[3], 2), ("ended", EDGES[4], None), ("without one", EDGES[5], 4),
        ("without one", EDGES[6], None), ("with a gap", EDGES[3], None), ("never", EDGES[3], None),
        ("unknown", EDGES[3], None), (" open", EDGES[3], None), (None, EDGES[3], 2),
    ],
)  # fmt: skip
def test_a_row_goes_the_short_way_only_where_nothing_is_to_be_said(name: Any, time: Any, vehicle_id: Any) -> None:
    found = vehicles_of(
        pl.Series([name], dtype=pl.String), pl.Series([time], dtype=UTC_TIME), [Sender(FIRST, "ended", 1)], CLOCK.latest
    )
    assert (None if found is None else found.to_list()) == (None if vehicle_id is None else [vehicle_id])


def test_vehicles_named_by_numbers_and_rows_that_name_none() -> None:
    time = pl.Series([utc(2026, 2, 1)] * 2, dtype=UTC_TIME)
    imei = vehicles_of(pl.Series([358000000000001] * 2), time, [Sender(FIRST, None, 2)], CLOCK.latest)
    unnamed = vehicles_of(None, time, [Sender(FIRST, "open", 2)], CLOCK.latest)
    assert imei is not None
    assert unnamed is not None
    assert (imei.to_list(), unnamed.to_list()) == ([2, 2], [1, 1])


def test_one_name_is_another_vehicle_to_another_gateway() -> None:
    decoded = sent([utc(2026, 2, 1), utc(2026, 2, 2), utc(2026, 2, 1)], ["open", "open", None])
    senders = [Sender(FIRST, None, 1), Sender(SECOND, "other", 2)]
    checked = check_plain(decoded, senders, CLOCK)
    assert checked is not None
    assert checked.rows["vehicle_id"].to_list() == [1, 9, 2]


def test_each_row_has_the_clock_of_its_own_upload() -> None:
    latest = pl.Series([utc(2026, 2, 1), utc(2026, 2, 2)], dtype=UTC_TIME)
    times = pl.Series([utc(2026, 2, 1), utc(2026, 2, 2)], dtype=UTC_TIME)
    senders = [Sender(FIRST, "open", 1), Sender(FIRST, "open", 1)]
    assert vehicles_of(None, times, senders, latest) is not None
    assert vehicles_of(None, times.reverse(), senders, latest) is None


@given(st.data())
def test_ranges_are_those_of_a_grouping(data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(-5, 5), st.booleans()), max_size=9)
    )
    place, vehicle_id, us, changes = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    classes = pl.DataFrame({
        "vehicle_id": pl.Series(vehicle_id, dtype=pl.Int32), "time": pl.Series(us, dtype=pl.Int64).cast(UTC_TIME),
        "changes": pl.Series(changes, dtype=pl.Boolean), "place": pl.Series(place, dtype=pl.Int64),
    })  # fmt: skip
    changed = pl.col("time").filter("changes")
    for keys, places in ((["vehicle_id"], None), (["place", "vehicle_id"], np.array(place, np.int64))):
        wanted = classes.group_by(keys).agg(
            low=pl.col("time").min(), high=pl.col("time").max(), rows=pl.len().cast(pl.Int32),
            changed_low=changed.min(), changed_high=changed.max(),
        ).sort(keys)  # fmt: skip
        assert_frame_equal(loader.ranges_of(classes, places), wanted)


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"a":1}', 1), (b'{"a":1}\n', 1), (b'{"a":1}\n{"a":2}', 2), (b'{"a":1}\n{"a":2}\n', 2),
        (b'{"a":1}\n\n{"a":2}', None), (b'{"a":1}\n\n', None), (b'{"a":1}\r\n{"a":2}', None), (b"[1]", None),
        (b'\xef\xbb\xbf{"a":1}', None), (b'{"a":1} ', None), (b"", None), (b"{", None), (b"\n", None),
    ],
)  # fmt: skip
def test_the_lines_of_a_small_body_count_as_rows_where_it_is_plain(body: bytes, rows: int | None) -> None:
    assert lines_of(body) == rows
