"""Column maps: other names, clocks and units become canonical rows."""

import datetime as dt
import os
from pathlib import Path

import polars as pl
import pytest

from ingest.gateway.column_map import ColumnMap, ColumnMapError, map_columns, read_column_map

SAMPLES = Path(os.environ.get("BEACHHEAD_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "twizy-ev"
TWIZY = ColumnMap.model_validate(
    {
        "time": {"columns": ["Date", "Time"], "format": "%m/%d/%Y %H:%M:%S", "tz": "Africa/Casablanca"},
        "vehicle": "twizy-1",
        "signals": {"battery_soc_pct": {"column": "Soc"}, "speed_kmh": {"column": "Speed", "unit": "km/h"}},
    }
)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


def one_clock(zone: str) -> ColumnMap:
    return ColumnMap.model_validate(
        {
            "time": {"column": "t", "format": "%Y-%m-%d %H:%M", "tz": zone},
            "vehicle": "v",
            "signals": {"speed_kmh": {"column": "mph", "unit": "mph"}},
        }
    )


def times(zone: str, *walls: str) -> list[dt.datetime]:
    text = "t,mph\n" + "".join(f"{wall},1\n" for wall in walls)
    return map_columns(text.encode(), one_clock(zone)).frame["time"].to_list()


def test_unpadded_dates_units_and_constant_vehicle():
    csv = b"Date,Time,Soc,Speed,Mode\n5/25/2021,17:19:58,62.5,10,N\n05/05/2021,09:00:00,61,,D\n"
    mapped = map_columns(csv, TWIZY)
    # 25 May 2021: UTC+1; 5 May 2021, in Ramadan: UTC+0.
    assert mapped.frame["time"].to_list() == [utc(2021, 5, 25, 16, 19, 58), utc(2021, 5, 5, 9)]
    assert mapped.frame.columns == ["vehicle", "time", "battery_soc_pct", "speed_kmh"]
    assert mapped.frame["speed_kmh"].to_list() == [10.0, None]
    assert mapped.rejects == []


def test_converts_units():
    mapped = map_columns(b"t,mph\n2025-01-01 00:00,50\n", one_clock("Europe/Amsterdam"))
    assert mapped.frame["speed_kmh"].item() == pytest.approx(80.4672)
    assert mapped.frame["time"].item() == utc(2024, 12, 31, 23)


def test_vehicle_column_and_others_kept():
    columns = TWIZY.model_copy(update={"keep_others": True})
    columns = ColumnMap.model_validate(columns.model_dump() | {"vehicle": {"column": "Car"}})
    csv = b"Date,Time,Car,Soc,Speed,Mode,Traffic\n1/2/2021,00:00:00, a ,1,2,N,0\n1/2/2021,00:00:01,b,1,2,D,7.5\n"
    frame = map_columns(csv, columns).frame
    assert frame["vehicle"].to_list() == ["a", "b"]
    assert frame["Mode"].to_list() == ["N", "D"]
    assert frame["Traffic"].to_list() == [0.0, 7.5]


def test_what_cannot_be_read_is_told_with_row_and_reason():
    csv = b"Date,Time,Soc,Speed\n13/45/2021,00:00:00,1,2\n1/2/2021,00:00:00,low,NaN\n"
    mapped = map_columns(csv, TWIZY)
    assert mapped.frame.height == 1
    assert mapped.frame.select("battery_soc_pct", "speed_kmh").row(0) == (None, None)
    assert [(r.row, r.field, r.value) for r in mapped.rejects] == [
        (1, None, "13/45/2021 00:00:00"),
        (2, "Soc", "low"),
    ]


def test_boolean_signals_read_yes_and_no():
    columns = ColumnMap.model_validate(
        {
            "time": {"column": "t", "format": "%Y-%m-%dT%H:%M:%S%z"},
            "vehicle": "v",
            "signals": {"ignition_on": {"column": "key"}},
        }
    )
    csv = b"t,key\n2025-01-01T00:00:00+0530,ON\n2025-01-01T00:00:01+0530,0\n2025-01-01T00:00:02+0530,maybe\n"
    mapped = map_columns(csv, columns)
    assert mapped.frame["ignition_on"].to_list() == [True, False, None]
    assert mapped.frame["time"][0] == utc(2024, 12, 31, 18, 30)
    assert [r.row for r in mapped.rejects] == [3]


def test_hour_that_occurs_twice_is_told_by_order():
    # Amsterdam, 2025-10-26: 02:00 to 03:00 twice, first at UTC+2, then at UTC+1.
    walls = ["01:59", "02:10", "02:50", "02:05", "02:55", "03:00"]
    expected = [utc(2025, 10, 25, 23, 59), *(utc(2025, 10, 26, 0, m) for m in (10, 50)),
                *(utc(2025, 10, 26, 1, m) for m in (5, 55)), utc(2025, 10, 26, 2)]  # fmt: skip
    assert times("Europe/Amsterdam", *(f"2025-10-26 {wall}" for wall in walls)) == expected


@pytest.mark.parametrize(
    ("walls", "hours"),
    [
        (["01:59", "02:00", "02:01"], [23, 0, 0]),  # runs on from before: first
        (["02:58", "02:59", "03:00"], [1, 1, 2]),  # runs on into what follows: second
        (["02:30"], [0]),  # nothing tells: first
    ],
)
def test_hour_that_occurs_twice_without_a_fall(walls, hours):
    assert [t.hour for t in times("Europe/Amsterdam", *(f"2025-10-26 {wall}" for wall in walls))] == hours


def test_hour_that_does_not_exist_is_refused():
    mapped = map_columns(
        b"t,mph\n2025-03-30 01:59,1\n2025-03-30 02:30,1\n2025-03-30 03:00,1\n", one_clock("Europe/Amsterdam")
    )
    assert [t.hour for t in mapped.frame["time"]] == [0, 1]
    assert [(r.row, "does not exist" in r.reason) for r in mapped.rejects] == [(2, True)]


def test_missing_column_is_named():
    with pytest.raises(ColumnMapError, match="no column Speed; it has Date, Time, Soc"):
        map_columns(b"Date,Time,Soc\n", TWIZY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"signals": {"speed": {"column": "Speed"}}}, "speed is not a canonical signal"),
        ({"signals": {"speed_kmh": {"column": "Speed", "unit": "kWh"}}}, "kWh cannot be turned into km/h"),
        ({"time": {"columns": ["t"], "format": "%H"}}, "tz is needed"),
        ({"time": {"columns": ["t"], "format": "%H", "tz": "Morocco/Rabat"}}, "not an IANA time zone"),
        ({"keep_other": True}, "keep_other"),
    ],
)
def test_faults_of_a_map_are_named(tmp_path, change, says):
    path = tmp_path / "map.yaml"
    path.write_text(str(TWIZY.model_dump() | change))
    with pytest.raises(ColumnMapError, match=says):
        read_column_map(path)


RECORDINGS = {
    "T3_04_22_2021_1": (utc(2021, 4, 22, 8, 42, 50), 14.15),
    "T3_04_22_2021_2": (utc(2021, 4, 22, 9, 2, 42), 15.48),
    "T3_04_26_2021_1": (utc(2021, 4, 26, 9, 36, 8), 14.34),
    "T3_04_26_2021_2": (utc(2021, 4, 26, 9, 57, 20), 15.65),
    "T3_05_25_2021_04": (utc(2021, 5, 25, 16, 19, 58), 32.99),
    "T3_05_25_2021_1": (utc(2021, 5, 25, 9, 38, 33), 13.83),
    "T3_05_25_2021_2": (utc(2021, 5, 25, 10, 53, 26), 15.56),
    "T3_05_25_2021_3": (utc(2021, 5, 25, 14, 46, 55), 14.20),
    "T3_05_31_2021": (utc(2021, 5, 31, 14, 22, 50), 15.70),
    "T3_06_07_2021": (utc(2021, 6, 7, 15, 6, 28), 19.72),
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="real recordings are absent; set BEACHHEAD_SAMPLE_DATA")
@pytest.mark.parametrize("name", RECORDINGS)
def test_real_recordings(name):
    starts_at, km = RECORDINGS[name]
    mapped = map_columns((SAMPLES / f"{name}.csv").read_bytes(), TWIZY)
    assert mapped.rejects == []
    assert mapped.frame["time"][0] == starts_at
    hours = pl.col("time").diff().dt.total_seconds() / 3600
    mean_kmh = (pl.col("speed_kmh") + pl.col("speed_kmh").shift(1)) / 2
    assert mapped.frame.select((mean_kmh * hours).sum()).item() == pytest.approx(km, abs=0.01)
