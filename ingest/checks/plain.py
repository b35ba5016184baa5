"""Whose rows are, where there is nothing to say about it: known vehicles, each at a time at which it may be.

Nearly all uploads are so. A small one costs mostly what is asked about it, so this asks without a frame.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.checks.scope import Scope, Span
from ingest.checks.times import micros


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose rows those of a body are, one after the other: so many `rows`; `vehicle` is that of rows that name none."""

    scope: Scope
    vehicle: str | None
    rows: int


def vehicles_of(
    named: pl.Series | None, time: pl.Series, senders: Sequence[Sender], latest: dt.datetime | pl.Series
) -> pl.Series | None:
    """The vehicle of each row (Int32); None where a row's is not known, or its time is none or out of its range.

    `named`: how the rows name their vehicles; null where none does. `latest`: the latest time, of all rows or of each.
    """
    coded = _coded(named, len(time))
    if coded is None or time.null_count():
        return None
    codes, names = coded
    sender = np.repeat(np.arange(len(senders)), [sender.rows for sender in senders])
    pairs, place = np.unique(sender * len(names) + codes, return_inverse=True)
    spans = [_span(senders[pair // len(names)], names[pair % len(names)]) for pair in pairs.tolist()]
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    ids, low, high = (np.array(part) for part in zip(*known, strict=True))
    us = micros(time)
    fits = (low[place] <= us) & (us < high[place]) & (us <= _micros_of(latest))
    return pl.Series("vehicle_id", ids[place].astype(np.int32)) if fits.all() else None


def _coded(named: pl.Series | None, rows: int) -> tuple[NDArray[np.int64], list[str | None]] | None:
    """For each row the place of its vehicle's name in a list of them; None where names are not text or numbers."""
    if not rows:
        return None
    if named is None or named.dtype == pl.Null:
        return np.zeros(rows, np.int64), [None]
    if named.dtype != pl.String and not named.dtype.is_integer():
        return None
    text = named.cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
    coded = pc.dictionary_encode(text, null_encoding="encode")
    return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()


def _span(sender: Sender, name: str | None) -> Span | None:
    address = sender.vehicle if name is None else name
    return sender.scope.whole.get(address) if address is not None else None


def _micros_of(latest: dt.datetime | pl.Series) -> NDArray[np.int64]:
    return micros(latest if isinstance(latest, pl.Series) else pl.Series([latest]))
