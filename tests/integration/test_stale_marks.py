"""Uploads, corrections and the jobs at the same time: no mark is lost."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from receiver_kit import START, Client, Pusher, make_world, receiving

from ingest.corrections import Corrections
from pipelines.compute import Selection, compute_pilot
from schemas.database import engine
from schemas.settings import Settings
from tests import campaign

PILOT = "drayage"
VEHICLES = ("truck-01", "truck-02")
DAYS = 6
WRITERS = 3
STRAY = (
    "SELECT v.day, v.input_rows, (SELECT count(*) FROM telemetry t WHERE t.vehicle_id = v.vehicle_id"
    " AND t.time >= v.starts_at AND t.time < v.ends_at) FROM vehicle_day v"
)
WITHOUT_A_DAY = (
    "SELECT count(*) FROM telemetry t WHERE NOT EXISTS (SELECT FROM vehicle_day v WHERE v.vehicle_id = t.vehicle_id"
    " AND t.time >= v.starts_at AND t.time < v.ends_at)"
)


def some_rows(dice: random.Random) -> bytes:
    """A stretch anywhere, also over the cut of a day, late or again; its odometer tells one truth."""
    vehicle, first = dice.choice(VEHICLES), dice.randrange(DAYS * 8640)
    rows = [
        {
            "time": (START + dt.timedelta(seconds=10 * n)).isoformat(), "vehicle": vehicle, "ignition_on": True,
            "speed_kmh": 36 if n % 50 else 0, "odometer_km": n / 10, "battery_power_kw": -36, "battery_soc_pct": 50,
        }
        for n in range(first, first + dice.randrange(1, 400), dice.choice([1, 1, 6]))
    ]  # fmt: skip
    return "\n".join(map(json.dumps, rows)).encode()


class Worker(threading.Thread):
    """Does something again and again; what went wrong is in `error`."""

    def __init__(self, work: Any, times: int | None, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.work, self.times, self.ended = work, times, ended
        self.done, self.error = 0, None

    def run(self) -> None:
        try:
            while not self.ended.is_set() and self.done != self.times:
                self.work()
                self.done += 1
        except Exception as error:
            self.error = error
            self.ended.set()


@pytest.mark.long
@pytest.mark.timeout(campaign.size(180, 3600))
def test_no_mark_is_lost_while_uploads_and_jobs_run(database: Any, tmp_path: Path) -> None:
    world, jobs = make_world(database), database.url("beachhead_jobs")
    landing = {"landing_url": f"file://{tmp_path}"}
    owner = engine(database.url())
    corrections = Corrections(owner, Settings(_env_file=None, **landing))
    dice = random.Random(campaign.SEED)
    with receiving(world, gateway_requests_per_s=0, **landing) as client:
        loaded: list[uuid.UUID] = []

        def write(pusher: Pusher, own: random.Random) -> None:
            receipt = pusher.push(some_rows(own), "application/x-ndjson")
            if receipt["status"] == "loaded":
                loaded.append(uuid.UUID(receipt["upload_id"]))
            time.sleep(own.uniform(0, 0.05))

        def correct() -> None:
            if loaded:
                one = dice.choice(loaded)
                corrections.void(one, None)
                if dice.random() < 0.5:
                    corrections.retry(one)
            time.sleep(dice.uniform(0.05, 0.2))

        writing, ended = _writers(client, world.keys["both"], write), threading.Event()
        beside = [Worker(correct, None, ended), Worker(lambda: compute_pilot(jobs, PILOT), None, ended)]
        for worker in [*writing, *beside]:
            worker.start()
        for worker in writing:
            worker.join()
        ended.set()
        for worker in beside:
            worker.join()
    assert [worker.error for worker in [*writing, *beside] if worker.error] == []
    assert beside[1].done > 1, "the jobs hardly ran"
    compute_pilot(jobs, PILOT)
    with database.connect() as db:
        assert db.execute("SELECT count(*) FROM stale_mark").fetchone() == (0,)
        assert db.execute(WITHOUT_A_DAY).fetchone() == (0,)
        days = db.execute(STRAY).fetchall()
    assert len(days) > DAYS
    assert [day for day in days if day[1] != day[2]] == []
    before = _figures(database)
    compute_pilot(jobs, PILOT, Selection(stale_only=False))
    after = _figures(database)
    # All that is told follows from all that is stored: computed anew, all days together, it is the same.
    assert before.keys() == after.keys()
    different = [(key, before[key], after[key]) for key in before if not _is_same(before[key], after[key])]
    assert different == []
    owner.dispose()


def _figures(database: Any) -> dict[tuple[Any, ...], Any]:
    """Every part of every figure, and the hash of each day's rows."""
    with database.connect() as db:
        rows = db.execute("SELECT vehicle_id, day, input_hash, figures FROM vehicle_day").fetchall()
    hashes = {(vehicle, day): hash_ for vehicle, day, hash_, _ in rows}
    parts = {
        (vehicle, day, metric, part): value
        for vehicle, day, _, figures in rows for metric, figure in figures.items() for part, value in figure.items()
    }  # fmt: skip
    return {**hashes, **parts}


def _is_same(one: Any, other: Any) -> bool:
    """Sums may differ in their last digits by what they were summed beside."""
    numbers = isinstance(one, float) and isinstance(other, float)
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) if numbers else one == other


def _writers(client: Client, key: str, write: Any) -> list[Worker]:
    ended = threading.Event()
    pusher, dice = Pusher(client, key), [random.Random(f"{campaign.SEED} {n}") for n in range(WRITERS)]
    return [Worker(partial(write, pusher, own), campaign.size(60, 5000), ended) for own in dice]
