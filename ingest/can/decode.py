"""Signals out of payloads: whole columns, bit for bit what the definition says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.can.frames import WORD_BYTES, Bytes, Payloads, Words
from ingest.can.specs import MessageSpec, Selector, SignalSpec

WORD_BITS = 64
EXACT_BITS = 53
"""Whole numbers of at most this many bits are exact as float64."""
_FLOATS = {16: (np.uint16, np.float16), 32: (np.uint32, np.float32), 64: (np.uint64, np.float64)}

Raw = NDArray[np.int64] | NDArray[np.uint64] | NDArray[np.float64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """A signal's raw values, before scale and offset. `present` is false where the frame lacks it; None: nowhere."""

    raw: Raw
    present: NDArray[np.bool_] | None = None


@dataclass(slots=True)
class _Source:
    """The bytes of one message's payloads, in the forms that signals are cut from."""

    payloads: Payloads
    swapped: Words | None = None
    shortest: int = 0

    def bits(self, signal: SignalSpec) -> Words:
        """The signal's bits as an unsigned number; other bits above it may be set when it is 64 bits wide."""
        top = _top_bit(signal) if signal.big_endian else signal.start_bit
        if self.payloads.word is None:
            assert self.payloads.data is not None  # noqa: S101  (Payloads holds one of both)
            return _gather(self.payloads.data, top, signal)
        if signal.big_endian:
            if self.swapped is None:
                self.swapped = self.payloads.word.byteswap()
            return _masked(self.swapped, WORD_BITS - top - signal.bits, signal.bits)
        return _masked(self.payloads.word, top, signal.bits)


def decode(payloads: Payloads, message: MessageSpec) -> dict[str, Column]:
    """The raw columns of a message's signals, by name."""
    source = _Source(payloads, shortest=int(payloads.length.min()) if len(payloads) else 0)
    room = WORD_BYTES if payloads.word is not None else (payloads.data.shape[1] if payloads.data is not None else 0)
    columns: dict[str, Column] = {}
    for signal in _selectors_first(message):
        end = last_byte(signal) + 1
        if end > room:
            columns[signal.name] = Column(np.zeros(len(payloads), np.int64), np.zeros(len(payloads), bool))
            continue
        present = None if source.shortest >= end else payloads.length >= end
        if signal.selector is not None:
            present = _both(present, _selected(columns[signal.selector.name], signal.selector))
        columns[signal.name] = Column(_typed(source.bits(signal), signal), present)
    return columns


def physical(column: Column, signal: SignalSpec, out: Values | None = None) -> Values:
    """Values in the signal's unit: raw x scale + offset; NaN where the signal is not present. `out` takes them."""
    if out is None:
        out = np.empty(len(column.raw), np.float64)
    _scale(column.raw, signal, out)
    if column.present is not None:
        out[~column.present] = np.nan
    return out


def last_byte(signal: SignalSpec) -> int:
    """The last byte that holds a bit of the signal."""
    first = _top_bit(signal) if signal.big_endian else signal.start_bit
    return (first + signal.bits - 1) // 8


def _top_bit(signal: SignalSpec) -> int:
    """Where a big-endian signal begins, bits counted from the highest of byte 0."""
    return signal.start_bit // 8 * 8 + 7 - signal.start_bit % 8


def _masked(words: Words, shift: int, bits: int) -> Words:
    shifted = words >> np.uint64(shift) if shift else words
    return shifted if bits == WORD_BITS else shifted & np.uint64((1 << bits) - 1)


def _gather(data: Bytes, first_bit: int, signal: SignalSpec) -> Words:
    """Bits that lie anywhere in rows of bytes, and may reach over nine of them."""
    first, shift = first_bit // 8, first_bit % 8
    needed = (shift + signal.bits + 7) // 8
    taken = np.zeros((len(data), WORD_BYTES + 1), np.uint8)
    taken[:, :needed] = data[:, first : first + needed]
    head, extra = np.ascontiguousarray(taken[:, :WORD_BYTES]), taken[:, WORD_BYTES].astype(np.uint64)
    beyond = shift + signal.bits - WORD_BITS
    if signal.big_endian:
        words = head.view(">u8").reshape(-1).astype(np.uint64)
        if beyond > 0:
            return ((words << np.uint64(beyond)) | (extra >> np.uint64(8 - beyond))) & _mask(signal.bits)
        return _masked(words, -beyond, signal.bits)
    words = head.view("<u8").reshape(-1).astype(np.uint64, copy=False)
    if beyond > 0:
        return ((words >> np.uint64(shift)) | (extra << np.uint64(WORD_BITS - shift))) & _mask(signal.bits)
    return _masked(words, shift, signal.bits)


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def _typed(bits: Words, signal: SignalSpec) -> Raw:
    if signal.floating:
        unsigned, floating = _FLOATS[signal.bits]
        with np.errstate(invalid="ignore"):  # signalling NaN
            return bits.astype(unsigned).view(floating).astype(np.float64)
    if not signal.signed:
        return bits.view(np.int64) if signal.bits < WORD_BITS else bits
    if signal.bits == WORD_BITS:
        return bits.view(np.int64)
    sign = np.int64(1 << (signal.bits - 1))
    return (bits.view(np.int64) ^ sign) - sign


def _scale(raw: Raw, signal: SignalSpec, out: Values) -> None:
    out[:] = raw
    if (signal.scale, signal.offset) == (1, 0):
        return
    if isinstance(signal.scale, int) and not signal.floating and _bits_needed(signal) > EXACT_BITS:
        out[:] = [float(value * signal.scale + signal.offset) for value in raw.tolist()]
        return
    with np.errstate(invalid="ignore", over="ignore"):  # floating-point numbers of any bits
        out *= signal.scale
        out += signal.offset  # adding 0 makes -0.0 0.0


def _bits_needed(signal: SignalSpec) -> int:
    return signal.bits + int(abs(signal.scale)).bit_length() + int(abs(signal.offset)).bit_length()


def _selectors_first(message: MessageSpec) -> list[SignalSpec]:
    """The signals, each after the multiplexers it hangs on."""
    by_name = {signal.name: signal for signal in message.signals}

    def depth(signal: SignalSpec) -> int:
        steps = 0
        while signal.selector is not None:
            signal, steps = by_name[signal.selector.name], steps + 1
        return steps

    return sorted(message.signals, key=depth)


def _selected(multiplexer: Column, selector: Selector) -> NDArray[np.bool_]:
    raw = multiplexer.raw
    chosen = np.zeros(len(raw), bool)
    for low, high in selector.ranges:
        chosen |= (raw == low) if low == high else (raw >= low) & (raw <= high)
    return chosen if multiplexer.present is None else chosen & multiplexer.present


def _both(one: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return other if one is None else one & other
