"""Logs are read block by block: memory does not grow with the file."""

import io
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ingest.can.formats import FORMATS, read_log
from tests import campaign
from tests.can_logs import blf_file, mdf4_file
from tests.can_logs.fuzz_samples import samples

MIB = 2**20
TIMES_LARGER = campaign.size(1, 10)


class Repeated(io.RawIOBase):
    """A large file of which nothing is in memory but `head`, and `body`, which follows again and again."""

    def __init__(self, head, body, size):
        self.head, self.body = head, body
        self.size = len(head) + size // len(body) * len(body)
        self.place = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def readinto(self, buffer):
        source, at = self.head, self.place
        if at >= len(self.head):
            source, at = self.body, (at - len(self.head)) % len(self.body)
        piece = memoryview(source)[at : at + min(len(buffer), self.size - self.place)]
        buffer[: len(piece)] = piece
        self.place += len(piece)
        return len(piece)


def text(name):
    """A capture, and its lines over and over."""

    def build(size):
        capture = samples(name)[0]
        lines = b"".join(line for line in capture.splitlines(keepends=True) if not line.startswith(b"***"))
        return Repeated(capture, lines * (MIB // len(lines)), size)

    return build


def blf(size):
    packed = blf_file.container(b"".join(blf_file.classic(n, ticks=n * 1000) for n in range(2_700)))
    return Repeated(blf_file.heading(), packed * 16, size)


def blf_in_one_container(size):
    objects = b"".join(blf_file.classic(n, ticks=n * 1000) for n in range(20_000))
    return Repeated(blf_file.heading() + blf_file.container(b"", method=0, size=32 + size), objects, size)


def mdf4(size):
    """Records of one group in one block."""
    records = b"".join(mdf4_file.record(*frame) for frame in mdf4_file.some_frames(40_000))
    file = mdf4_file.File()
    group = file.group(mdf4_file.classic(file, bus=1), mdf4_file.CLASSIC_BYTES, cycles=2**40)
    data_group = file.data_group(group, 0)
    file.link(data_group, 2, file.block(b"DT", (), length=24 + size))
    return Repeated(file.finish(data_group), records, size)


def mdf4_in_transposed_blocks(size):
    records = b"".join(mdf4_file.record(*frame) for frame in mdf4_file.some_frames(100_000))
    part = mdf4_file.File()
    at = part.zipped(records, 1, mdf4_file.CLASSIC_BYTES)
    block = bytes(part.data[at:]) + bytes(-len(part.data[at:]) % 8)
    file, count = mdf4_file.File(), size // len(block)
    group = file.group(mdf4_file.classic(file, bus=1), mdf4_file.CLASSIC_BYTES, cycles=2**40)
    data_list = file.listed(*(0 for _ in range(count)))
    data_group = file.data_group(group, data_list)
    head = -(-len(file.data) // 8) * 8
    for n in range(count):
        file.link(data_list, 1 + n, head + n * len(block))
    return Repeated(file.finish(data_group).ljust(head, b"\0"), block, size)


def mdf4_unsorted(size):
    """Records of six groups in one block, data of one of them apart from its records."""
    whole, _ = mdf4_file.unsorted_file(mdf4_file.outside_frames(21_000), 1, unfinished=0x45, offsets=False)
    at = whole.rindex(b"##DT") + 24
    return Repeated(whole[:at], whole[at:], size)


@dataclass(frozen=True)
class Large:
    """A large log; `most` bytes of memory are enough for its reader. `frames`: at least so many in each byte."""

    format: str
    build: Callable[[int], Repeated]
    size: int
    most: int
    frames: float = 1 / 150


LARGE = {name: Large(name, text(name), 72 * MIB, 64 * MIB) for name in FORMATS if name not in ("blf", "mdf4")} | {
    "blf": Large("blf", blf, 24 * MIB, 16 * MIB, 1 / 10),
    "blf in one container": Large("blf", blf_in_one_container, 48 * MIB, 16 * MIB, 1 / 50),
    "mdf4": Large("mdf4", mdf4, 48 * MIB, 24 * MIB, 1 / 24),
    "mdf4 in transposed blocks": Large("mdf4", mdf4_in_transposed_blocks, 24 * MIB, 20 * MIB, 1 / 12),
    "mdf4 unsorted": Large("mdf4", mdf4_unsorted, 72 * MIB, 64 * MIB, 1 / 50),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", list(LARGE))
def test_memory_does_not_grow_with_the_file(name):
    large = LARGE[name]
    file = io.BufferedReader(large.build(large.size * TIMES_LARGER))
    frames, peak = read(file, large.format)
    assert frames > large.size * TIMES_LARGER * large.frames
    assert peak < large.most


def read(file, format_):
    """Frames, and bytes of memory that reading them took."""
    tracemalloc.start()
    try:
        frames = sum(len(block.frames) for block in read_log(file, format_).blocks)
        return frames, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_measured_is_memory(monkeypatch):
    """A reader that takes the file whole."""
    large = LARGE["candump"]
    monkeypatch.setattr("ingest.can.formats.candump.BLOCK_BYTES", large.size)
    _, peak = read(io.BufferedReader(large.build(large.size)), "candump")
    assert peak > large.most
