"""The demonstration, step by step: database, programme, servers, uploads over HTTP, Airflow, figures."""

from __future__ import annotations

import datetime as dt
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from sqlalchemy.orm import Session

from ingest import store as keys
from pipelines import lists, registry
from pipelines.airflow import AirflowProcess, migrating
from pipelines.demo.place import Place, open_place
from pipelines.demo.pushing import FleetPush
from pipelines.demo.servers import Running, both_servers
from pipelines.demo.table import print_pilots
from pipelines.records import import_records
from schemas import database
from schemas.addresses import Role
from schemas.database import engine
from schemas.local.progress import Reporter, reporter
from schemas.programme import read_programme

FILES = Path(__file__).parent
DAG = "recompute"


@dataclass(frozen=True)
class Extent:
    """How much of the demonstration to run: by default all fourteen days of all six pilots."""

    days: int | None = None
    pilots: tuple[str, ...] | None = None


def run(home: Path, extent: Extent, *, serve: bool) -> None:
    """Run the demonstration; with `serve`, leave the pages up until Ctrl-C. Nothing is left running.

    Run again, it sends the same uploads again, and nothing is counted twice.
    """
    with _stoppable(), ExitStack() as running_parts:
        with reporter() as report:
            place = running_parts.enter_context(open_place(home, report))
            prepare(place, report)
            report("starting receiver and read side")
            running = running_parts.enter_context(both_servers(place.home, place.environment))
            fleet = _fill(place, running, extent, report)
        _tell(fleet, running, place)
        if serve:
            _wait_for_ctrl_c()


def prepare(place: Place, report: Reporter) -> None:
    """Migrate the database, and declare the programme and what people wrote down."""
    report("migrating the database")
    database.migrate(place.url(Role.OWNER))
    report("importing programme and records")
    owner = engine(place.url(Role.OWNER))
    with Session(owner) as session, session.begin():
        today = dt.datetime.now(dt.UTC).date()
        registry.import_programme(session, read_programme(FILES / "programme.yaml"), today)
        for kind in ("maintenance", "roadcalls"):
            import_records(session, kind, FILES / f"{kind}.csv")
    owner.dispose()


def _fill(place: Place, running: Running, extent: Extent, report: Reporter) -> FleetPush:
    """Push, compute, push what comes late, compute again."""
    airflow = AirflowProcess(place.home, place.scheduler_url, place.environment)
    with gateway_keys(place) as keys_by_gateway:
        fleet = FleetPush(running.ingest, keys_by_gateway, extent.days, extent.pilots)
        with migrating(airflow):
            fleet.in_time(partial(report, "driving and uploading"))
        report("starting Airflow")
        with airflow:
            _compute(airflow, "computing", report)
            fleet.late(partial(report, "uploading what comes late"))
            _compute(airflow, "computing what came late", report)
    return fleet


def _compute(airflow: AirflowProcess, step: str, report: Reporter) -> None:
    report(step, 0.0)
    airflow.run_dag(DAG, on_progress=lambda done, known: report(step, done / max(known, 1)))


@contextmanager
def gateway_keys(place: Place) -> Iterator[dict[str, str]]:
    """A key for every gateway, good for as long as the uploads take."""
    owner = engine(place.url(Role.OWNER))
    try:
        with owner.begin() as connection:
            made = {name: keys.create_key(connection, id_) for name, id_ in lists.gateway_ids(connection).items()}
        yield made
        with owner.begin() as connection:
            for key in made.values():
                keys.revoke_key(connection, key.split("_")[1])
    finally:
        owner.dispose()


def _tell(fleet: FleetPush, running: Running, place: Place) -> None:
    said = fleet.tally
    sys.stdout.write(
        f"\n{said['uploads']:,} uploads, {said['repeated uploads']:,} of them sent before;"
        f" {said['received']:,} rows received: {said['accepted']:,} new, {said['merged']:,} merged,"
        f" {said['duplicate']:,} duplicate, {said['conflicting']:,} conflicting, {said['rejected']:,} rejected.\n\n"
    )
    print_pilots(running.analytics)
    sys.stdout.write(
        f"\nPages     {running.analytics}/\nAPI       {running.analytics}/docs\nReceiver  {running.ingest}/docs\n"
        f"SQL       psql $(.venv/bin/beachhead db url --role {Role.READER} --database {place.database})"
        "   # views of schema reading; `beachhead db up` starts the server again\n"
    )
    sys.stdout.flush()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the demonstration as Ctrl-C does, so that everything is stopped on the way out."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for_ctrl_c() -> None:
    sys.stdout.write("\nServing until Ctrl-C.\n")
    sys.stdout.flush()
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        sys.stdout.write("\n")
