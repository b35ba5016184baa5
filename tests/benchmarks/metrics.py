"""How fast a vehicle's day becomes figures, from rows in memory, beside pandas.

A fresh process for each measurement; of one day the best of ROUNDS is told, because whatever else the machine does only
makes a round slower. pandas computes what people first write by hand, energy by zero crossing, distance and hours, and
none of the other figures; both get the same rows, and have their memory as the job does.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from schemas.memory import HUGE_PAGES, keep_freed_memory
from schemas.starting import importing
from tests.benchmarks.result import Result

ROUNDS = 40
GOAL_MS, GOAL_MB = 60.0, 1000.0
BATCH_DAYS = 7
"""Vehicle-days that a job computes at once."""
HUNDRED = 98


def run() -> list[Result]:
    """Measure one day, the same in pandas, and a hundred."""
    one, pandas, many = (_measured(task) for task in ("one", "pandas", "many"))
    signals = f"86,400 rows, {one['signals']} signals, best of {ROUNDS}, median {one['median_ms']:.0f} ms"
    goal = GOAL_MS / one["ms"]
    line = many["ms_a_day"] / many["ms_a_day_few"]
    return [
        Result("metrics.vehicle_day_ms", one["ms"], "ms", "at most", GOAL_MS, goal, one["peak_mb"], signals),
        Result(
            "metrics.vs_pandas", one["ms"], "ms", "pandas, energy, distance and hours only", pandas["ms"],
            pandas["ms"] / one["ms"], one["peak_mb"], f"ours computes {one['figures']} figures",
        ),
        Result(
            "metrics.hundred_days_mb", many["peak_mb"], "MB", "at most", GOAL_MB, GOAL_MB / many["peak_mb"],
            many["peak_mb"], f"{HUNDRED} vehicle-days, {BATCH_DAYS} at once as the job does",
        ),
        Result(
            "metrics.hundred_days_linear", line, "times the time of a day", note=f"{many['ms_a_day']:.0f} ms a day of"
            f" {HUNDRED}, {many['ms_a_day_few']:.0f} ms of {BATCH_DAYS} of them",
        ),
    ]  # fmt: skip


def one() -> dict[str, float]:
    """One vehicle-day, all figures."""
    with importing():
        from analytics.metrics import METRICS, compute
        from tests.benchmarks import vehicle_day

    rows = vehicle_day.telemetry(1, 1)
    inputs = vehicle_day.inputs(rows, 1, 1)
    return _timed(lambda: compute(inputs)) | {"signals": rows.width - 2, "figures": len(METRICS)}


def pandas() -> dict[str, float]:
    """The same rows in pandas: net, drawn and returned energy, distance, hours with key on and charging."""
    with importing():
        from tests.benchmarks import vehicle_day

    frame = vehicle_day.telemetry(1, 1).to_pandas()
    return _timed(lambda: _in_pandas(frame))


def many() -> dict[str, float]:
    """A hundred vehicle-days in the batches of the job; rows are made batch by batch, outside the clock."""
    with importing():
        from analytics.metrics import compute
        from tests.benchmarks import vehicle_day

    keep_freed_memory()
    vehicle_day_s = []
    for _ in range(HUNDRED // BATCH_DAYS):
        inputs = vehicle_day.inputs(vehicle_day.telemetry(1, BATCH_DAYS), 1, BATCH_DAYS)
        began = time.perf_counter()
        compute(inputs)
        vehicle_day_s.append((time.perf_counter() - began) / BATCH_DAYS)
    whole = sum(vehicle_day_s) / len(vehicle_day_s)
    # The first batch takes memory that the others use again.
    return {"ms_a_day": whole * 1000, "ms_a_day_few": vehicle_day_s[1] * 1000, "peak_mb": _peak_mb()}


def _in_pandas(frame: Any) -> Any:
    frame = frame.sort_values(["vehicle_id", "time"])
    step_h = frame["time"].diff().shift(-1).dt.total_seconds() / 3600
    step_h = step_h.where(step_h <= 5 / 3600)
    here = frame["battery_power_kw"]
    there = here.shift(-1)
    net = (here + there) / 2 * step_h
    high, low = here.combine(there, max), here.combine(there, min)
    crosses = (low < 0) & (high > 0)
    into = net.where(~crosses & (low >= 0), 0).where(~crosses, high * high / (high - low) / 2 * step_h)
    day = (frame["time"] - frame["time"].iloc[0]).dt.days
    plugged = frame["plugged_in"]
    columns = {
        "drawn_kwh": (into - net).where(~plugged), "returned_kwh": into.where(~plugged),
        "charged_kwh": into.where(plugged), "key_on_h": step_h.where(frame["ignition_on"]),
        "charging_h": step_h.where(frame["charging"]), "distance_km": frame["odometer_km"].diff().clip(lower=0),
    }  # fmt: skip
    return frame.assign(**columns).groupby([frame["vehicle_id"], day])[list(columns)].sum()


def _timed(task: Callable[[], object]) -> dict[str, float]:
    keep_freed_memory()
    task()
    took_ms = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        task()
        took_ms.append((time.perf_counter() - began) * 1000)
    return {"ms": min(took_ms), "median_ms": sorted(took_ms)[ROUNDS // 2], "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _measured(task: str) -> dict[str, float]:
    """What a fresh process tells of a task."""
    command = [sys.executable, "-m", "tests.benchmarks.metrics", task]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=HUGE_PAGES | os.environ)
    told: dict[str, float] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    json.dump({"one": one, "pandas": pandas, "many": many}[sys.argv[1]](), sys.stdout)
