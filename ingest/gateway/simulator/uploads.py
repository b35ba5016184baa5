"""Cut simulated logs into the uploads that gateways would send, with what goes wrong on the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from ingest.gateway.bodies import Upload, csv_zstd, ndjson_gzip, parquet
from ingest.gateway.simulator.demo import DEMO_INCIDENTS
from ingest.gateway.simulator.fleet import Format
from ingest.gateway.simulator.incidents import Incidents, WrongClock
from ingest.gateway.simulator.simulate import VehicleLog

MAX_ROWS = 25_000
ROWS_AFTER_FIX = 300


class Phase(StrEnum):
    """When an upload reaches the receiver, and whether it is sound."""

    FIRST = "first"
    WRONG_CLOCK = "wrong-clock"
    LATE = "late"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class PhasedUpload:
    """An upload with its phase, its vehicle and its operating day."""

    phase: Phase
    upload: Upload
    pilot: str
    vehicle: str
    day: dt.date


WRITERS: Mapping[Format, Callable[[pl.DataFrame, str, str | None], Upload]] = {
    Format.PARQUET: parquet,
    Format.NDJSON_GZIP: ndjson_gzip,
    Format.CSV_ZSTD: csv_zstd,
}


def uploads(logs: Iterable[VehicleLog], incidents: Incidents = DEMO_INCIDENTS) -> Iterator[PhasedUpload]:
    """Yield uploads in the order they are sent: all first ones, log by log, then the late ones, then the repeats.

    A stretch with a wrong clock is sent twice: with the wrong times (phase wrong-clock, every such row to be refused)
    together with the first good rows after it, and right after that once more with the right times (phase first).
    Wrong-clock uploads stand among the first ones.
    """
    late: list[PhasedUpload] = []
    repeats: list[PhasedUpload] = []
    for log in logs:
        sent = list(_cut(log, incidents))
        late += [upload for upload in sent if upload.phase is Phase.LATE]
        now = [upload for upload in sent if upload.phase is not Phase.LATE]
        if any(r.vehicle == log.vehicle.name and r.day == log.day.date for r in incidents.repeated) and now:
            again = now[0]
            repeats.append(PhasedUpload(Phase.REPEAT, again.upload, again.pilot, again.vehicle, again.day))
        yield from now
    yield from late
    yield from repeats


def _cut(log: VehicleLog, incidents: Incidents) -> Iterator[PhasedUpload]:
    on_time, late = log.frame, log.frame.clear()
    for stretch in (s for s in incidents.late if s.vehicle == log.vehicle.name):
        withheld = pl.col("time").is_between(stretch.start, stretch.end, closed="left")
        late = pl.concat([late, on_time.filter(withheld)])
        on_time = on_time.filter(~withheld)
    for lost in (w for w in incidents.wrong_clocks if w.vehicle == log.vehicle.name):
        before, wrong, right, on_time = _lose_time(on_time, lost)
        yield from _write(log, Phase.FIRST, before)
        yield from _write(log, Phase.WRONG_CLOCK, wrong)
        yield from _write(log, Phase.FIRST, right)
    yield from _write(log, Phase.FIRST, on_time)
    yield from _write(log, Phase.LATE, late)


def _lose_time(frame: pl.DataFrame, lost: WrongClock) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(rows before, rows of the stretch with wrong times and a few good ones, the stretch put right, the rest)."""
    stretch = pl.col("time").is_between(lost.start, lost.end, closed="left")
    right = frame.filter(stretch)
    if right.is_empty():
        return frame.clear(), frame.clear(), right, frame
    after = frame.filter(pl.col("time") >= lost.end)
    since_start = pl.col("time") - pl.col("time").first()
    shown = right.with_columns(time=pl.lit(lost.shown).dt.cast_time_unit("us") + since_start)
    wrong = pl.concat([shown, after.head(ROWS_AFTER_FIX)])
    return frame.filter(pl.col("time") < lost.start), wrong, right, after.slice(ROWS_AFTER_FIX)


def _write(log: VehicleLog, phase: Phase, frame: pl.DataFrame) -> Iterator[PhasedUpload]:
    write = WRITERS[log.pilot.format]
    for part, piece in enumerate(frame.iter_slices(MAX_ROWS)):
        if piece.is_empty():
            continue
        label = f"{log.vehicle.name} {log.day.date} {phase} {part + 1}"
        upload = write(piece, label, log.vehicle.gateway)
        yield PhasedUpload(phase, upload, log.pilot.id, log.vehicle.name, log.day.date)
