"""A tiny writer of MDF4 bus logs: blocks by hand, to build what real files have and worse."""

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

LINEAR = 1
TABLE = 5
VIRTUAL = 6
MASTER = 2
VLSD, MLSD = 1, 5


@dataclass
class File:
    """Blocks one after the other; links may be patched later."""

    data: bytearray = field(default_factory=lambda: bytearray(64))

    def block(self, kind, links=(), data=b"", length=None):
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        size = 24 + 8 * len(links) + len(data)
        self.data += b"##" + kind + bytes(4) + struct.pack("<QQ", size if length is None else length, len(links))
        self.data += struct.pack(f"<{len(links)}Q", *links) + data
        return at

    def link(self, at, n, to):
        struct.pack_into("<Q", self.data, at + 24 + 8 * n, to)

    def text(self, text):
        return self.block(b"TX", (), text.encode() + b"\0")

    def conversion(self, kind, *values):
        return self.block(
            b"CC",
            (0,) * 4,
            struct.pack("<BBHHHdd", kind, 0, 0, 0, len(values), 0, 0) + struct.pack(f"<{len(values)}d", *values),
        )

    def channel(self, name, following=0, *, byte=0, bit=0, bits=0, data_type=0, kind=0, sync=0, cc=0, data=0, parts=0):
        head = struct.pack("<BBBBIII", kind, sync, data_type, bit, byte, bits, 0)
        return self.block(b"CN", (following, parts, self.text(name), 0, cc, data, 0, 0), head + bytes(56))

    def channels(self, *channels):
        """A chain of channels (keyword arguments each); gives the first one's address."""
        at = 0
        for channel in reversed(channels):
            at = self.channel(following=at, **channel)
        return at

    def group(self, channels, size, *, following=0, record_id=0, cycles=0, flags=6, name="", source=0, invalidation=0):
        acquisition = self.text(name) if name else 0
        data = struct.pack("<QQHHIII", record_id, cycles, flags, 46, 0, size, invalidation)
        return self.block(b"CG", (following, channels, acquisition, source, 0, 0), data)

    def source(self, name):
        return self.block(b"SI", (self.text(name), self.text(name), 0), struct.pack("<BBB5x", 2, 2, 0))

    def data_group(self, group, data, *, following=0, id_bytes=0):
        return self.block(b"DG", (following, group, data, 0), bytes([id_bytes]) + bytes(7))

    def zipped(self, data, kind=0, columns=0, **lies):
        rows = len(data) // columns if columns else 0
        turned = data
        if kind == 1:
            whole = data[: rows * columns]
            turned = b"".join(whole[n::columns] for n in range(columns)) + data[rows * columns :]
        packed = zlib.compress(turned)
        size = lies.get("size", len(data))
        return self.block(b"DZ", (), b"DT" + struct.pack("<BBIQQ", kind, 0, columns, size, len(packed)) + packed)

    def listed(self, *addresses, following=0, length=0):
        return self.block(b"DL", (following, *addresses), struct.pack("<B3xIQ", 1, len(addresses), length))

    def finish(self, data_group, *, start_ns=1_700_000_000_000_000_000, local=False, unfinished=None, version="4.10"):
        """The whole file; `data_group` becomes the header's first one."""
        mark = b"MDF     " if unfinished is None else b"UnFinMF "
        self.data[:64] = struct.pack(
            "<8s8s8s4xH30xHH", mark, version.ljust(8).encode(), b"tests   ", 410, unfinished or 0, 0
        )
        header = self.header
        self.link(header, 0, data_group)
        struct.pack_into("<QhhB", self.data, header + 24 + 48, start_ns, 0, 0, local)
        return bytes(self.data)

    def __post_init__(self):
        self.header = self.block(b"HD", (0,) * 6, bytes(31 + 1))


def seconds(byte=0):
    """A master channel in seconds."""
    return {"name": "t", "byte": byte, "bits": 64, "data_type": 4, "kind": MASTER, "sync": 1}


def classic(file, *, bus=None, ide=None, time=None, prefix="CAN_DataFrame", data=None):
    """Channels of a record of 22 bytes: t 8, ID 4, DLC 1, DataLength 1, DataBytes 8."""
    parts = [
        {"name": f"{prefix}.ID", "byte": 8, "bits": 29},
        {"name": f"{prefix}.IDE", "byte": 11, "bit": 7, "bits": 1} if ide is None else ide,
        {"name": f"{prefix}.DLC", "byte": 12, "bits": 4},
        {"name": f"{prefix}.DataLength", "byte": 13, "bits": 8},
        data or {"name": f"{prefix}.DataBytes", "byte": 14, "bits": 64, "data_type": 10},
    ]
    if bus is not None:
        parts.append({"name": f"{prefix}.BusChannel", "kind": VIRTUAL, "cc": file.conversion(LINEAR, bus, 0)})
    composed = {"name": prefix, "byte": 8, "bits": 112, "data_type": 10, "parts": file.channels(*parts)}
    return file.channels(time or seconds(), composed)


CLASSIC_BYTES = 22


def record(time, can_id, data, extended=True):
    """A record of `classic`."""
    return struct.pack("<dIBB8s", time, can_id | extended << 31, len(data), len(data), data)


def one_bus(frames, *, bus=1, **header):
    """A plain sorted file of (seconds, id, data)."""
    file = File()
    data = file.block(b"DT", (), b"".join(record(*frame) for frame in frames))
    group = file.group(classic(file, bus=bus), CLASSIC_BYTES, cycles=len(frames))
    return file.finish(file.data_group(group, data), **header)


def some_frames(count, seed=0, step=0.01):
    random = np.random.default_rng(seed)
    return [
        (n * step, int(random.integers(0, 1 << 29)), random.bytes(int(random.integers(0, 9)))) for n in range(count)
    ]


def vlsd_channel(at):
    return {"name": "CAN_DataFrame.DataBytes", "byte": 14, "bits": 64, "data_type": 10, "kind": VLSD, "data": at}


def outside_frames(count, seed=3):
    random = np.random.default_rng(seed)
    sizes = random.choice([0, 1, 8, 12, 64], count)
    return [(n * 0.001, int(random.integers(0, 1 << 29)), random.bytes(int(size))) for n, size in enumerate(sizes)]


def outside_record(frame, offset):
    at, can_id, data = frame
    return struct.pack("<dIBBQ", at, can_id | 1 << 31, 15, len(data), offset)


def unsorted_file(frames, id_bytes, *, late=False, unfinished=None, offsets=True, stray=0):
    """Bus 1 with data apart, bus 2 classic, remote and error frames, and a group of something else; all mixed."""
    file, ids = File(), {name: n for n, name in enumerate(("apart", "plain", "values", "remote", "error", "other"), 7)}
    values_group = file.group(0, 0, record_id=ids["values"], flags=1)
    chain = values_group
    chain = file.group(
        classic(file, bus=1, data=vlsd_channel(values_group)), CLASSIC_BYTES, record_id=ids["apart"], following=chain
    )
    chain = file.group(classic(file, bus=2), CLASSIC_BYTES, record_id=ids["plain"], following=chain)
    for name, prefix in (("remote", "CAN_RemoteFrame"), ("error", "CAN_ErrorFrame")):
        channels = file.channels(seconds(), {"name": prefix, "byte": 8, "bits": 8})
        chain = file.group(channels, 9, record_id=ids[name], following=chain)
    chain = file.group(
        file.channels(seconds(), {"name": "speed", "byte": 8, "bits": 16}), 10, record_id=ids["other"], following=chain
    )
    mark = {name: n.to_bytes(id_bytes, "little") for name, n in ids.items()}
    stream, offset, want = bytearray(), 0, []
    for n, frame in enumerate(frames):
        if n % 3 == 0:
            value = mark["values"] + struct.pack("<I", len(frame[2])) + frame[2]
            fixed = mark["apart"] + outside_record(frame, offset if offsets else 0)
            stream += fixed + value if late else value + fixed
            offset += 4 + len(frame[2])
            want.append((round(frame[0] * 1e6), "1", frame[1] | 1 << 31, frame[2]))
        else:
            stream += mark["plain"] + record(frame[0], frame[1], frame[2][:8])
            want.append((round(frame[0] * 1e6), "2", frame[1] | 1 << 31, frame[2][:8]))
        if n % 10 == 0:
            stream += mark["remote"] + bytes(9) + mark["error"] + bytes(9) + mark["error"] + bytes(9)
        if n % 7 == 0:
            stream += mark["other"] + bytes(10)
    data_group = file.data_group(chain, 0, id_bytes=id_bytes)
    file.link(data_group, 2, file.block(b"DT", (), bytes(stream), length=24 if unfinished else None))
    return file.finish(data_group, unfinished=unfinished), want


def outside_file(frames):
    """One bus, its data in a list of compressed signal data blocks."""
    file, values, records = File(), bytearray(), []
    for frame in frames:
        records.append(outside_record(frame, len(values)))
        values += struct.pack("<I", len(frame[2])) + frame[2]
    signal = file.listed(*(file.zipped(bytes(values[n : n + 503])) for n in range(0, len(values), 503)))
    data = file.block(b"DT", (), b"".join(records))
    group = file.group(classic(file, bus=1, data=vlsd_channel(signal)), CLASSIC_BYTES, cycles=len(frames))
    return file.finish(file.data_group(group, data))


def listed_file(frames):
    """Two buses; the records of each in a list of plain, compressed and transposed blocks, in an unfinished file."""
    file, chain = File(), 0
    body = b"".join(record(*frame) for frame in frames)
    store = (file.zipped, lambda part: file.zipped(part, 1, CLASSIC_BYTES), lambda part: file.block(b"DT", (), part))
    for bus in (1, 2):
        parts = [body[n : n + 701] for n in range(0, len(body), 701)]
        blocks = [store[(n + bus) % 3](part) for n, part in enumerate(parts)]
        first = file.listed(*blocks[:4], following=file.listed(*blocks[4:]))
        header = file.block(b"HL", (first,), struct.pack("<HB5x", 0, 0))
        group = file.group(classic(file, bus=bus), CLASSIC_BYTES, cycles=0)
        chain = file.data_group(group, header, following=chain)
    return file.finish(chain, unfinished=5)
