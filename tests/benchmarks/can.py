"""How fast CAN logs become columns, beside others.

Every measurement runs in a fresh process; all are made ROUNDS times by turns, and of each task the best is told: what
else the machine does only ever makes a round slower.

The log: 2,000,000 frames of a truck's bus, 20 messages with 99 signals, about 40 minutes. Peers that would take a
minute for all of it are given its first 200,000 frames and compared by frames per second.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.result import Result
from tests.can_logs import bus, truck, write, write_binary

FRAMES, FEWER = 2_000_000, 200_000
ROUNDS = 5
SAME_VALUES = ("cantools", "pythoncan_cantools", "asammdf")
"""Peers that give the values of every frame: as many as ours, or one of both is wrong."""


@dataclass(frozen=True)
class Measured:
    """One process's account."""

    frames: int
    seconds: float
    values: int
    peak_mb: float

    @property
    def rate(self):
        return self.frames / self.seconds


@dataclass(frozen=True)
class Duel:
    """Our task and file beside a peer's. `needs` is the module that the peer is."""

    name: str
    ours: str
    our_file: str
    peer: str
    task: str
    file: str
    needs: str


DUELS = (
    Duel("can.candump_vs_cantools", "ours", "bus.log", "cantools, frames parsed before", "cantools", "few.log",
         "cantools"),
    Duel("can.candump_vs_pythoncan_cantools", "ours", "bus.log", "python-can and cantools", "pythoncan_cantools",
         "few.log", "can"),
    Duel("can.candump_vs_can_decoder", "ours", "bus.log", "can_decoder, table of J1939 frames made before",
         "can_decoder", "few.log", "can_decoder"),
    Duel("can.mf4_vs_asammdf", "ours", "bus.mf4", "asammdf, extract and physical values", "asammdf", "bus.mf4",
         "asammdf"),
    Duel("can.blf_vs_pythoncan", "ours_frames", "bus.blf", "python-can", "pythoncan", "few.blf", "can"),
    Duel("can.asc_vs_pythoncan", "ours_frames", "few.asc", "python-can", "pythoncan", "few.asc", "can"),
    Duel("can.trc_vs_pythoncan", "ours_frames", "few.trc", "python-can", "pythoncan", "few.trc", "can"),
)  # fmt: skip


def run() -> list[Result]:
    """Measure."""
    duels = [duel for duel in DUELS if importlib.util.find_spec(duel.needs)]
    tasks = {(duel.ours, duel.our_file) for duel in DUELS} | {(duel.task, duel.file) for duel in duels}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        bench = _Bench(Path(folder))
        bench.measure(sorted(tasks))
        return [bench.alone(), *map(bench.duel, DUELS)]


def prepare(folder: Path) -> None:
    """Write the logs."""
    frames = truck.frames(FRAMES)
    few = frames.between(0, FEWER)
    (folder / "truck.dbc").write_text(truck.dbc())
    for name, part in (("bus", frames), ("few", few)):
        with (folder / f"{name}.log").open("wb") as file:
            write_binary.candump_fast(part, file)
        with (folder / f"{name}.blf").open("wb") as file:
            write_binary.blf_fast(part, file)
    write_binary.mdf4(frames, folder / "bus.mf4", compressed=False)
    events = bus.of_frames(few)
    (folder / "few.asc").write_text(write.asc(events))
    (folder / "few.trc").write_text(write.trc(events, "2.1"))


@dataclass
class _Bench:
    """`load`: of the machine, when it began."""

    folder: Path
    done: dict[tuple[str, str], Measured] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def alone(self):
        ours = self.done["ours", "bus.log"]
        size_mb = (self.folder / "bus.log").stat().st_size / 1e6
        note = (
            f"{ours.frames} frames, {size_mb:.0f} MB, 99 signals, {ours.values} values; {ours.seconds:.2f} s;"
            f" load {self.load:.1f} before"
        )
        return Result("can.candump_frames_per_s", ours.rate, "frames/s", peak_mb=ours.peak_mb, note=note)

    def duel(self, duel):
        ours, peer = self.done[duel.ours, duel.our_file], self.done.get((duel.task, duel.file))
        if peer is None:
            note = f"{duel.needs} is not installed"
            return Result(duel.name, ours.rate, "frames/s", duel.peer, peak_mb=ours.peak_mb, note=note)
        if duel.task in SAME_VALUES and peer.values / peer.frames != ours.values / ours.frames:
            _check(self._once(duel.ours, duel.file), peer)
        on = "" if duel.our_file == duel.file else f" on {peer.frames} frames, compared by frames/s"
        note = f"{ours.frames} frames; the peer{on}: peak {peer.peak_mb:.0f} MB"
        return Result(duel.name, ours.rate, "frames/s", duel.peer, peer.rate, ours.rate / peer.rate, ours.peak_mb, note)

    def measure(self, tasks):
        rounds = [[self._once(*task) for task in tasks] for _ in range(ROUNDS)]
        for task, found in zip(tasks, zip(*rounds, strict=True), strict=True):
            self.done[task] = min(found, key=lambda one: one.seconds)

    def _once(self, task, file):
        program = [sys.executable, "-m", "tests.benchmarks.can_peers", task, str(self.folder / file)]
        told = subprocess.run([*program, str(self.folder / "truck.dbc")], check=True, stdout=subprocess.PIPE).stdout
        return Measured(**json.loads(told))


def _check(ours: Measured, peer: Measured) -> None:
    if (ours.frames, ours.values) != (peer.frames, peer.values):
        raise RuntimeError(f"{ours.frames} frames and {ours.values} values beside the peer's {peer}")
