"""What rows and vehicle-days cost on the whole stack, and what a second Celery worker adds.

Processor time is told beside the clock's: it says what the work costs also where the machine does other work.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from pipelines.demo.pushing import FleetPush
from tests.benchmarks.result import Result
from tests.stack import images
from tests.stack.engine import NoEngineError, some_engine
from tests.stack.images import CHECKOUT
from tests.stack.stack import Jobs, Stack, mark_all, running, wait_until

PROGRAMME = CHECKOUT / "pipelines" / "demo" / "programme.yaml"
DAYS = 14
NAMES = ("scale.rows_cpu_s_per_million", "scale.vehicle_days_1_worker", "scale.vehicle_days_2_workers")
VARIABLES = {"STACK_EXECUTOR": "CeleryExecutor", "STACK_WORKER_TASKS": "1", "STACK_PARALLELISM": "2"}


def run() -> list[Result]:
    """Measure, where an engine is or may be started."""
    try:
        with some_engine(CHECKOUT / ".beachhead" / "engine", may_start=True) as engine, \
                tempfile.TemporaryDirectory() as folder:  # fmt: skip
            variables = {**images.build(engine), **VARIABLES, "STACK_WORKERS": "1"}
            with running(engine, variables, Path(folder) / "env", "scale") as stack:
                return [_rows(stack), *(_vehicle_days(stack, workers) for workers in (1, 2))]
    except NoEngineError as error:
        return [Result(name, None, "", note=str(error)) for name in NAMES]


def _rows(stack: Stack) -> Result:
    keys = stack.import_programme(PROGRAMME)
    before, began = (stack.cpu_s("receiver"), stack.cpu_s("timescaledb")), time.monotonic()
    FleetPush(stack.address("RECEIVER"), keys, DAYS, None).in_time(lambda share: None)
    took_s, load = time.monotonic() - began, os.getloadavg()[0]
    used = [now - then for now, then in zip((stack.cpu_s("receiver"), stack.cpu_s("timescaledb")), before, strict=True)]
    ((rows, size),) = (
        map(int, row.split("|"))
        for row in stack.sql("SELECT (SELECT count(*) FROM telemetry), hypertable_size('telemetry')")
    )
    millions = rows / 1e6
    note = f"{rows:,} rows in {took_s:.0f} s, simulated meanwhile; receiver {used[0] / millions:.1f} s," \
        f" database {used[1] / millions:.1f} s; {size / rows:.0f} bytes a row; load {load:.1f}"  # fmt: skip
    return Result(NAMES[0], sum(used) / millions, "CPU s", note=note)


def _vehicle_days(stack: Stack, workers: int) -> Result:
    stack.variables = {**stack.variables, "STACK_WORKERS": str(workers)}
    stack.up("--no-deps", "airflow-worker")
    jobs = Jobs(stack)
    wait_until(jobs.is_idle, 600)
    mark_all(stack)
    before, began = (stack.cpu_s("airflow-worker"), stack.cpu_s("timescaledb")), time.monotonic()
    tasks = jobs.finish(jobs.start(), timeout_s=1800)
    took_s, load = time.monotonic() - began, os.getloadavg()[0]
    used = [now - then for now, then in zip((stack.cpu_s("airflow-worker"), stack.cpu_s("timescaledb")), before,
                                            strict=True)]  # fmt: skip
    days = int(stack.sql("SELECT count(*) FROM vehicle_day")[0])
    note = f"{days} vehicle-days, {len(tasks)} tasks on {len({task['hostname'] for task in tasks})} workers in" \
        f" {took_s:.0f} s; workers {1e3 * used[0] / days:.0f} ms, database {1e3 * used[1] / days:.0f} ms of processor" \
        f" time each; load {load:.1f}"  # fmt: skip
    return Result(NAMES[workers], days / took_s, "vehicle-days/s", note=note)
