"""Past one machine: several receivers share one database, and Celery's workers one broker.

Workers are processes in containers of their own; that they share a machine here is all that is missing.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ingest.gateway.bodies import NDJSON, Upload
from ingest.gateway.push import Outcome, Patience, push
from pipelines.demo.pushing import FleetPush
from tests.stack.stack import RESULTS, Jobs, Stack, mark_all, wait_until

GATEWAYS = {
    "lb-gw-01": "truck-01", "lb-gw-02": "truck-02", "lb-gw-03": "truck-03", "scl-gw-01": "bus-01",
    "scl-gw-02": "bus-02", "scl-gw-03": "bus-03", "rtm-gw-01": "yard-01", "rtm-gw-02": "yard-02",
    "cok-gw-01": "ferry-01", "cok-gw-02": "ferry-02", "yqb-gw-01": "school-bus-01",
}  # fmt: skip
PROXY_LOOKS_S = 5  # longer than the proxy needs to see that a receiver is back
BEGINNING = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
POSTS, ROWS = 40, 60


@pytest.fixture(scope="module")
def scaled(stack: Stack) -> Stack:
    """The stack with two receivers, a broker and two workers."""
    plain, stack.profiles = stack.variables, "scale"
    stack.variables = {**plain, "STACK_EXECUTOR": "CeleryExecutor", "STACK_RECEIVERS": "2", "STACK_WORKERS": "2",
                       "STACK_WORKER_TASKS": "1"}  # fmt: skip
    stack.up("--no-deps", "broker", "receiver", "airflow-api", "airflow-scheduler", "airflow-worker")
    return stack


def test_two_receivers_lose_no_row_and_store_none_twice(scaled: Stack, fleet: FleetPush, keys: dict[str, str]) -> None:
    before = _rows(scaled)
    uploads = [_upload(gateway, post) for post in range(POSTS) for gateway in GATEWAYS]
    with ThreadPoolExecutor(1) as aside:
        sending = aside.submit(_push, scaled, uploads, keys)
        wait_until(lambda: _rows(scaled) - before > len(uploads) * ROWS * 0.2, 120, every_s=0.1)
        victim = scaled.containers("receiver")[0]["Id"]
        scaled.engine.docker("kill", "--signal=KILL", victim)
        outcomes = sending.result()
    assert [outcome.problem for outcome in outcomes if outcome.receipt is None] == []
    assert _rows(scaled) - before == len(uploads) * ROWS
    scaled.engine.docker("start", victim)
    wait_until(lambda: all(c["State"]["Health"]["Status"] == "healthy" for c in scaled.containers("receiver")), 120)
    time.sleep(PROXY_LOOKS_S)
    # The same again, over both, changes nothing.
    again = _push(scaled, uploads, keys)
    assert {outcome.receipt.status for outcome in again if outcome.receipt} == {"duplicate"}
    assert _rows(scaled) - before == len(uploads) * ROWS
    taken = [_posts(scaled, container["Id"]) for container in scaled.containers("receiver")]
    assert len(taken) == 2
    assert min(taken) > 0
    scaled.sql(f"DELETE FROM telemetry WHERE time >= '{BEGINNING}' AND time < '{BEGINNING + dt.timedelta(days=1)}'")


def test_two_workers_share_the_tasks_and_compute_what_one_machine_does(scaled: Stack, fleet: FleetPush) -> None:
    wait_until(Jobs(scaled).is_idle, 300)
    alone = _compute_alone(scaled)
    for _ in range(3):  # a run on schedule may have begun in between, and taken marks
        jobs, run = _recompute(scaled)
        tasks = jobs.finish(run)
        if len(tasks) == 6:
            break
    assert len(tasks) == 6
    assert len({task["hostname"] for task in tasks}) == 2
    assert _results(scaled) == alone


def test_a_worker_that_is_killed_is_made_up_for(scaled: Stack, fleet: FleetPush) -> None:
    before = _results(scaled)
    again: list[dict[str, Any]] = []
    for _ in range(3):  # a task may have ended in the moment in which its worker is killed
        jobs, run = _recompute(scaled)
        victim = str(_first_running(jobs, run)["hostname"])
        scaled.engine.docker("kill", "--signal=KILL", victim)
        again = [task for task in jobs.finish(run, timeout_s=400) if task["try_number"] > 1]
        scaled.engine.docker("start", victim)
        if again:
            break
    assert again
    assert {task["hostname"] for task in again} != {victim}
    assert _results(scaled) == before


def _upload(gateway: str, post: int) -> Upload:
    times = [BEGINNING + dt.timedelta(seconds=post * ROWS + n) for n in range(ROWS)]
    rows = [{"time": at.isoformat(), "vehicle": GATEWAYS[gateway], "speed_kmh": n % 80} for n, at in enumerate(times)]
    return Upload("\n".join(map(json.dumps, rows)).encode(), NDJSON, None, ROWS, f"{gateway} {post}", gateway=gateway)


def _push(stack: Stack, uploads: list[Upload], keys: dict[str, str]) -> list[Outcome]:
    patience = Patience(tries=12, longest_wait_s=5)
    return push(uploads, stack.address("RECEIVER"), keys, connections=8, patience=patience)


def _rows(stack: Stack) -> int:
    return int(stack.sql("SELECT count(*) FROM telemetry")[0])


def _posts(stack: Stack, container: str) -> int:
    """Uploads that a receiver answered since it started."""
    asked = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9110/metrics').read().decode())"
    told = stack.engine.docker("exec", container, "python", "-c", asked)
    return sum(int(float(line.split()[-1])) for line in told.splitlines() if line.startswith("beachhead_uploads_total"))


def _compute_alone(stack: Stack) -> list[str]:
    """All results, computed by one process, without a scheduler."""
    mark_all(stack)
    stack.command("compute", "--stale")
    return _results(stack)


def _recompute(stack: Stack) -> tuple[Jobs, str]:
    """Take all results away and start a run that makes them anew."""
    jobs = Jobs(stack)
    wait_until(jobs.is_idle, 300)
    mark_all(stack)
    return jobs, jobs.start()


def _results(stack: Stack) -> list[str]:
    """Every row of every result, in order, but for the time of its computation."""
    return [
        f"{table} {row}"
        for table in RESULTS
        for row in sorted(stack.sql(f"SELECT to_jsonb(r) - 'computed_at' FROM {table} r"))
    ]


def _first_running(jobs: Jobs, run: str) -> dict[str, Any]:
    """The first task that runs, as soon as there is one."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [task for task in jobs.tasks(run) if task["state"] == "running" and task["hostname"]]
        return bool(found)

    wait_until(look, 120, every_s=0.1)
    return found[0]
