"""Data bytes that stand outside of the records: signal data blocks, or records of their own among the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ingest.can.formats.mdf4_data import Piece
from ingest.can.formats.mdf4_fields import PAD, U8, Column, padded
from ingest.can.formats.mdf4_records import Mask, Offsets
from ingest.can.frames import MAX_BYTES, Bytes

MOST_WINDOW_BYTES = 8 * 2**20
LENGTH_BYTES = 4


def windows(data: U8, width: int) -> U8:
    """`width` bytes from each position on."""
    return np.ndarray((len(data) - width + 1, width), np.uint8, data, 0, (1, 1))


def lengths_at(data: U8, at: Offsets) -> Offsets:
    """Unsigned 32-bit numbers at any positions."""
    return np.ndarray((len(data) - LENGTH_BYTES + 1,), "<u4", data, 0, (1,))[at].astype(np.int64)


@dataclass(slots=True)
class SignalData:
    """Values in signal data blocks by their offset. Read on as offsets grow; what was passed is let go."""

    pieces: Iterator[Piece]
    base: int = 0
    data: U8 = field(default_factory=padded)
    ended: bool = False

    def keys(self, raw: Column, first: int) -> Offsets:
        """The offsets."""
        return raw.astype(np.int64)

    def fetch(self, keys: Offsets) -> tuple[Bytes, Offsets, Mask]:
        """Rows of 64 bytes, lengths, and whether there is data under a key."""
        asked = keys[keys >= self.base]
        if len(asked):
            self._load(int(asked.min()), int(asked.max()) + LENGTH_BYTES + MAX_BYTES)
        at = keys - self.base
        end = len(self.data) - PAD
        fits = (at >= 0) & (at + LENGTH_BYTES <= end)
        at = np.where(fits, at, 0)
        length = lengths_at(self.data, at) if end else np.zeros(len(keys), np.int64)
        fits &= (length <= MAX_BYTES) & (at + LENGTH_BYTES + length <= end)
        at, length = np.where(fits, at + LENGTH_BYTES, 0), np.where(fits, length, 0)
        rows = windows(self.data, MAX_BYTES)[at] if end else np.zeros((len(keys), MAX_BYTES), np.uint8)
        return rows, length, fits

    def _load(self, low: int, high: int) -> None:
        """The bytes of the stream from `low` until before `high`, or as far as there are and the window allows."""
        kept = [self.data[:-PAD][low - self.base :]]
        end = self.base + len(self.data) - PAD
        self.base = low
        while end < min(high, low + MOST_WINDOW_BYTES) and not self.ended:
            piece = next(self.pieces, None)
            if piece is None or piece.gap:
                self.ended = True  # offsets beyond a gap would lead to the wrong bytes
                break
            kept.append(piece.data[max(0, low - end) :])
            end += len(piece.data)
        self.base = min(low, end)
        self.data = padded(*kept)


@dataclass(slots=True)
class Apart:
    """Values that came as records of another group, by offset (or by number, where offsets were never written).

    Those of the last two chunks are kept.
    """

    by_number: bool
    next_key: int = 0
    key: Offsets = field(default_factory=lambda: np.empty(0, np.int64))
    length: Offsets = field(default_factory=lambda: np.empty(0, np.int64))
    rows: Bytes = field(default_factory=lambda: np.empty((0, MAX_BYTES), np.uint8))
    fresh: int = 0

    def keys(self, raw: Column, first: int) -> Offsets:
        """The offsets, or the numbers of the records."""
        return np.arange(first, first + len(raw)) if self.by_number else raw.astype(np.int64)

    def add(self, data: U8, at: Offsets) -> None:
        """The values of a chunk; each begins at one of these positions, with its length."""
        length = lengths_at(data, at)
        step = np.ones(len(at), np.int64) if self.by_number else length + LENGTH_BYTES
        end = self.next_key + np.cumsum(step)
        old = len(self.key) - self.fresh
        self.key = np.concatenate([self.key[old:], end - step])
        self.length = np.concatenate([self.length[old:], length])
        self.rows = np.concatenate([self.rows[old:], windows(data, MAX_BYTES)[at + LENGTH_BYTES]])
        self.fresh = len(at)
        self.next_key = int(end[-1]) if len(end) else self.next_key

    def fetch(self, keys: Offsets) -> tuple[Bytes, Offsets, Mask]:
        """Rows of 64 bytes, lengths, and whether there is data under a key."""
        if not len(self.key):
            return np.zeros((len(keys), MAX_BYTES), np.uint8), np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
        place = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        fits = (self.key[place] == keys) & (self.length[place] <= MAX_BYTES)
        return self.rows[place], np.where(fits, self.length[place], 0), fits
