"""Local wall clocks to UTC, with the two hours of the year on which a wall clock lies.

In spring an hour does not exist: such times are refused. In autumn an hour occurs twice: which one a row means is told
by the order of the rows, as a clock that falls back within that hour has entered its second run.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas.wire import Reject

SKIPPED = "this local time does not exist: clocks went forward over it"
UNREADABLE = "is not a time of the declared format"


@dataclass(frozen=True, slots=True)
class Instants:
    """Times in UTC (µs), null where a row has none; `text` as it stood, `reason` why there is none."""

    instants: pl.Series
    text: pl.Series
    reason: pl.Series

    def rejects(self, rows: pl.Series) -> list[Reject]:
        """One reject for each row without a time."""
        lost = pl.DataFrame({"row": rows, "text": self.text, "reason": self.reason}).filter(self.instants.is_null())
        return [
            Reject(row=row, field=None, value=None if text is None else text[:64], reason=f"time: {reason}")
            for row, text, reason in lost.iter_rows()
        ]


def to_utc(raw: pl.DataFrame, columns: list[str], pattern: str, tz: str | None) -> Instants:
    """Read times from text columns joined by a space, by a strptime pattern; `tz` is for clocks without offset."""
    text = raw.select(
        pl.concat_str([pl.col(c).str.strip_chars() for c in columns], separator=" ").alias("text")
    ).to_series()
    read = text.str.to_datetime(pattern, time_unit="us", strict=False)
    unreadable = pl.select(pl.lit(UNREADABLE)).to_series().new_from_index(0, len(text))
    if isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone is not None:
        return Instants(read.dt.convert_time_zone("UTC"), text, unreadable)
    if tz is None:
        raise ValueError("a clock without offset needs a zone")
    instants = _resolve(read, tz)
    skipped = read.is_not_null() & instants.is_null()
    reason = pl.select(pl.when(skipped).then(pl.lit(SKIPPED)).otherwise(pl.lit(UNREADABLE))).to_series()
    return Instants(instants, text, reason)


def _resolve(wall: pl.Series, tz: str) -> pl.Series:
    """Instants of a wall clock in file order; null where the time does not exist."""
    clock = pl.col("wall").dt
    frame = pl.DataFrame({"wall": wall}).with_row_index("at").with_columns(
        first=clock.replace_time_zone(tz, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC"),
        second=clock.replace_time_zone(tz, ambiguous="latest", non_existent="null").dt.convert_time_zone("UTC"),
    )  # fmt: skip
    known = frame.filter(pl.col("first").is_not_null())
    twofold = pl.col("first") != pl.col("second")
    if not known.select(twofold.any()).item():
        return frame["first"]
    known = known.with_columns(twofold=twofold, run=twofold.rle_id()).with_columns(
        before=pl.col("second").shift(1), after=pl.col("first").shift(-1)
    )
    known = known.with_columns(late=_in_second_hour())
    chosen = known.select("at", utc=pl.when("twofold", "late").then("second").otherwise("first"))
    return frame.join(chosen, on="at", how="left", maintain_order="left")["utc"]


def _in_second_hour() -> pl.Expr:
    """Within a run of twofold times: from the first fall of the clock on.

    Without a fall the run lies in one of the two hours whole: the one that leaves the smaller gap to the rows around
    it, the first if that does not tell.
    """
    fell = (pl.col("wall") < pl.col("wall").shift(1)).fill_null(False)
    falls = fell.cast(pl.Int32).cum_sum().over("run") - fell.cast(pl.Int32).first().over("run")
    gap_before = pl.col("first").first().over("run") - pl.col("before").first().over("run")
    gap_after = pl.col("after").last().over("run") - pl.col("second").last().over("run")
    nearer_after = (gap_after < gap_before).fill_null(gap_before.is_null() & gap_after.is_not_null())
    return pl.when(falls.max().over("run") > 0).then(falls > 0).otherwise(nearer_after)
