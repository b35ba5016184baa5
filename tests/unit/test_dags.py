"""Policies that every DAG keeps, read from a real DagBag in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = sorted(path for path in DAGS.glob("*.py") if path.name != "__init__.py")
HEAVY = ("polars", "sqlalchemy", "analytics", "ingest", "pipelines")

READ_DAGS = """
import json, sys
before = set(sys.modules)
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
print("DAGS" + json.dumps({
    "errors": bag.import_errors,
    "dags": {d.dag_id: {
        "file": d.fileloc, "doc": d.doc_md, "catchup": d.catchup, "max_active_runs": d.max_active_runs,
        "tags": sorted(d.tags),
        "tasks": {t.task_id: {"retries": t.retries, "owner": t.owner, "timeout": t.execution_timeout is not None}
                  for t in d.tasks},
    } for d in bag.dags.values()},
}))
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/unused.db", "PYTHONPATH": str(DAGS.parent),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", READ_DAGS, str(DAGS)], env=environment, capture_output=True, text=True, timeout=120
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("DAGS")]
    assert lines, done.stderr
    content: dict[str, Any] = json.loads(lines[0].removeprefix("DAGS"))
    return content


def test_every_file_loads_and_holds_one_dag_of_its_name(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}
    assert sorted(bag["dags"]) == [path.stem for path in FILES]
    assert {name: Path(dag["file"]).stem for name, dag in bag["dags"].items()} == {name: name for name in bag["dags"]}


def test_every_dag_tells_how_to_triage_it(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert "**Triage.**" in dag["doc"]
        assert dag["tags"]


def test_no_dag_catches_up_or_overlaps_itself(bag: dict[str, Any]) -> None:
    assert all(dag["catchup"] is False and dag["max_active_runs"] == 1 for dag in bag["dags"].values())


def test_every_task_retries_has_an_owner_and_a_time_limit(bag: dict[str, Any]) -> None:
    tasks = [task for dag in bag["dags"].values() for task in dag["tasks"].values()]
    assert tasks
    assert all(task["retries"] >= 1 and task["owner"] == "beachhead" and task["timeout"] for task in tasks)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_file_is_thin(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 120
    top_level = [line for line in lines if line.startswith(("import ", "from "))]
    assert not [line for line in top_level if line.split()[1].split(".")[0] in HEAVY]
