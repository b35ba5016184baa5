"""One window of frames to what is stored: rows, other signals, every sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can import dm1, j1939_table
from ingest.can.combine import Series, combined
from ingest.can.grid import Floats, Grid, Runs, changes
from ingest.can.j1939_table import PACK_CAPACITY
from ingest.can.messages import Decoded, hear
from ingest.can.setup import Setup
from ingest.can.windows import Silences, Window
from schemas.frames import POLARS_TYPE, UTC_TIME
from schemas.signals import SIGNALS, Aggregate, Kind

SAMPLE_SCHEMA: dict[str, pl.DataType] = {"name": pl.String(), "time": UTC_TIME, "number": pl.Float64()}


@dataclass(frozen=True, slots=True)
class Samples:
    """Every own value of one signal, in order of time; NaN where a frame lacks it."""

    name: str
    unit: str
    time_us: NDArray[np.int64]
    values: Floats


@dataclass(slots=True)
class Told:
    """What a window tells of its own time.

    `rows`: time and canonical signals, one row per sample period in which anything was decoded. `extras` by
    SAMPLE_SCHEMA. `samples`: everything at full resolution. `sightings` of trouble codes by dm1.SIGHTING_SCHEMA.
    `out_of_limits` counts canonical values by signal.
    """

    rows: pl.DataFrame
    extras: pl.DataFrame
    units: dict[str, str]
    samples: list[Samples]
    sightings: pl.DataFrame
    frames: int
    decoded: int
    unknown: dict[tuple[str, int], int]
    out_of_limits: dict[str, int] = field(default_factory=dict)
    losses: int = 0


def tell(window: Window, setup: Setup) -> Told:
    """Decode a window."""
    told = _tell(window, setup)
    return told if window.silences is None else _in_real_time(told, window.silences)


def _in_real_time(told: Told, silences: Silences) -> Told:
    real = {id(one.time_us): one.time_us for one in told.samples}
    real = {key: silences.real(time_us) for key, time_us in real.items()}

    def moved(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        # Missing times stay missing.
        return frame.with_columns(
            pl.Series(name, silences.real(frame[name].cast(pl.Int64).fill_null(0).to_numpy()))
            .set(frame[name].is_null(), None)
            .cast(frame.schema[name])
            for name in columns
        )

    return replace(
        told,
        rows=moved(told.rows, "time"),
        extras=moved(told.extras, "time"),
        samples=[replace(one, time_us=real[id(one.time_us)]) for one in told.samples],
        sightings=moved(told.sightings, "first_us", "last_us", "cleared_us"),
    )


def _tell(window: Window, setup: Setup) -> Told:
    low, high = window.own
    own = Grid(low, setup.period_us, (high - low) // setup.period_us)
    heard = hear(window, setup.definitions, _wanted(setup))
    reports = dm1.heard(heard.of_pgn(dm1.PGN, dm1.MOST_SENT_US))
    series = [*_canonical(heard.before, setup), *_canonical(heard.own, setup), *_of_reports(reports, setup)]
    canonical, out_of_limits = combined(series, _capacities(heard.single), setup, own)
    extras, units, seen = _extras(heard.own, setup, own)
    now = heard.now
    return Told(
        rows=_rows(canonical, seen, own),
        extras=extras,
        units=units,
        samples=[Samples(one.name(s), s.unit, one.time_us, values) for one in heard.own for s, values in one.signals],
        sightings=dm1.sightings(reports, window.own, setup.bucket_us),
        frames=len(now.frames),
        decoded=sum(len(group.at) for group in now.grouped.groups),
        unknown=now.grouped.unknown,
        out_of_limits=out_of_limits,
        losses=heard.losses,
    )


def _wanted(setup: Setup) -> dict[str, set[str]]:
    """What earlier frames may still matter for."""
    wanted = {PACK_CAPACITY[0]: {PACK_CAPACITY[1]}}
    for candidates in setup.canonical.values():
        for canonical in candidates:
            wanted.setdefault(canonical.message, set()).add(canonical.signal)
    return wanted


def _canonical(decoded: list[Decoded], setup: Setup) -> list[Series]:
    """The series that candidates of canonical signals name, scaled to the canonical unit."""
    by_signal = _by_signal(decoded)
    return [
        Series(name, rank, part.channel, part.message.name, part.source, part.time_us, values * c.factor + c.offset)
        for name, candidates in setup.canonical.items()
        for rank, c in enumerate(candidates)
        for part, values in by_signal.get((c.message, c.signal), [])
    ]


def _by_signal(decoded: list[Decoded]) -> dict[tuple[str, str], list[tuple[Decoded, Floats]]]:
    by_signal: dict[tuple[str, str], list[tuple[Decoded, Floats]]] = {}
    for part in decoded:
        for signal, values in part.signals:
            by_signal.setdefault((part.message.name, signal.name), []).append((part, values))
    return by_signal


def _capacities(single: list[Decoded]) -> list[Series]:
    """The packs' capacities. Of single frames: a joined message may have begun before all that the window holds."""
    found = _by_signal(single).get(PACK_CAPACITY, [])
    return [
        Series("capacity_ah", 0, part.channel, part.message.name, part.source, part.time_us, values)
        for part, values in found
    ]


def _of_reports(reports: Mapping[tuple[str, int], dm1.Reports], setup: Setup) -> Iterator[Series]:
    """How many codes each source reports; and its lamps, where a definition of the vehicle's own hides the table's."""
    for (channel, source), one in reports.items():
        told: dict[str, Floats] = {dm1.FAULT_COUNT: one.active.astype(np.float64)}
        if setup.definitions.match(channel, dm1.ID | source) is not j1939_table.DM1:
            lamps = np.where(one.lamps == dm1.UNKNOWN, np.nan, one.lamps)
            told |= dict(zip(dm1.LAMPS, lamps.T, strict=True))
        for name, values in told.items():
            if name not in setup.mapped:
                yield Series(name, 0, channel, j1939_table.DM1.name, source, one.time_us, values)


def _extras(decoded: list[Decoded], setup: Setup, own: Grid) -> tuple[pl.DataFrame, dict[str, str], NDArray[np.bool_]]:
    """Signals that are not canonical, on the grid, stored on change; units by name; bins in which anything was."""
    canonical = {(c.message, c.signal) for candidates in setup.canonical.values() for c in candidates}
    seen = np.zeros(own.bins, bool)
    names, units, bands, grids, kept = [], {}, [], [], []
    for part in decoded:
        runs = Runs.of(part.time_us, own)
        seen[runs.bins] = True
        for signal, values in part.signals:
            key, name = (part.message.name, signal.name), part.name(signal)
            if key in canonical:
                continue
            units[name] = signal.unit
            if key in setup.keep:
                kept.append(_every(name, part.time_us, values))
                continue
            names.append(name)
            bands.append(abs(float(signal.scale)) if signal.aggregate is Aggregate.MEAN else 0.0)
            grids.append(runs.binned(values, signal.aggregate))
    stored = _stored(names, np.array(grids), np.array(bands), setup, own) if names else []
    return pl.concat([pl.DataFrame(schema=SAMPLE_SCHEMA), *stored, *kept]), units, seen


def _stored(names: list[str], grids: Floats, bands: Floats, setup: Setup, own: Grid) -> list[pl.DataFrame]:
    signal, bin_ = np.nonzero(changes(grids, bands, setup.bucket_us // setup.period_us))
    frame = pl.DataFrame(
        {"name": pl.Series(names).gather(signal), "time": own.times_us[bin_], "number": grids[signal, bin_]}
    )
    return [frame.with_columns(pl.col("time").cast(UTC_TIME))]


def _every(name: str, time_us: NDArray[np.int64], values: Floats) -> pl.DataFrame:
    frame = pl.DataFrame({"time": time_us, "number": values}).filter(pl.col("number").is_not_nan())
    frame = frame.unique("time", keep="last", maintain_order=True)
    return frame.select(pl.lit(name).alias("name"), pl.col("time").cast(UTC_TIME), "number")


def _rows(canonical: dict[str, Floats], seen: NDArray[np.bool_], own: Grid) -> pl.DataFrame:
    for values in canonical.values():
        seen = seen | ~np.isnan(values)
    at = np.flatnonzero(seen)
    columns = [pl.Series("time", own.times_us[at]).cast(UTC_TIME)]
    told = [name for name in SIGNALS if name in canonical and not np.isnan(canonical[name][at]).all()]
    columns += [_typed(name, canonical[name][at]) for name in told]
    return pl.DataFrame(columns)


def _typed(name: str, values: Floats) -> pl.Series:
    column = pl.Series(name, values).fill_nan(None)
    kind = SIGNALS[name].kind
    return column if kind is Kind.FLOAT else column.round().cast(POLARS_TYPE[kind])
