"""Broken CAN logs: `python -m tests.can_logs.fuzz --each 20000 [--seed 1] [--format blf]`.

A format, a seed and a number make the same bytes every time: a sound log with a few mutations. A case passes when it is
read and decoded to its end, or refused as a whole, within LIMIT_S and MEMORY_BYTES. gzip, zstd and dbc
count as formats: of them, the wrapper is broken, and the definitions that a sound log is decoded by.
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from unittest.mock import patch

from ingest.can.columns import columns
from ingest.can.dbc import DbcError, read_dbc
from ingest.can.definitions import Bound, Definitions
from ingest.can.formats import FORMATS, blf, mdf4, mdf4_unsorted, read_log, recognise
from ingest.can.setup import Setup
from ingest.can.whole import Counts, Reading, clock_us, frames_of, tell_all
from ingest.landing import unpacked
from schemas.errors import BodyTooLargeError, MalformedBodyError, UnknownFormatError
from tests import campaign
from tests.can_logs import bus
from tests.can_logs.fuzz_samples import WRAPPERS, samples

DBC = "dbc"
NAMES = (*FORMATS, *WRAPPERS, DBC)
BINARY = ("blf", "mdf4", *WRAPPERS)
LIMIT_S = campaign.size(20, 5)
"""Of the processor: a case that waits for others on a busy machine is not slow. The short form runs beside other tests,
on machines that may be half as fast; there it looks for what hangs."""
MEMORY_BYTES = 2 * 2**30
DECODED_EVERY = 10
"""One case in so many is decoded too: decoding costs more than reading."""
IN_SMALL_BLOCKS_EVERY = 3
"""One case in so many is read in blocks that are much smaller than the log, as large logs are."""
SMALL_BYTES = 1_500
MOST_UNPACKED_BYTES = 64 * 2**20
TEMPORARY = Path(tempfile.gettempdir())
CHUNK = 250
READING = Reading(zone="UTC", start=dt.datetime(2026, 1, 6, 8, tzinfo=dt.UTC))
HUGE = (b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"99999999999999999999", b"-1", b"1e308", b"nan")
ODD = (b"\0", b"\n", b"\r\n", b"\r", b"\xff\xfe", b"(", b"#", b"::", b"\x1a", b"\xc2\xa0", b";$FILEVERSION=9.9\n")


def case(format_: str, number: int, seed: int = 0) -> bytes:
    """A case of a format, or of a wrapper."""
    dice = random.Random(f"{format_} {seed} {number}")
    sound = samples(format_)
    data = bytearray(sound[number % len(sound)])
    mutations = IN_PLACE if format_ in BINARY and dice.random() < 0.7 else MUTATIONS
    for _ in range(dice.choice((1, 1, 2, 3, 5, 12))):
        dice.choice(mutations)(dice, data)
    return bytes(data)


def _place(dice, data):
    """Anywhere; in some cases near the beginning, where headers are."""
    return dice.randrange(max(1, min(len(data), 600) if dice.random() < 0.25 else len(data)))


def _flip(dice, data):
    for _ in range(dice.randrange(1, 9)):
        if data:
            data[_place(dice, data)] ^= 1 << dice.randrange(8)


def _cut(dice, data):
    del data[_place(dice, data) :]


def _behead(dice, data):
    del data[: _place(dice, data)]


def _remove(dice, data):
    at = _place(dice, data)
    del data[at : at + dice.randrange(1, 500)]


def _repeat(dice, data):
    at, size = _place(dice, data), dice.randrange(1, 2_000)
    data[at:at] = data[at : at + size] * dice.choice((1, 1, 3))


def _insert(dice, data):
    at = _place(dice, data)
    data[at:at] = dice.randbytes(dice.randrange(1, 64))


def _huge(dice, data):
    at, what = _place(dice, data), dice.choice(HUGE)
    data[at : at + (len(what) if dice.random() < 0.7 else 0)] = what


def _same_size(dice, data):
    at, what = _place(dice, data), dice.choice(HUGE)
    data[at : at + len(what)] = what


def _odd(dice, data):
    at = _place(dice, data)
    data[at:at] = dice.choice(ODD) * dice.choice((1, 1, 1, 2, 2, 70, 40_000))


def _number(dice, data):
    """A little-endian number made a little or a lot different."""
    at, size = _place(dice, data) // 4 * 4, dice.choice((2, 4, 8))
    value = int.from_bytes(data[at : at + size], "little")
    other = dice.choice((value + 1, value - 1, value * 2, value // 2, value << 32, ~value))
    data[at : at + size] = (other % (1 << 8 * size)).to_bytes(size, "little")


def _lines(dice, data):
    """Two lines change places."""
    lines = data.split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    data[:] = b"\n".join(lines)


def _other_file(dice, data):
    """Goes on as a file of another format."""
    other = dice.choice(list(chain.from_iterable(map(samples, FORMATS))))
    data[_place(dice, data) :] = other[dice.randrange(len(other)) :]


MUTATIONS = (_flip, _flip, _cut, _behead, _remove, _repeat, _insert, _huge, _huge, _odd, _number, _number, _lines,
             _other_file)  # fmt: skip

IN_PLACE = (_flip, _number, _number, _same_size, _cut)
"""For formats whose parts know their places: most would be refused at once if everything moved."""

# --- one case -------------------------------------------------------------------------------------


@cache
def _setup() -> Setup:
    return Setup(bound=(Bound(None, read_dbc(bus.DBC.encode(), "rich").messages),))


def check(format_: str, data: bytes, *, decoded: bool = False, in_small_blocks: bool = False) -> str:
    """Read, and decode, to the end; "read" or "refused". Raises what must not happen."""
    if format_ in WRAPPERS:
        return _unwrapped(data)
    if format_ == DBC:
        return _defined(data, decoded)
    with suppress(UnknownFormatError):
        recognise(data)
    try:
        with _small_blocks() if in_small_blocks else nullcontext():
            frames = _read(format_, data)
        if decoded:
            _decode(format_, data, _setup())
    except MalformedBodyError:
        return "refused"
    # The shortest frame takes a bit more than a byte in compressed files, several in others.
    most = 1_032 * len(data) if format_ in BINARY else len(data)
    assert frames <= most, f"{frames} frames out of {len(data)} bytes"
    return "read"


def _unwrapped(data):
    try:
        with unpacked(io.BytesIO(data), TEMPORARY, MOST_UNPACKED_BYTES) as plain:
            assert plain.seek(0, os.SEEK_END) <= MOST_UNPACKED_BYTES
            plain.seek(0)
            return check("candump", plain.read(2**20))
    except (BodyTooLargeError, MalformedBodyError):
        return "refused"


def _defined(data, decoded):
    logging.getLogger("cantools").setLevel(logging.CRITICAL)  # it tells every message that is there twice
    try:
        messages = read_dbc(data, "broken.dbc").messages
    except DbcError:
        return "refused"
    log, bound = samples("candump")[0], (Bound(None, messages),)
    columns(read_log(io.BytesIO(log), "candump"), Definitions(bound))
    if decoded:
        _decode("candump", log, Setup(bound=bound))
    return "read"


class _Dripping(io.BytesIO):
    """Gives little at once."""

    def read(self, size=-1):
        return super().read(min(size, SMALL_BYTES) if size > 0 else size)


@contextmanager
def _small_blocks():
    with ExitStack() as stack:
        stack.enter_context(patch.object(blf, "BLOCK_BYTES", SMALL_BYTES))
        stack.enter_context(patch.object(mdf4, "chunk_bytes", lambda _streams: SMALL_BYTES))
        stack.enter_context(patch.object(mdf4_unsorted, "BLOCK", SMALL_BYTES))
        stack.enter_context(patch(f"{__name__}._opened", _Dripping))
        yield


def _opened(data):
    return io.BytesIO(data)


def _read(format_, data):
    # Readers of binary files ask for what they need, and get it.
    open_ = io.BytesIO if format_ in BINARY else _opened
    return sum(_sound(block.frames) for block in read_log(open_(data), format_).blocks)


def _sound(frames):
    """The number of frames whose columns agree with each other."""
    n = len(frames)
    assert {len(c) for c in (frames.time_us, frames.can_id, frames.channel, frames.length, frames.word)} == {n}
    if n:
        assert frames.length.max() <= 64
        assert frames.channel.max() < len(frames.channels)
        assert (frames.length[frames.long_at] > 8).all()
        assert (frames.length > 8).sum() == len(frames.long_at) == len(frames.long_data)
    return n


class _Nowhere:
    """Takes what windows tell, and forgets it."""

    def add(self, *_told):
        """It is told."""

    def clear(self):
        """There is nothing to forget."""


def _decode(format_, data, setup):
    log = read_log(io.BytesIO(data), format_)
    offset_us, _ = clock_us(log, READING)

    def streams():
        return [frames_of(read_log(io.BytesIO(data), format_), offset_us, READING)]

    tell_all(streams, setup, Counts(), _Nowhere(), TEMPORARY)


# --- many cases -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    format: str
    seed: int
    number: int
    what: str


def run(
    format_: str, numbers: range, seed: int = 0, *, alarm: bool = False
) -> tuple[Counter[str], list[Failure]]:  # fmt: skip
    """How many cases were read and refused, and those that failed. `alarm` interrupts hangs by a signal."""
    counts: Counter[str] = Counter()
    failures = []
    for number in numbers:
        data = case(format_, number, seed)
        began = time.process_time()
        try:
            if alarm:
                signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            decoded, in_small_blocks = number % DECODED_EVERY == 0, number % IN_SMALL_BLOCKS_EVERY == 0
            counts[check(format_, data, decoded=decoded, in_small_blocks=in_small_blocks)] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            failures.append(Failure(format_, seed, number, f"{type(error).__name__} at {place}: {error}"[:300]))
        finally:
            if alarm:
                signal.setitimer(signal.ITIMER_PROF, 0)
        took_s = time.process_time() - began
        if took_s > LIMIT_S:
            failures.append(Failure(format_, seed, number, f"took {took_s:.1f} s"))
    return counts, failures


def _in_a_process(task):
    format_, seed, first, last = task
    return run(format_, range(first, last), seed, alarm=True)


@contextmanager
def limited_memory():
    """No more than MEMORY_BYTES on top of what the process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _start_process():
    limited_memory().__enter__()
    signal.signal(signal.SIGPROF, _hung)


def _hung(_signal, _frame):
    raise TimeoutError(f"not done after {LIMIT_S} s")


def run_all(
    each: int, formats: tuple[str, ...], seed: int, processes: int
) -> Iterator[tuple[str, Counter[str], list[Failure]]]:  # fmt: skip
    """Formats one after the other, each in several processes."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    with ProcessPoolExecutor(processes, initializer=_start_process) as pool:
        for format_ in formats:
            tasks = [(format_, seed, first, min(first + CHUNK, each)) for first in range(0, each, CHUNK)]
            counts: Counter[str] = Counter()
            failures: list[Failure] = []
            for some, failed in pool.map(_in_a_process, tasks):
                counts += some
                failures += failed
            yield format_, counts, failures


def tell(name: str, counts: Counter[str], failures: list[Failure]) -> str:
    """An account of many cases: each way to fail once, with the first case that fails so."""
    said = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    lines = [f"{name}: {said}, {len(failures)} failed"]
    ways = Counter(failure.what for failure in failures)
    first = {failure.what: failure.number for failure in reversed(failures)}
    lines += [f"  {count} times, first case {first[what]}: {what}" for what, count in ways.most_common(20)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.can_logs.fuzz")
    parser.add_argument("--each", type=int, default=20_000, help="cases of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=NAMES, action="append")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    failed = 0
    for name, counts, failures in run_all(given.each, tuple(given.format or NAMES), given.seed, given.processes):
        sys.stdout.write(tell(name, counts, failures) + "\n")
        sys.stdout.flush()
        failed += len(failures)
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
