"""How fast CAN logs become columns, beside others. Every measurement runs in a fresh process.

The log: 2,000,000 candump frames of 20 messages with 99 signals, as a truck's bus with a DBC file would give them.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.benchmarks.result import Result

FRAMES = 2_000_000
FEWER = 200_000  # for peers that take a minute for all
ROUNDS = 3
MESSAGES, SIGNALS = 20, 99
T0_US = 1_767_686_400_000_000
BLOCK = 50_000


def run() -> list[Result]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        log, few, dbc, blf = (Path(folder) / name for name in ("bus.log", "few.log", "bus.dbc", "few.blf"))
        dbc.write_text(dbc_text())
        write_candump(log, FRAMES)
        write_candump(few, FEWER)
        _write_blf(few, blf)
        ours = _median("columns", log, dbc)
        both, alone = _median("pythoncan_cantools", few, dbc), _median("cantools", few, dbc)
        pairs = [
            ("can.candump_vs_pythoncan_cantools", ours, "python-can and cantools", both),
            ("can.candump_vs_cantools", ours, "cantools, frames parsed before", alone),
            ("can.blf_vs_pythoncan", _median("blf", blf, dbc), "python-can", _median("blf_pythoncan", blf, dbc)),
        ]
    note = f"{FRAMES} frames, {SIGNALS} signals, {ours['values']} values; peers on {FEWER} frames"
    first = Result("can.candump_frames_per_s", ours["rate"], "frames/s", None, None, None, ours["peak_mb"], note)
    return [first, *(_result(name, mine, peer, theirs) for name, mine, peer, theirs in pairs)]


def _result(name: str, ours: dict[str, float], peer: str, theirs: dict[str, float]) -> Result:
    ratio = ours["rate"] / theirs["rate"]
    note = f"the peer's peak is {theirs['peak_mb']:.0f} MB"
    return Result(name, ours["rate"], "frames/s", peer, theirs["rate"], ratio, ours["peak_mb"], note)


def _median(task: str, log: Path, dbc: Path) -> dict[str, float]:
    program = [sys.executable, "-m", "tests.benchmarks.can", task, str(log), str(dbc)]
    found = [json.loads(subprocess.run(program, check=True, capture_output=True).stdout) for _ in range(ROUNDS)]
    return sorted(found, key=lambda one: one["rate"])[len(found) // 2]


# --- the bus --------------------------------------------------------------------------------------


def dbc_text() -> str:
    """20 messages with 99 signals: 5 each, one with 4; both byte orders, signed ones among them."""
    lines = ['VERSION ""', "BS_:", "BU_:"]
    for n in range(MESSAGES):
        lines.append(f"BO_ {256 + n} M{n}: 8 Vector__XXX")
        layout = ["0|16@1+ (0.1,0)", "16|8@1+ (0.4,0)", "24|12@1- (0.05,-10)", "47|16@0+ (0.01,0)", "63|8@0- (0.5,0)"]
        count = 5 if n else 4
        lines += [f' SG_ S{k} : {layout[k]} [0|0] "V" Vector__XXX' for k in range(count)]
    return "\n".join(lines) + "\n"


def write_candump(path: Path, count: int) -> None:
    """A log of about 830 frames a second."""
    dice = np.random.default_rng(5)
    with path.open("w") as file:
        for first in range(0, count, BLOCK):
            n = np.arange(first, min(first + BLOCK, count))
            times = T0_US + n * 1_204
            data = dice.integers(0, 2**64, len(n), dtype=np.uint64).tolist()
            rows = zip((times // 1_000_000).tolist(), (times % 1_000_000).tolist(), (256 + n % MESSAGES).tolist(), data,
                       strict=True)  # fmt: skip
            file.writelines(f"({s}.{us:06d}) can0 {id_:03X}#{word:016X}\n" for s, us, id_, word in rows)


def _write_blf(log: Path, blf: Path) -> None:
    import can

    with can.io.BLFWriter(str(blf)) as writer:
        for message in can.io.CanutilsLogReader(str(log)):
            message.channel = 1
            writer.on_message_received(message)


# --- one measurement in a process of its own ------------------------------------------------------


def columns(log: Path, dbc: Path) -> tuple[int, int]:
    """Every signal's times and values, by our own code."""
    from ingest.can.dbc import read_dbc
    from ingest.can.decode import decode, physical
    from ingest.can.definitions import Bound, Definitions
    from ingest.can.formats import read_log
    from ingest.can.frames import payloads

    definitions = Definitions([Bound(None, read_dbc(dbc.read_bytes(), dbc.name).messages)])
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    times: dict[str, list[np.ndarray]] = {}
    frames = 0
    with log.open("rb") as file:
        for block in read_log(file, "candump").blocks:
            frames += len(block.frames)
            for group in definitions.groups(block.frames).groups:
                data = payloads(block.frames, group.at)
                raw = decode(data, group.message)
                times.setdefault(group.message.name, []).append(data.time_us)
                for signal in group.message.signals:
                    values = physical(raw[signal.name], signal)
                    found.setdefault((group.message.name, signal.name), []).append(values)
    done = [np.concatenate(parts) for parts in found.values()]
    _ = [np.concatenate(parts) for parts in times.values()]
    return frames, sum(len(values) for values in done)


def pythoncan_cantools(log: Path, dbc: Path) -> tuple[int, int]:
    import can
    import cantools

    database = cantools.database.load_file(str(dbc))
    return _series(((m.arbitration_id, m.timestamp, m.data) for m in can.io.CanutilsLogReader(str(log))), database)


def _series(messages: object, database: object) -> tuple[int, int]:
    found: dict[str, list[float]] = {}
    frames = 0
    for id_, time_s, data in messages:  # type: ignore[attr-defined]
        frames += 1
        for name, value in database.decode_message(id_, data, decode_choices=False).items():  # type: ignore[attr-defined]
            found.setdefault(f"{id_} {name}", []).append(value)
        found.setdefault(f"{id_}", []).append(time_s)
    return frames, sum(len(values) for values in found.values())


def blf(log: Path, _: Path) -> tuple[int, int]:
    from ingest.can.formats import read_log

    with log.open("rb") as file:
        return sum(len(block.frames) for block in read_log(file, "blf").blocks), 0


def blf_pythoncan(log: Path, _: Path) -> tuple[int, int]:
    import can

    return sum(1 for _ in can.io.BLFReader(str(log))), 0


TASKS: dict[str, Callable[[Path, Path], tuple[int, int]]] = {
    "columns": columns, "pythoncan_cantools": pythoncan_cantools, "blf": blf, "blf_pythoncan": blf_pythoncan,
}  # fmt: skip


def _cantools(log: Path, dbc: Path) -> tuple[float, int, int]:
    """Decoding alone: the frames are parsed before the clock starts."""
    import can
    import cantools

    database = cantools.database.load_file(str(dbc))
    parsed = [(m.arbitration_id, m.timestamp, bytes(m.data)) for m in can.io.CanutilsLogReader(str(log))]
    began = time.perf_counter()
    frames, values = _series(parsed, database)
    return time.perf_counter() - began, frames, values


def _main(task: str, log: Path, dbc: Path) -> None:
    for module in ("can", "cantools", "ingest.can.dbc", "ingest.can.formats.candump", "ingest.can.formats.blf"):
        importlib.import_module(module)  # before the clock starts
    if task == "cantools":
        took_s, frames, values = _cantools(log, dbc)
    else:
        began = time.perf_counter()
        frames, values = TASKS[task](log, dbc)
        took_s = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"rate": frames / took_s, "values": values, "peak_mb": peak_mb}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
