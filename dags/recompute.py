"""Recompute what changed since it was last computed, pilot by pilot.

The receiver and the records import leave stale marks. This reads them every ten minutes, computes the
vehicle-days and pilot-days they touch, and takes exactly those marks away. Running it again, or two at once, changes
nothing.

**Triage.** A failed task keeps its marks: the next run tries again, nothing is lost. Look at the task's log for the
pilot it is mapped to. *Database cannot be reached*: see that it runs, then clear the task. *A frame breaks its
contract*: the log names column and rule; `beachhead compute --pilot <slug>` repeats it by hand. Marks that pile up
(table `stale_mark`) while runs succeed mean that uploads come faster than one worker computes: raise the parallelism.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import dag, task

from schemas.starting import importing


@dag(
    schedule="*/10 * * * *",
    start_date=dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "beachhead",
        "retries": 2,
        "retry_delay": dt.timedelta(seconds=30),
        "execution_timeout": dt.timedelta(hours=1),
    },
    tags=["results"],
    doc_md=__doc__,
)
def recompute() -> None:
    """One mapped task per pilot with stale marks."""

    @task
    def find_stale_pilots() -> list[str]:
        with importing():
            from pipelines.jobs import stale_pilots

        return stale_pilots()

    @task(map_index_template="{{ pilot }}")
    def compute_pilot(pilot: str) -> dict[str, str | int]:
        with importing():
            from pipelines.jobs import recompute

        return recompute(pilot)

    compute_pilot.expand(pilot=find_stale_pilots())


recompute()
