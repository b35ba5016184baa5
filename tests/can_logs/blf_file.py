"""A tiny writer of BLF: objects and containers by hand, to build what real files have and worse."""

import struct
import zlib

T0 = 1_767_607_200.123  # 2026-01-05 10:00:00.123 UTC
START = (2026, 1, 1, 5, 10, 0, 0, 123)
NO_START = (0,) * 8
CLASSIC, CLASSIC2, FD, FD64 = 1, 86, 100, 101


def heading(start=START, size=144):
    head = struct.pack("<4sL8BQQLL8H8H", b"LOGG", size, 5, 0, 0, 0, 2, 6, 8, 1, 0, 0, 0, 0, *start, *NO_START)
    return head.ljust(size, b"\0")


def obj(kind, body, ticks=0, *, unit=2, version=1, header=None, size=None, pad=None):
    """An object; `pad` bytes after it, by default as most of Vector's types have it."""
    extra = {1: b"", 2: bytes(8), 3: b""}.get(version, b"")
    header = 32 + len(extra) if header is None else header
    size = 32 + len(extra) + len(body) if size is None else size
    head = struct.pack("<4sHHLLLHHQ", b"LOBJ", header, version, size, kind, unit, 0, 0, ticks) + extra
    return head + body + bytes(size % 4 if pad is None else pad)


def classic(id_=0x123, data=b"\1\2\3\4\5\6\7\x08", channel=1, flags=0, kind=CLASSIC, dlc=None, **options):
    body = struct.pack("<HBBL8s", channel, flags, len(data) if dlc is None else dlc, id_, data)
    return obj(kind, body + (bytes(8) if kind == CLASSIC2 else b""), **options)


def fd(id_=0x123, data=bytes(range(64)), channel=1, flags=0, **options):
    body = struct.pack("<HBBLLBBB5x64sL", channel, flags, 15, id_, 0, 0, 3, len(data), data, 0)
    return obj(FD, body, **options)


def fd64(id_=0x123, data=bytes(range(64)), channel=1, flags=0x1000, valid=None, extra=b"", **options):
    more_at = 32 + 40 + len(data) if extra else 0
    valid = len(data) if valid is None else valid
    body = struct.pack("<BBBBLLL16xHBBL", channel, 15, valid, 0, id_, 0, flags, 0, 0, more_at, 0)
    return obj(FD64, body + data + extra, pad=0, **options)


def container(data, method=2, holds=None, size=None):
    packed = zlib.compress(data) if method == 2 else data
    size = 32 + len(packed) if size is None else size
    holds = len(data) if holds is None else holds
    return struct.pack("<4sHHLLH6xL4x", b"LOBJ", 16, 1, size, 10, method, holds) + packed + bytes(size % 4)


def log_of(*objects, **options):
    return heading(**options) + container(b"".join(objects))
