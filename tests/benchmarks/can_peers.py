"""One measurement in a process of its own: `python -m tests.benchmarks.can_peers TASK LOG DBC`.

Prints frames, seconds, values and the peak of memory as JSON. Imports, the DBC file, and for decoders alone the parsed
frames, come before the clock starts.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

Job = Callable[[], tuple[int, int]]
"""What is measured: returns frames and values."""


def ours(log: Path, dbc: Path) -> Job:
    """Every signal's times and values, whatever the format."""
    from ingest.can.columns import columns
    from ingest.can.dbc import read_dbc
    from ingest.can.definitions import Bound, Definitions
    from ingest.can.formats import HEAD_BYTES, read_log, recognise

    messages = read_dbc(dbc.read_bytes(), dbc.name).messages
    with log.open("rb") as file:
        name = recognise(file.read(HEAD_BYTES))

    def job():
        with log.open("rb") as file:
            found = columns(read_log(file, name), Definitions([Bound(None, messages)]))
        by_message = {name.partition(".")[0]: len(times) for name, (times, _) in found.items()}
        return sum(by_message.values()), sum(len(values) for _, values in found.values())

    return job


def ours_frames(log: Path, _: Path) -> Job:
    """Frames alone."""
    from ingest.can.formats import HEAD_BYTES, read_log, recognise

    with log.open("rb") as file:
        name = recognise(file.read(HEAD_BYTES))

    def job():
        with log.open("rb") as file:
            return sum(len(block.frames) for block in read_log(file, name).blocks), 0

    return job


def pythoncan(log: Path, _: Path) -> Job:
    """python-can's reader of the format alone."""
    reader = _reader(log)
    return lambda: (sum(1 for _ in reader(str(log))), 0)


def pythoncan_cantools(log: Path, dbc: Path) -> Job:
    """python-can reads, cantools decodes frame by frame."""
    reader, database = _reader(log), _database(dbc)
    return lambda: _series(((m.arbitration_id, m.timestamp, m.data) for m in reader(str(log))), database)


def cantools(log: Path, dbc: Path) -> Job:
    """Cantools decodes frames that were parsed before."""
    parsed = [(m.arbitration_id, m.timestamp, bytes(m.data)) for m in _reader(log)(str(log))]
    database = _database(dbc)
    return lambda: _series(parsed, database)


def _reader(log):
    import can

    if log.suffix == ".log":
        return can.io.CanutilsLogReader
    return {".blf": can.io.BLFReader, ".asc": can.io.ASCReader, ".trc": can.io.TRCReader}[log.suffix]


def _database(dbc):
    import cantools

    return cantools.database.load_file(str(dbc))


def _series(messages, database):
    found: dict[tuple[int, str], list[float]] = {}
    times: dict[int, list[float]] = {}
    frames = 0
    for id_, time_s, data in messages:
        frames += 1
        times.setdefault(id_, []).append(time_s)
        for name, value in database.decode_message(id_, data, decode_choices=False).items():
            found.setdefault((id_, name), []).append(value)
    return frames, sum(map(len, found.values()))


def can_decoder(log: Path, dbc: Path) -> Job:
    """can_decoder decodes a table of the J1939 frames that was made before."""
    logging.disable(logging.ERROR)
    import can_decoder
    import pandas as pd

    from ingest.can.formats import read_log
    from ingest.can.frames import EXTENDED, concat

    with log.open("rb") as file:
        frames = concat([block.frames for block in read_log(file, "candump").blocks])
    frames = frames.take((frames.can_id & EXTENDED).nonzero()[0])
    rows = frames.word.astype("<u8").view("u1").reshape(-1, 8).tolist()
    columns = {"TimeStamp": pd.to_datetime(frames.time_us, unit="us", utc=True), "ID": frames.can_id & ~EXTENDED}
    table = pd.DataFrame({**columns, "IDE": True, "DataBytes": rows}).set_index("TimeStamp")
    decoder = can_decoder.DataFrameDecoder(can_decoder.load_dbc(str(_only_j1939(dbc))))
    return lambda: (len(table), len(decoder.decode_frame(table)))


def _only_j1939(dbc):
    """The DBC file with what tells can_decoder that it is J1939, beside the first."""
    told = dbc.with_suffix(".j1939.dbc")
    told.write_text(dbc.read_text() + 'BA_DEF_  "ProtocolType" STRING ;\nBA_ "ProtocolType" "J1939";\n')
    return told


def asammdf(log: Path, dbc: Path) -> Job:
    """Asammdf extracts the bus logging, then every signal's physical values."""
    import asammdf

    def job():
        with asammdf.MDF(log) as mdf, mdf.extract_bus_logging({"CAN": [(dbc, 0)]}) as found:
            values = frames = 0
            for n, group in enumerate(found.groups):
                samples = [
                    found.get(group=n, index=k, ignore_invalidation_bits=True).samples
                    for k in range(1, len(group.channels))
                ]
                values += sum(map(len, samples))
                frames += group.channel_group.cycles_nr
        return frames, values

    return job


TASKS: dict[str, Callable[[Path, Path], Job]] = {
    task.__name__: task
    for task in (ours, ours_frames, pythoncan, pythoncan_cantools, cantools, can_decoder, asammdf)
}  # fmt: skip


def main(task: str, log: Path, dbc: Path) -> None:
    """Measure once."""
    warnings.simplefilter("ignore")
    if task != asammdf.__name__:
        # python-can, which cantools loads, takes asammdf and all that it needs where it is: only for tests.
        sys.modules["asammdf"] = None  # type: ignore[assignment]
    job = TASKS[task](log, dbc)
    began = time.perf_counter()
    frames, values = job()
    seconds = time.perf_counter() - began
    told = {"frames": frames, "seconds": seconds, "values": values, "peak_mb": _peak_mb()}
    sys.stdout.write(json.dumps(told) + "\n")


def _peak_mb():
    """Of this program: what getrusage tells begins with the peak of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
