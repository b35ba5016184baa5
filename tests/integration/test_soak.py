"""Many rows through one receiver process: it keeps no more memory at the end than when it was warm."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from receiver_kit import T0, make_world
from served import Served

from tests import campaign

ROWS = 2_000
CLIENTS = 4
POSTS = campaign.size(100, 12_500)
WARM = campaign.size(40, 250)
STEP = 20
GROWTH = 1.10


def body(n: int) -> bytes:
    """Rows of one vehicle; every fifth upload is one that came before."""
    number = n - 4 if n % 5 == 4 else n
    first, vehicle = T0 + dt.timedelta(seconds=(number // 2) * ROWS), f"truck-0{1 + number % 2}"
    rows = [
        {"time": (first + dt.timedelta(seconds=k)).isoformat(), "vehicle": vehicle, "speed_kmh": k % 90 + 0.25,
         "battery_soc_pct": k % 100, "ignition_on": k % 2 == 0, "door": "open" if k % 7 else "shut"}
        for k in range(ROWS)
    ]  # fmt: skip
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.mark.long
@pytest.mark.timeout(campaign.size(240, 3600))
def test_memory_stays_level(database: Any, tmp_path: Path) -> None:
    world = make_world(database)
    served = Served(world, tmp_path / "landing")
    served.environment |= {
        "BEACHHEAD_METRICS_ADDRESS": "", "BEACHHEAD_GATEWAY_REQUESTS_PER_S": "0", "BEACHHEAD_GATEWAY_BYTES_PER_S": "0",
    }  # fmt: skip
    served.start()
    headers = {"Authorization": f"Bearer {world.keys['both']}", "Content-Type": "application/x-ndjson"}
    url = f"http://127.0.0.1:{served.port}/v1/telemetry"
    try:
        with httpx.Client(timeout=120, trust_env=False) as http, ThreadPoolExecutor(CLIENTS) as threads:

            def send(n: int) -> str:
                answer = http.post(url, content=body(n), headers=headers)
                assert answer.status_code == 200, answer.text
                return str(answer.json()["status"])

            held = []
            for first in range(0, POSTS, STEP):
                statuses = list(threads.map(send, range(first, first + STEP)))
                assert set(statuses) == {"loaded", "duplicate"}
                held.append(_rss_mb(served))
    finally:
        served.kill()
        served.client.close()
    warm, later = held[: WARM // STEP], held[WARM // STEP :]
    assert max(later) <= GROWTH * max(warm), f"MB held after every {STEP} uploads: {[round(mb) for mb in held]}"
    with database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM telemetry").fetchone() == (POSTS * ROWS * 4 // 5,)


def _rss_mb(served: Served) -> float:
    """What the process that serves holds: the largest child of the one that watches over it."""
    assert served.process is not None
    pid = served.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return max(_held_mb(int(child)) for child in children)


def _held_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
