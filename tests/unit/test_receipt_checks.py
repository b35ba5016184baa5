"""Checks of rows: each rule of the write side, with row numbers and reasons."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from ingest.checks.extras import KIND_SCHEMA
from ingest.checks.rows import Checked, Clock, Query, check
from ingest.checks.scope import NAME_SCHEMA, SPAN_SCHEMA, Scope
from ingest.decoders import decode
from ingest.decoders.decoded import Limits
from schemas.errors import MalformedBodyError

LIMITS = Limits(1_000_000, 1000, 100)
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
T = "2026-01-06T08:00:00Z"


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


SCOPE = Scope(
    gateway_id=1,
    gateway="gw",
    pilot="p",
    vehicle_names={1: "truck-01", 2: "truck-02"},
    names=pl.DataFrame(
        {"address": ["truck-01", "truck-02", "358000000000001"], "vehicle_id": [1, 2, 2]}, schema=NAME_SCHEMA
    ),
    spans=pl.DataFrame(
        {
            "vehicle_id": [1, 2, 2],
            "low": [utc(2021, 1, 1), utc(2026, 1, 1), utc(2026, 6, 1)],
            "high": [None, utc(2026, 3, 1), utc(2026, 9, 1)],
        },
        schema=SPAN_SCHEMA,
    ),
)


def checked(
    body: bytes | list[dict[str, Any]], content_type: str = "application/x-ndjson", *,
    vehicle: str | None = "truck-01", tz: str | None = None, kinds: list[tuple[int, str, str]] | None = None,
) -> Checked:  # fmt: skip
    sent = body if isinstance(body, bytes) else "\n".join(map(json.dumps, body)).encode()
    known = pl.DataFrame(kinds or [], KIND_SCHEMA, orient="row")
    return check(decode(content_type, sent, LIMITS), SCOPE, Query(vehicle, tz), Clock(NOW, 600), known)


def faults(result: Checked) -> list[tuple[Any, ...]]:
    return result.rejects.select("row", "field", "value", "reason").rows()


def times(result: Checked) -> list[dt.datetime]:
    return result.rows["time"].to_list()


@pytest.mark.parametrize(
    "sent",
    [
        T, "2026-01-06T09:00:00+01:00", "2026-01-06 08:00:00+00:00",
        "2026-01-06t08:00:00z", "2026-01-06T02:30:00.000-05:30",
        1767686400, 1767686400.0, "1767686400",
        1767686400000, 1767686400000000, 1767686400000000000,
        "1767686400000",
    ],
)  # fmt: skip
def test_times_in_every_form(sent: Any) -> None:
    assert times(checked([{"time": sent}])) == [utc(2026, 1, 6, 8)]


def test_fractions_of_seconds_and_nanoseconds() -> None:
    rows = [{"time": 1767686400.25}, {"time": 1767686400_250_001}, {"time": "2026-01-06T08:00:00.250002999Z"}]
    found = [times(checked([row]))[0].microsecond for row in rows]
    assert found == [250_000, 250_001, 250_002]
    assert times(checked([{"time": 1767686400_250_001_600}]))[0].microsecond == 250_002


def test_magnitudes_of_epoch_numbers_at_their_borders() -> None:
    for number, read in ((99_999_999_999, "s"), (100_000_000_000, "ms"), (99_999_999_999_999, "ms"), (10**14, "us")):
        result = checked([{"time": number}])
        reason = faults(result)[0][3]
        assert ("future" in reason) is (read == "s" or number == 99_999_999_999_999), (number, reason)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (None, "time is missing"),
        ("", "time is missing"),
        ("NaN", "time is missing"),
        ("soon", "not a time: use RFC 3339 with an offset, or an epoch number"),
        ("2026-01-06", "not a time: use RFC 3339 with an offset, or an epoch number"),
        ("2026-01-06T25:00:00Z", "not a time: use RFC 3339 with an offset, or an epoch number"),
        (True, "not a time: use RFC 3339 with an offset, or an epoch number"),
        ([1], "not a time: use RFC 3339 with an offset, or an epoch number"),
        (1e300, "not a time: use RFC 3339 with an offset, or an epoch number"),
        ("2026-01-06T08:00:00", "time without a zone: send an offset or use ?tz="),
    ],
)
def test_unusable_times(sent: Any, reason: str) -> None:
    result = checked([{"time": sent, "speed_kmh": 1}, {"time": T}])
    assert [(row, field, why) for row, field, _, why in faults(result)] == [(1, "time", reason)]
    assert result.rows["row"].to_list() == [2]


def test_a_body_without_times() -> None:
    assert faults(checked([{"speed_kmh": 1}])) == [(1, "time", None, "time is missing")]


def test_local_times_with_a_zone_and_its_clock_changes() -> None:
    body = b"time\n2026-03-29 01:59:59\n2026-03-29 02:30:00\n2026-10-25T02:30:00\n2026-10-25 03:00:00\n" + T.encode()
    result = checked(body + b"\n", "text/csv", tz="Europe/Berlin")
    assert times(result) == [utc(2026, 3, 29, 0, 59, 59), utc(2026, 10, 25, 2), utc(2026, 1, 6, 8)]
    assert faults(result) == [
        (2, "time", "2026-03-29 02:30:00", "local time does not exist in Europe/Berlin: the clock was put forward"),
        (3, "time", "2026-10-25T02:30:00", "local time is ambiguous in Europe/Berlin: the clock was put back"),
    ]


def test_a_zone_that_changed_its_offset() -> None:
    """Casablanca is at +01:00, but at +00:00 during Ramadan (in 2021 from 11 April to 16 May)."""
    rows = [{"time": "2021-04-22T12:00:00"}, {"time": "2021-05-25T12:00:00"}]
    assert times(checked(rows, tz="Africa/Casablanca")) == [utc(2021, 4, 22, 12), utc(2021, 5, 25, 11)]


def test_naive_parquet_times_need_a_zone() -> None:
    import io

    out = io.BytesIO()
    pl.DataFrame({"time": [dt.datetime(2026, 1, 6, 9)]}).write_parquet(out)  # noqa: DTZ001
    parquet = "application/vnd.apache.parquet"
    assert times(checked(out.getvalue(), parquet, tz="Europe/Berlin")) == [utc(2026, 1, 6, 8)]
    assert faults(checked(out.getvalue(), parquet))[0][3] == "time without a zone: send an offset or use ?tz="


def test_an_unknown_zone_is_a_malformed_request() -> None:
    with pytest.raises(MalformedBodyError, match="Atlantis"):
        checked([{"time": T}], tz="Europe/Atlantis")


def test_vehicles_by_name_alias_number_and_query() -> None:
    rows = [
        {"time": T, "vehicle": "truck-02"},
        {"time": T, "vehicle": 358000000000001},
        {"time": T, "vehicle": " 358000000000001 "},
        {"time": T},
        {"time": T, "vehicle": ""},
        {"time": T, "vehicle": "bus-01"},
    ]
    result = checked(rows)
    assert result.rows["vehicle_id"].to_list() == [2, 2, 2, 1, 1]
    assert faults(result) == [(6, "vehicle", "bus-01", "not a vehicle of this key")]
    assert result.foreign == 1
    nameless = checked(rows, vehicle=None)
    assert [(row, why) for row, _, _, why in faults(nameless)][:2] == [
        (4, "vehicle is missing"),
        (5, "vehicle is missing"),
    ]


def test_rows_between_assignments_are_outside() -> None:
    sent = [
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-06-01T00:00:00Z",
        "2026-09-01T00:00:00Z",
    ]
    result = checked([{"time": time} for time in sent], vehicle="truck-02")
    assert result.rows["row"].to_list() == [2, 4]
    assert [(row, why) for row, _, _, why in faults(result)] == [
        (1, "before the vehicle's start, 2026-01-01T00:00:00Z"),
        (3, "outside every assignment of the vehicle"),
        (5, "outside every assignment of the vehicle"),
    ]


def test_the_future_begins_after_ten_minutes() -> None:
    result = checked([{"time": "2026-12-01T00:10:00Z"}, {"time": "2026-12-01T00:10:00.000001Z"}])
    assert [(row, why) for row, _, _, why in faults(result)] == [(2, "more than 600 s in the future")]


def signal(name: str, sent: Any, content_type: str = "application/x-ndjson") -> tuple[Any, str | None]:
    """What becomes of one value: the stored one, and the reason if there is none."""
    body = (
        f"time,{name}\n{T},{sent}\n".encode()
        if content_type == "text/csv"
        else [{"time": T, name: sent, "ready": True}]
    )
    result = checked(body, content_type)
    reasons = [why for _, field, _, why in faults(result) if field == name]
    value = result.rows[name][0] if name in result.rows.columns and result.rows.height else None
    return value, reasons[0] if reasons else None


@pytest.mark.parametrize(
    ("name", "sent", "value", "reason"),
    [
        ("speed_kmh", 12, 12.0, None),
        ("speed_kmh", "12.5", 12.5, None),
        ("speed_kmh", " 12.5 ", 12.5, None),
        ("speed_kmh", 160, 160.0, None),
        ("speed_kmh", 160.01, None, "above 160"),
        ("speed_kmh", -0.01, None, "below 0"),
        ("speed_kmh", "fast", None, "not a number"),
        ("speed_kmh", True, None, "not a number"),
        ("speed_kmh", float("inf"), None, "infinite"),
        ("speed_kmh", "-Infinity", None, "infinite"),
        ("speed_kmh", float("nan"), None, None),
        ("speed_kmh", "NaN", None, None),
        ("speed_kmh", None, None, None),
        ("speed_kmh", "", None, None),
        ("speed_kmh", [1], None, "nested or not a number"),
        ("speed_kmh", {"a": 1}, None, "nested or not a number"),
        ("fault_count", 3, 3, None),
        ("fault_count", "3", 3, None),
        ("fault_count", 3.0, 3, None),
        ("fault_count", 3.5, None, "not a whole number"),
        ("fault_count", -1, None, "below 0"),
        ("charging", True, True, None),
        ("charging", "False", False, None),
        ("charging", 1, True, None),
        ("charging", "0", False, None),
        ("charging", 2, None, "not true or false"),
        ("charging", "on", None, "not true or false"),
        ("charging", [True], None, "not true or false"),
    ],
)
def test_canonical_values(name: str, sent: Any, value: Any, reason: str | None) -> None:
    assert signal(name, sent) == (value, reason)


@pytest.mark.parametrize(
    ("name", "sent", "value", "reason"),
    [
        ("speed_kmh", "12.5", 12.5, None),
        ("speed_kmh", "inf", None, "infinite"),
        ("speed_kmh", "nan", None, None),
        ("speed_kmh", "n/a", None, "not a number"),
        ("speed_kmh", "161", None, "above 160"),
        ("charging", "1", True, None),
        ("charging", "TRUE", True, None),
        ("fault_count", "2.5", None, "not a whole number"),
        ("fault_count", "2.0", 2, None),
    ],
)
def test_canonical_values_in_csv(name: str, sent: str, value: Any, reason: str | None) -> None:
    assert signal(name, sent, "text/csv") == (value, reason)


def test_one_bad_value_does_not_touch_its_neighbours() -> None:
    rows = [{"time": 1767686400 + n, "speed_kmh": n, "charging": n % 2 == 0} for n in range(5)]
    rows[2] |= {"speed_kmh": "x"}
    rows[3] |= {"charging": 7}
    result = checked(rows)
    assert result.rows["speed_kmh"].to_list() == [0, 1, None, 3, 4]
    assert result.rows["charging"].to_list() == [True, False, True, None, True]
    assert faults(result) == [(2 + 1, "speed_kmh", "x", "not a number"), (4, "charging", "7", "not true or false")]


def test_a_heartbeat_is_kept_and_a_row_with_nothing_left_is_not() -> None:
    rows = [
        {"time": T},
        {"time": T, "speed_kmh": None},
        {"time": T, "speed_kmh": 999},
        {"time": T, "speed_kmh": 999, "own": 1},
    ]
    result = checked(rows)
    assert result.rows["row"].to_list() == [1, 2, 4]
    assert [(row, field, why) for row, field, _, why in faults(result)] == [
        (3, "speed_kmh", "above 160"),
        (3, None, "no field of the row could be used"),
        (4, "speed_kmh", "above 160"),
    ]
    assert result.rejected == 1


def extras(result: Checked) -> list[tuple[Any, ...]]:
    return result.extras.select("row", "name", "kind", "number", "text").rows()


def test_extras_are_numbers_booleans_and_short_texts() -> None:
    result = checked([{"time": T, "n": 1.5, "b": True, "t": "D", "long": "x" * 65, "nul": "a\0b", "deep": [1]}])
    assert extras(result) == [
        (1, "n", "number", 1.5, None), (1, "b", "boolean", 1.0, None), (1, "t", "text", None, "D"),
    ]  # fmt: skip
    assert [(field, why) for _, field, _, why in faults(result)] == [
        ("long", "longer than 64 characters"),
        ("nul", "holds a NUL character or broken Unicode"),
        ("deep", "neither a number, a boolean nor text"),
    ]


def test_an_extra_of_64_characters_is_kept_and_an_empty_one_is_not_measured() -> None:
    result = checked([{"time": T, "t": "x" * 64}, {"time": T, "t": ""}, {"time": T, "n": float("nan")}])
    assert extras(result) == [(1, "t", "text", None, "x" * 64)]
    assert faults(result) == []


def test_the_first_value_fixes_an_extras_type_within_an_upload() -> None:
    result = checked([{"time": T, "x": 1}, {"time": T, "x": "on"}, {"time": T, "x": True}, {"time": T, "x": "2"}])
    assert extras(result) == [(1, "x", "number", 1.0, None), (4, "x", "number", 2.0, None)]
    assert [(row, field, value) for row, field, value, _ in faults(result) if field] == [
        (2, "x", "on"),
        (3, "x", "true"),
    ]


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("number", 2, (2.0, None)), ("number", "2", (2.0, None)), ("number", "x", None), ("number", True, None),
        ("boolean", True, (1.0, None)), ("boolean", "false", (0.0, None)), ("boolean", 1, None), ("boolean", "x", None),
        ("text", "x", (None, "x")), ("text", "12", (None, "12")), ("text", 12, None), ("text", True, None),
        ("number", float("inf"), None),
    ],
)  # fmt: skip
def test_an_extra_keeps_the_type_it_had(kind: str, sent: Any, kept: tuple[Any, Any] | None) -> None:
    result = checked([{"time": T, "x": sent, "ready": True}], kinds=[(1, "x", kind), (2, "x", "text")])
    assert [row[3:] for row in extras(result)] == ([kept] if kept else [])
    assert len(faults(result)) == (0 if kept else 1)


def test_types_of_extras_are_per_vehicle() -> None:
    result = checked([{"time": T, "x": 1}, {"time": T, "vehicle": "truck-02", "x": "on"}])
    assert [row[2] for row in extras(result)] == ["number", "text"]


def test_csv_extras_are_what_all_their_values_are() -> None:
    body = f"time,n,b,t,z\n{T},1,true,1,007\n{T},2.5,0,x,\n{T},,false,true,\n".encode()
    kinds = {name: kind for _, name, kind, _, _ in extras(checked(body, "text/csv"))}
    assert kinds == {"n": "number", "b": "boolean", "t": "text", "z": "number"}


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_names_that_no_signal_may_have(name: str) -> None:
    result = checked([{"time": T, name: 1, "ready": True}])
    assert extras(result) == []


def test_order_and_presence_of_columns_do_not_matter() -> None:
    one = checked(f"time,speed_kmh,charging\n{T},1,true\n".encode(), "text/csv")
    other = checked(f"charging,own,time,speed_kmh\ntrue,,{T},1\n".encode(), "text/csv")
    assert one.rows.equals(other.rows)
