"""One window of frames to what is stored: rows, other signals, every sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can import dm1
from ingest.can.combine import Series, combined
from ingest.can.decode import Column, decode, physical
from ingest.can.definitions import Group
from ingest.can.frames import Payloads, payloads
from ingest.can.grid import Floats, Grid, Runs, changes
from ingest.can.j1939 import not_available
from ingest.can.setup import Setup
from ingest.can.specs import SignalSpec
from ingest.can.transport import MOST_GAP_US, Joined, join
from ingest.can.windows import Window
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


def signal_name(channel: str, message: str, signal: str, source: int | None) -> str:
    """What a decoded signal is called: `can0/EEC1.SPN190@00`; channel and source address where there are any."""
    prefix = f"{channel}/" if channel else ""
    suffix = "" if source is None else f"@{source:02X}"
    return f"{prefix}{message}.{signal}{suffix}"


def tell(window: Window, setup: Setup) -> Told:
    """Decode a window."""
    low, high = window.own
    own = Grid(low, setup.period_us, (high - low) // setup.period_us)
    split = window.split
    told_frames = window.frames.between(split, len(window.frames))
    grouped = setup.definitions.groups(told_frames)
    decoded = [_Decoded.of(group, payloads(told_frames, group.at)) for group in grouped.groups]
    messages = join(window.frames)
    reports = dm1.heard(window.frames, messages)
    decoded += _joined(messages, window, setup, since=low)
    before = [*_context(window, split, setup), *_canonical(_joined(messages, window, setup, until=low), setup)]
    canonical, out_of_limits = combined([*before, *_canonical(decoded, setup)], setup, own)
    extras, units, seen = _extras(decoded, setup, own)
    return Told(
        rows=_rows(canonical, seen, own),
        extras=extras,
        units=units,
        samples=[sample for part in decoded for sample in part.samples()],
        sightings=dm1.sightings(reports, window.own, setup.bucket_us),
        frames=len(told_frames),
        decoded=sum(len(group.at) for group in grouped.groups),
        unknown=grouped.unknown,
        out_of_limits=out_of_limits,
        # A session at the very end may still go on in the next window.
        losses=int(((messages.lost_us >= low) & (messages.lost_us < high - 2 * MOST_GAP_US)).sum()),
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One group of frames and the values in it."""

    group: Group
    time_us: NDArray[np.int64]
    signals: list[tuple[SignalSpec, Floats]]

    @classmethod
    def of(cls, group: Group, data: Payloads, wanted: frozenset[str] | None = None) -> _Decoded:
        columns = decode(data, group.message)
        signals = [
            (signal, _values(columns[signal.name], signal, by_pgn=group.message.by_pgn))
            for signal in group.message.signals
            if wanted is None or signal.name in wanted
        ]
        return cls(group, data.time_us, signals)

    def samples(self) -> Iterator[Samples]:
        for signal, values in self.signals:
            yield Samples(self.name(signal), signal.unit, self.time_us, values)

    def name(self, signal: SignalSpec) -> str:
        return signal_name(self.group.channel, self.group.message.name, signal.name, self.group.source)


def _values(column: Column, signal: SignalSpec, *, by_pgn: bool) -> Floats:
    if by_pgn and not signal.floating and not signal.signed:
        missing = not_available(column.raw, signal.bits)  # type: ignore[arg-type]
        if missing is not None:
            present = ~missing if column.present is None else column.present & ~missing
            column = replace(column, present=present)
    return physical(column, signal)


def _joined(
    messages: Joined, window: Window, setup: Setup, since: int | None = None, until: int | None = None
) -> list[_Decoded]:
    """Transport messages that ended in a stretch of time, decoded."""
    inside = np.ones(len(messages.time_us), bool)
    if since is not None:
        inside &= messages.time_us >= since
    if until is not None:
        inside &= messages.time_us < until
    found = []
    for channel, can_id in sorted(
        set(zip(messages.channel[inside].tolist(), messages.can_id[inside].tolist(), strict=True))
    ):
        name = window.frames.channels[channel]
        message = setup.definitions.match(name, can_id)
        if message is not None:
            at = np.flatnonzero(inside & (messages.channel == channel) & (messages.can_id == can_id))
            source = can_id & 0xFF if message.by_pgn else None
            found.append(_Decoded.of(Group(name, message, source, at), messages.payloads(at)))
    return found


def _context(window: Window, split: int, setup: Setup) -> list[Series]:
    """The canonical series of the frames before the window's own."""
    frames = window.frames.between(0, split)
    wanted: dict[str, set[str]] = {}
    for candidates in setup.canonical.values():
        for canonical in candidates:
            wanted.setdefault(canonical.message, set()).add(canonical.signal)
    parts = [
        _Decoded.of(group, payloads(frames, group.at), frozenset(wanted[group.message.name]))
        for group in setup.definitions.groups(frames).groups
        if group.message.name in wanted
    ]
    return _canonical(parts, setup)


def _canonical(decoded: list[_Decoded], setup: Setup) -> list[Series]:
    """The series that candidates of canonical signals name, scaled to the canonical unit."""
    by_signal: dict[tuple[str, str], list[tuple[_Decoded, Floats]]] = {}
    for part in decoded:
        for signal, values in part.signals:
            by_signal.setdefault((part.group.message.name, signal.name), []).append((part, values))
    return [
        Series(name, rank, part.group.channel, part.group.source, part.time_us, values * c.factor + c.offset)
        for name, candidates in setup.canonical.items()
        for rank, c in enumerate(candidates)
        for part, values in by_signal.get((c.message, c.signal), [])
    ]


def _extras(decoded: list[_Decoded], setup: Setup, own: Grid) -> tuple[pl.DataFrame, dict[str, str], NDArray[np.bool_]]:
    """Signals that are not canonical, on the grid, stored on change; units by name; bins in which anything was."""
    canonical = {(c.message, c.signal) for candidates in setup.canonical.values() for c in candidates}
    seen = np.zeros(own.bins, bool)
    names, units, bands, grids, kept = [], {}, [], [], []
    for part in decoded:
        runs = Runs.of(part.time_us, own)
        seen[runs.bins] = True
        for signal, values in part.signals:
            key, name = (part.group.message.name, signal.name), part.name(signal)
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
