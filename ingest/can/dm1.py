"""J1939 DM1 (PGN 65226): lamps and active trouble codes, and from these the stretches in which each code was active.

Byte 0 holds four lamps of two bits, 1 on, 0 off, else unknown; byte 1 how they flash. Then four bytes a code: the
suspect parameter's number (19 bits), the failure mode (5 bits), how often it occurred (7 bits, 127: not told) and the
conversion method (1 bit; 0: the number is laid out as read here, 1: by one of three older layouts, which differ from
maker to maker). Number 0 with failure mode 0 means no fault, and so does all ones.

A message tells all codes active at its source: a code that the next one leaves out is cleared. What a stretch of time
tells depends on the CLEAR_GAP_US before it, and on nothing earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingest.can.frames import EXTENDED, WORD_BYTES, Bytes, Indices, Payloads, Times

PGN = 65226
ID = int(EXTENDED) | 6 << 26 | PGN << 8
FAULT_COUNT = "fault_count"
LAMPS = {"malfunction_lamp": 6, "red_stop_lamp": 4, "amber_warning_lamp": 2, "protect_lamp": 0}
"""The lowest bit of each in byte 0."""
UNKNOWN = -1
CODES_AT, CODE_BYTES = 2, 4
NO_SPN, NO_FMI = (1 << 19) - 1, 31
NOT_TOLD = 127
RUN_GAP_US = 10_000_000
"""Reports of a code further apart than this are two runs: nobody knows what was between."""
CLEAR_GAP_US = 30_000_000
"""A message without the code clears it if the message before, no longer ago than this, had it. Buckets are as long."""
MOST_SENT_US = 30_000_000
"""Messages that were longer on their way are no reports: so the bucket before holds whatever may yet be cleared, whole.
"""

_FLAGS = {name: pl.Boolean() for name in ("red_stop_lamp", "amber_warning_lamp", "protect_lamp", "malfunction_lamp")}
_CODE: dict[str, pl.DataType] = {"channel": pl.String(), "source": pl.Int16(), "spn": pl.Int32(), "fmi": pl.Int16()}
SIGHTING_SCHEMA: dict[str, pl.DataType] = {
    **_CODE, "first_us": pl.Int64(), "last_us": pl.Int64(), "cleared_us": pl.Int64(), "occurrence_count": pl.Int16(),
    **_FLAGS,
}  # fmt: skip
"""A run of reports of one code from one source: UTC microseconds of its first and last, and of the first report without
it. A row without first and last tells of a clearing alone. Lamps: lit in any report of the run."""


@dataclass(frozen=True, slots=True)
class Reports:
    """DM1 messages of one source, in order of time, all times different; and the codes in them.

    Per message: `time_us`, `lamps` (a column each, in the order of LAMPS; 1 on, 0 off, UNKNOWN), `active` codes. Per
    code, ascending by `message` (its position): `spn`, `fmi`, `occurrence` (UNKNOWN: not told), `method`. No code comes
    twice in a message.
    """

    time_us: Times = field(default_factory=lambda: np.empty(0, np.int64))
    lamps: NDArray[np.int8] = field(default_factory=lambda: np.empty((0, len(LAMPS)), np.int8))
    active: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    message: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    spn: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    fmi: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    occurrence: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    method: Indices = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.time_us)

    @property
    def key(self) -> Indices:
        """One number for each code's SPN and FMI."""
        return self.spn << 5 | self.fmi


def read(payloads: Payloads) -> Reports:
    """The reports of one source's DM1 messages, single frames or joined ones.

    Messages too short for a code are left out; of several at one time the last one counts.
    """
    time = payloads.time_us
    last = np.append(time[1:] != time[:-1], True)[: len(time)]
    at = np.flatnonzero((payloads.length >= CODES_AT + CODE_BYTES) & last)
    if not len(at):
        return Reports()
    data = _bytes(payloads, at)
    shifts = np.array(list(LAMPS.values()), np.uint8)
    lamps = (data[:, :1] >> shifts & 3).astype(np.int8)
    lamps[lamps > 1] = UNKNOWN
    codes = _codes(data, payloads.length[at])
    message, spn, fmi = codes[0], codes[1], codes[2]
    active = np.bincount(message, minlength=len(at)).astype(np.int64)
    return Reports(payloads.time_us[at], lamps, active, message, spn, fmi, codes[3], codes[4])


def heard(parts: Iterable[tuple[tuple[str, int], Payloads]]) -> dict[tuple[str, int], Reports]:
    """The reports of each (channel, source address), in single frames and in joined messages."""
    found: dict[tuple[str, int], list[Reports]] = {}
    for source, payloads in parts:
        found.setdefault(source, []).append(read(payloads))
    return {source: merged(reports) for source, reports in found.items()}


def _bytes(payloads: Payloads, at: Indices) -> Bytes:
    if payloads.word is not None:
        return payloads.word[at].astype("<u8").view(np.uint8).reshape(-1, WORD_BYTES)
    assert payloads.data is not None  # noqa: S101  (Payloads holds one of both)
    return payloads.data[at]


def _codes(data: Bytes, length: Indices) -> tuple[Indices, Indices, Indices, Indices, Indices]:
    """Message, SPN, FMI, occurrence count and conversion method of each code."""
    places = (data.shape[1] - CODES_AT) // CODE_BYTES
    table = data[:, CODES_AT : CODES_AT + places * CODE_BYTES].reshape(len(data), places, CODE_BYTES)
    held = np.arange(places) < ((length - CODES_AT) // CODE_BYTES)[:, None]
    message, place = np.nonzero(held)
    b = table[message, place].astype(np.int64)
    spn, fmi = b[:, 0] | b[:, 1] << 8 | b[:, 2] >> 5 << 16, b[:, 2] & 31
    fault = ((spn != 0) | (fmi != 0)) & ((spn != NO_SPN) | (fmi != NO_FMI))
    _, once = np.unique(message << 24 | spn << 5 | fmi, return_index=True)
    kept = np.sort(once[fault[once]])
    count = b[kept, 3] & 127
    return message[kept], spn[kept], fmi[kept], np.where(count == NOT_TOLD, UNKNOWN, count), b[kept, 3] >> 7


def merged(parts: Sequence[Reports]) -> Reports:
    """Reports of one source from several readings (single frames, joined ones); of two at one time the later part's."""
    parts = [part for part in parts if len(part)]
    if len(parts) < 2:
        return parts[0] if parts else Reports()
    time = np.concatenate([part.time_us for part in parts])
    order = np.argsort(time, kind="stable")
    order = order[np.append(np.diff(time[order]) > 0, True)]
    place = np.full(len(time), -1)
    place[order] = np.arange(len(order))
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    message = place[np.concatenate([part.message + start for part, start in zip(parts, starts, strict=True)])]
    codes = np.flatnonzero(message >= 0)
    codes = codes[np.argsort(message[codes], kind="stable")]

    def joined(name: str, at: Indices) -> NDArray[np.int64]:
        values: NDArray[np.int64] = np.concatenate([getattr(part, name) for part in parts])[at]
        return values

    lamps = np.concatenate([part.lamps for part in parts])[order]
    per_code = (joined(name, codes) for name in ("spn", "fmi", "occurrence", "method"))
    return Reports(time[order], lamps, joined("active", order), message[codes], *per_code)


def sightings(reports: Mapping[tuple[str, int], Reports], own_us: tuple[int, int], bucket_us: int) -> pl.DataFrame:
    """What the reports of each (channel, source) tell of `own_us` = [low, high), whole buckets; by SIGHTING_SCHEMA.

    Runs are cut at every bucket, so that the answer for a stretch is that for its buckets, one after the other. A
    clearing in the bucket of the last report stands with it, else in a row of its own.
    """
    heard = [(source, one) for source, one in sorted(reports.items()) if len(one.message)]
    if not heard:
        return pl.DataFrame(schema=SIGHTING_SCHEMA)
    told = [_told(one, own_us, bucket_us) for _, one in heard]
    codes = pl.LazyFrame({name: np.concatenate([one[name] for one in told]) for name in told[0]}).with_columns(
        pl.when(pl.col("occurrence_count") != UNKNOWN).then("occurrence_count"),
        *(pl.when(pl.col(name) != UNKNOWN).then(pl.col(name) == 1).alias(name) for name in LAMPS),
        number=np.repeat(np.arange(len(heard)), [len(one["spn"]) for one in told]),
    )
    sources = pl.LazyFrame([source for source, _ in heard], ["channel", "source"], orient="row").with_row_index(
        "number"
    )
    both = pl.concat([_runs(codes.filter("own")), _clearings(codes.filter("apart"))], how="diagonal_relaxed")
    named = sources.cast({"number": pl.Int64}).join(both, on="number", maintain_order="left_right")
    return named.select(pl.col(name).cast(dtype) for name, dtype in SIGHTING_SCHEMA.items()).collect()


def _told(reports: Reports, own_us: tuple[int, int], bucket_us: int) -> dict[str, NDArray[np.generic]]:
    """Every code of every report, in order of code and time: its run, and whether and when it is cleared."""
    order = np.lexsort((reports.message, reports.key))
    key, message = reports.key[order], reports.message[order]
    time = reports.time_us[message]
    follows = (key[1:] == key[:-1]) & (message[1:] == message[:-1] + 1)
    near = time[1:] - time[:-1] <= RUN_GAP_US
    same = time[1:] // bucket_us == time[:-1] // bucket_us
    begins = np.append(True, ~(follows & near & same))
    # The next message of the source, where it leaves the code out.
    following = np.minimum(message + 1, len(reports) - 1)
    cleared = reports.time_us[following]
    clears = ~np.append(follows, False) & (following > message) & (cleared - time <= CLEAR_GAP_US)
    clears &= (cleared >= own_us[0]) & (cleared < own_us[1])
    here = clears & (cleared // bucket_us == time // bucket_us)
    return {
        "run": np.cumsum(begins), "spn": key >> 5, "fmi": key & 31, "time": time, "cleared": cleared, "here": here,
        "apart": clears & ~here, "own": (time >= own_us[0]) & (time < own_us[1]),
        "occurrence_count": reports.occurrence[order],
        **dict(zip(LAMPS, reports.lamps[message].T, strict=True)),
    }  # fmt: skip


def _runs(codes: pl.LazyFrame) -> pl.LazyFrame:
    return codes.group_by("number", "run", maintain_order=True).agg(
        pl.col("spn", "fmi").first(),
        first_us=pl.col("time").min(),
        last_us=pl.col("time").max(),
        cleared_us=pl.col("cleared").filter("here").first(),
        occurrence_count=pl.col("occurrence_count").max(),
        **{name: pl.col(name).max() for name in LAMPS},
    )


def _clearings(codes: pl.LazyFrame) -> pl.LazyFrame:
    missing = [pl.lit(None, SIGHTING_SCHEMA[name]).alias(name) for name in ("first_us", "last_us")]
    return codes.select("number", "spn", "fmi", *missing, pl.col("cleared").alias("cleared_us"))


def episodes(sightings: pl.DataFrame) -> pl.DataFrame:
    """Sightings joined into episodes, by SIGHTING_SCHEMA, ordered by code and time.

    Runs of one code from one source that are at most RUN_GAP_US apart with no clearing between are one episode. In
    which buckets they were told, and in which order, does not matter.
    """
    code = list(_CODE)
    ordered = sightings.unique().sort(*code, pl.coalesce("first_us", "cleared_us"), "last_us", nulls_last=False)
    clearing = pl.col("first_us").is_null()
    after = pl.when(clearing.shift(-1)).then(pl.col("cleared_us").shift(-1))
    near = after - pl.col("last_us") <= CLEAR_GAP_US
    ended = pl.coalesce("cleared_us", pl.when(near).then(after))
    since = pl.col("first_us") - pl.col("last_us").shift(1)
    told = ordered.with_columns(cleared_us=ended.over(code))
    begins = (since.is_null() | (since > RUN_GAP_US) | pl.col("cleared_us").shift(1).is_not_null()).over(code)
    runs = told.with_columns(episode=begins).filter(~clearing).with_columns(pl.col("episode").cum_sum().over(code))
    joined = runs.group_by(*code, "episode", maintain_order=True).agg(
        pl.col("first_us").min(), pl.col("last_us").max(), pl.col("cleared_us").last(),
        pl.col("occurrence_count").max(), *(pl.col(name).max() for name in _FLAGS),
    )  # fmt: skip
    return joined.select(list(SIGHTING_SCHEMA)).cast(SIGHTING_SCHEMA)  # type: ignore[arg-type]
