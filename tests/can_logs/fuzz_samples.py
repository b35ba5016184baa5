"""Sound logs that the fuzzing breaks: the golden captures, and forms that their writers do not write."""

from __future__ import annotations

import gzip
import io
import re
from functools import cache
from pathlib import Path

import zstandard

from ingest.can.formats import read_log
from tests.can_logs import blf_file, mdf4_file

GOLDEN = Path(__file__).parents[1] / "golden" / "can"
FILES = {
    "candump": ("candump.log", "candump_console.log", "candump_deltas.log"),
    "asc": ("hex_absolute.asc", "decimal_relative.asc"),
    "trc": ("v1_1.trc", "v1_3.trc", "v2_0.trc", "v2_1.trc"),
    "gvret": ("gvret.csv",),
    "crtd": ("crtd.txt",),
    "busmaster": ("busmaster_hex.log", "busmaster_decimal.log"),
    "blf": ("all.blf",),
    "mdf4": ("plain.mf4", "compressed.mf4"),
    "dbc": ("rich.dbc", "truck.dbc"),
}
WRAPPERS = ("gzip", "zstd")


@cache
def samples(name: str) -> tuple[bytes, ...]:
    """The sound logs of a format, or of a wrapper around logs."""
    golden = tuple((GOLDEN / file).read_bytes() for file in FILES.get(name, ()))
    build = {
        "candump": _candump, "gvret": _gvret, "busmaster": _busmaster, "trc": _trc, "blf": _blf, "mdf4": _mdf4,
        "gzip": _gzip, "zstd": _zstd,
    }.get(name)  # fmt: skip
    return golden + (build() if build else ())


def _text(file: str) -> str:
    return (GOLDEN / file).read_text()


def _candump() -> tuple[bytes, ...]:
    """Dates instead of seconds; data in binary or from the last byte on; directions and flags."""
    dated = re.sub(r"\(\d+(\d\d)\.(\d+)\)", r"(2026-01-06 08:00:\1.\2)", _text("candump.log")[:9000])
    dated = re.sub(r"08:00:[6-9]", "08:00:5", dated)
    console = _text("candump_console.log")[:9000]
    swapped = re.sub(r"((?: [0-9A-F]{2}){2,})$", lambda found: "  " + found[1].strip().replace(" ", "`"), console,
                     flags=re.MULTILINE)  # fmt: skip
    binary = re.sub(r" ([0-9A-F]{2})(?= |$)", lambda found: f" {int(found[1], 16):08b}", console, flags=re.MULTILINE)
    flagged = re.sub(r"(can\d) ", r"\1  RX - -  ", console)
    behind = re.sub(r"$", " R", _text("candump.log")[:9000], flags=re.MULTILINE)
    return tuple(text.encode() for text in (dated, swapped + binary, flagged + behind))


def _gvret() -> tuple[bytes, ...]:
    """Times in seconds, bytes of one digit, no direction."""
    lines = _text("gvret.csv").splitlines()
    head = lines[0].replace("Dir,", "")
    rest = [re.sub(r"^(\d+),", lambda found: f"{int(found[1]) / 1e6:.6f},", line) for line in lines[1:]]
    return ("\n".join([head, *(re.sub(r",Rx|(?<=,)0(?=[0-9A-F])", "", line) for line in rest)]).encode(),)


def _busmaster() -> tuple[bytes, ...]:
    """Two sessions, absolute and relative."""
    text = _text("busmaster_hex.log")[:8000]
    return ("".join(text.replace("SYSTEM MODE", f"{mode} MODE") for mode in ("ABSOLUTE", "RELATIVE")).encode(),)


def _trc() -> tuple[bytes, ...]:
    """Version 1.0, which has no column of types."""
    text = _text("v1_1.trc").replace("VERSION=1.1", "VERSION=1.0")
    return (re.sub(r"  Rx {3,4}", "  ", text).encode(),)


def _blf() -> tuple[bytes, ...]:
    """Containers that are not compressed, small ones, none; all kinds of frames and headers."""
    frames = b"".join(
        build(n, bytes(range(n % 8)), ticks=n * 1_000_000, version=1 + n % 3)
        for n in range(30)
        for build in (blf_file.classic, blf_file.fd, blf_file.fd64)
    )
    frames += b"".join(blf_file.fd64(n, extra=b"\xee" * n) + blf_file.obj(73, bytes(40)) for n in range(20))
    small = b"".join(blf_file.container(frames[n : n + 700]) for n in range(0, len(frames), 700))
    return (
        blf_file.heading() + blf_file.container(frames, method=0),
        blf_file.heading() + small,
        blf_file.heading() + frames[:4000] + blf_file.container(frames[4000:]),
    )


def _mdf4() -> tuple[bytes, ...]:
    """Mixed records with data apart, unfinished files, signal data blocks, lists of all kinds of blocks."""
    frames = mdf4_file.outside_frames(250)
    mixed = [
        mdf4_file.unsorted_file(frames, id_bytes, late=late, unfinished=unfinished, offsets=offsets)[0]
        for id_bytes, late, unfinished, offsets in (
            (1, False, None, True),
            (2, True, 0x25, True),
            (8, True, 0x45, False),
        )
    ]
    return (*mixed, mdf4_file.outside_file(frames), mdf4_file.listed_file(mdf4_file.some_frames(300)))


def _gzip() -> tuple[bytes, ...]:
    """One member, and several with names and comments."""
    plain = _plain()
    named = io.BytesIO()
    with gzip.GzipFile("candump.log", "wb", 9, named) as file:
        file.write(plain[:7000])
    return gzip.compress(plain), named.getvalue() + gzip.compress(plain[7000:], 0) + gzip.compress(b"")


def _zstd() -> tuple[bytes, ...]:
    """One frame, and several with and without checksums and sizes, some of them skippable."""
    plain = _plain()
    bare = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True)
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
    stream = bare.compressobj()
    parts = stream.compress(plain[:7000]) + stream.flush()
    return zstandard.compress(plain), parts + skippable + zstandard.compress(plain[7000:], 19)


def _plain() -> bytes:
    return (GOLDEN / FILES["candump"][0]).read_bytes()


def frames_in(name: str, data: bytes) -> int:
    """How many frames a sound log has."""
    return sum(len(block.frames) for block in read_log(io.BytesIO(data), name).blocks)
