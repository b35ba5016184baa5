"""Column maps: CSV of loggers that use other names, clocks and units, as rows in canonical signals.

time: {columns: [Date, Time], format: "%m/%d/%Y %H:%M:%S", tz: Africa/Casablanca}
vehicle: twizy-1                     # or {column: Name}
signals:
  battery_soc_pct: {column: Soc}
  speed_kmh: {column: Speed, unit: km/h}
keep_others: false                   # true: remaining columns become extra signals
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import available_timezones

import polars as pl
import yaml
from polars.exceptions import PolarsError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ingest.gateway.local_time import to_utc
from schemas.errors import BeachheadError, MalformedBodyError
from schemas.signals import SIGNALS, Kind
from schemas.units import UNITS, from_house, to_house
from schemas.wire import Reject

ROW = "__row"
NOT_MEASURED = ["", "nan", "null", "na", "n/a", "none", "-"]
YES, NO = ["true", "1", "1.0", "yes", "on"], ["false", "0", "0.0", "no", "off"]
REJECTS_SHOWN = 10_000


class ColumnMapError(BeachheadError):
    """A column map is wrong, or does not fit a file."""


class Part(BaseModel):
    """A part of a column map; unknown fields are a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeColumns(Part):
    """Columns that make up the time, joined by a space; `tz` names the zone of a clock without offset."""

    columns: list[str] = Field(min_length=1)
    format: str
    tz: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_column(cls, given: object) -> object:
        if isinstance(given, dict) and "column" in given and "columns" not in given:
            return {**{k: v for k, v in given.items() if k != "column"}, "columns": [given["column"]]}
        return given

    @model_validator(mode="after")
    def _zone_is_known(self) -> TimeColumns:
        if "%z" in self.format.replace("%:z", "%z").replace("%#z", "%z"):
            return self
        if self.tz is None:
            raise ValueError("tz is needed, as the format has no offset (%z)")
        if self.tz not in available_timezones():
            raise ValueError(f"{self.tz} is not an IANA time zone such as Africa/Casablanca")
        return self


class NameColumn(Part):
    """The column that names the vehicle."""

    column: str


class SignalColumn(Part):
    """The column of a signal and its unit, if it is not the signal's own."""

    column: str
    unit: str | None = None


class ColumnMap(Part):
    """A whole column map."""

    time: TimeColumns
    vehicle: str | NameColumn
    signals: dict[str, SignalColumn] = Field(min_length=1)
    keep_others: bool = False

    @model_validator(mode="after")
    def _signals_are_known(self) -> ColumnMap:
        for name, source in self.signals.items():
            if name not in SIGNALS:
                raise ValueError(f"signals: {name} is not a canonical signal")
            if source.unit is not None and not _convertible(source.unit, SIGNALS[name].unit):
                raise ValueError(
                    f"signals: {name}: {source.unit} cannot be turned into {SIGNALS[name].unit or 'yes/no'}"
                )
        return self


@dataclass(frozen=True, slots=True)
class Mapped:
    """`frame` has `vehicle`, `time` (UTC, µs), signals and extras, in the file's order; `rejects` what was set aside.

    Rows in `rejects` are counted from 1, without the header. A reject without `field` is a row that is left out.
    """

    frame: pl.DataFrame
    rejects: list[Reject]


def read_column_map(path: Path) -> ColumnMap:
    """Read a column map.

    Raises:
        ColumnMapError: it is not YAML, or not a column map; says where.
    """
    try:
        return ColumnMap.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ColumnMapError(f"{path.name}: is not YAML: {error}") from None
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise ColumnMapError("\n".join(f"{path.name}: {fault}" for fault in faults)) from None


def map_columns(csv: bytes, columns: ColumnMap) -> Mapped:
    """Turn CSV bytes into canonical rows.

    Raises:
        ColumnMapError: a named column is not in the file.
        MalformedBodyError: the bytes are not CSV.
    """
    try:
        raw = pl.read_csv(io.BytesIO(csv), infer_schema=False, row_index_name=ROW, row_index_offset=1)
    except PolarsError as error:
        raise MalformedBodyError(f"cannot be read as CSV: {error}") from None
    _require(raw, columns)
    time = to_utc(raw, columns.time.columns, columns.time.format, columns.time.tz)
    values = {name: _values(raw, name, source) for name, source in columns.signals.items()}
    frame = raw.select(_vehicle(columns), time.instants.alias("time"), *(pl.lit(v).alias(n) for n, v in values.items()))
    frame = frame.with_columns(_others(raw, columns))
    unread = [reject for name, source in columns.signals.items() for reject in _unread(raw, source, values[name])]
    return Mapped(frame.filter(time.instants.is_not_null()), sorted([*time.rejects(raw[ROW]), *unread], key=_by_row))


def _by_row(reject: Reject) -> int:
    return reject.row


def _require(raw: pl.DataFrame, columns: ColumnMap) -> None:
    needed = [*columns.time.columns, *(source.column for source in columns.signals.values())]
    if isinstance(columns.vehicle, NameColumn):
        needed.append(columns.vehicle.column)
    missing = [name for name in needed if name not in raw.columns]
    if missing:
        raise ColumnMapError(f"The file has no column {', '.join(missing)}; it has {', '.join(raw.columns[1:])}.")


def _vehicle(columns: ColumnMap) -> pl.Expr:
    if isinstance(columns.vehicle, NameColumn):
        return pl.col(columns.vehicle.column).str.strip_chars().alias("vehicle")
    return pl.lit(columns.vehicle).alias("vehicle")


def _convertible(unit: str, wanted: str) -> bool:
    if unit == wanted:
        return True
    return unit in UNITS and wanted in UNITS and UNITS[unit].quantity == UNITS[wanted].quantity


def _measured(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(~text.str.to_lowercase().is_in(NOT_MEASURED)).then(text)


def _values(raw: pl.DataFrame, name: str, source: SignalColumn) -> pl.Series:
    signal, text = SIGNALS[name], _measured(source.column)
    if signal.kind is Kind.BOOLEAN:
        said = text.str.to_lowercase()
        flag = pl.when(said.is_in(YES)).then(pl.lit(value=True)).when(said.is_in(NO)).then(pl.lit(value=False))
        return raw.select(flag.alias(name)).to_series()
    number = text.cast(pl.Float64, strict=False)
    if source.unit is not None and source.unit != signal.unit:
        number = from_house(to_house(number, source.unit), signal.unit)
    return raw.select(number.alias(name)).to_series()


def _unread(raw: pl.DataFrame, source: SignalColumn, values: pl.Series) -> list[Reject]:
    """Values that say something, but not a number (or yes and no)."""
    wrong = raw.select(ROW, text=_measured(source.column)).filter(pl.col("text").is_not_null() & values.is_null())
    return [
        Reject(row=row, field=source.column, value=text[:64], reason="is not a value of this signal")
        for row, text in wrong.head(REJECTS_SHOWN).iter_rows()
    ]


def _others(raw: pl.DataFrame, columns: ColumnMap) -> list[pl.Series]:
    """Remaining columns as extras: numbers where every value is one, else text of at most 64 characters."""
    if not columns.keep_others:
        return []
    used = {ROW, *columns.time.columns, *(source.column for source in columns.signals.values())}
    if isinstance(columns.vehicle, NameColumn):
        used.add(columns.vehicle.column)
    kept = raw.select(_measured(name).alias(name) for name in raw.columns if name not in used)
    return [_number_or_text(column) for column in kept.get_columns()]


def _number_or_text(column: pl.Series) -> pl.Series:
    numbers = column.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == column.null_count() else column.str.slice(0, 64)
