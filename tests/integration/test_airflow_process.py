"""A real Airflow on this machine: runs a DAG with its configuration, tells what failed, leaves nothing behind."""

import os
import signal
import stat
import time
from pathlib import Path

import httpx
import pytest

from pipelines import airflow as airflow_module
from pipelines import processes
from pipelines.airflow import AirflowError, AirflowProcess

SQUARES = """
from pathlib import Path
from airflow.sdk import DAG, get_current_context, task

with DAG("squares", schedule=None):

    @task
    def numbers():
        return list(get_current_context()["dag_run"].conf["numbers"])

    @task
    def square(number):
        import os
        with Path(os.environ["SQUARES_FILE"]).open("a") as file:
            file.write(f"{number * number}\\n")

    square.expand(number=numbers())
"""

FAILING = """
from airflow.sdk import DAG, task

with DAG("failing", schedule=None):

    @task
    def fine(): ...

    @task
    def broken():
        raise RuntimeError("on purpose")

    fine() >> broken()
"""


@pytest.fixture(scope="module")
def metadata_url(server):
    with server.admin() as admin:
        admin.execute("DROP DATABASE IF EXISTS test_of_airflow WITH (FORCE)")
        admin.execute("CREATE DATABASE test_of_airflow OWNER airflow TEMPLATE template0")
        yield server.url("airflow", "test_of_airflow")
        admin.execute("DROP DATABASE test_of_airflow WITH (FORCE)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "dags").mkdir()
    (folder / "dags" / "squares.py").write_text(SQUARES)
    (folder / "dags" / "failing.py").write_text(FAILING)
    return folder


@pytest.fixture(scope="module")
def airflow(folder, metadata_url):
    process = AirflowProcess(folder, metadata_url, {"SQUARES_FILE": str(folder / "squares.txt")}, folder / "dags")
    process.migrate()
    with process:
        yield process
    assert list(processes.members([], f"AIRFLOW_HOME={folder}/airflow")) == []
    assert not any(str(folder) in line for line in _command_lines())
    with pytest.raises(httpx.ConnectError):
        httpx.get(process.address)


def _command_lines():
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended meanwhile
            continue


def test_a_run_gets_its_configuration_and_reports_progress(airflow, folder):
    seen = []
    run = airflow.run_dag("squares", {"numbers": [2, 3, 4]}, lambda ended, known: seen.append((ended, known)))
    assert run.state == "success"
    assert sorted(run.tasks) == ["numbers", "square[0]", "square[1]", "square[2]"]
    assert sorted((folder / "squares.txt").read_text().split()) == ["16", "4", "9"]
    assert seen[-1] == (4, 4)
    assert [ended for ended, _ in seen] == sorted(ended for ended, _ in seen)


def test_a_failed_run_names_its_task_and_its_logs(airflow):
    with pytest.raises(AirflowError, match=r"failing ended as failed \(broken\); logs are in .*/airflow/logs"):
        airflow.run_dag("failing")


def test_an_unknown_dag_is_said(airflow, monkeypatch):
    monkeypatch.setattr(airflow_module, "DAG_TIMEOUT_S", 1)
    with pytest.raises(AirflowError, match="There is no DAG missing in"):
        airflow.run_dag("missing")


def test_only_loopback_listens_and_the_api_wants_a_password(airflow):
    port = int(airflow.address.rpartition(":")[2])
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {fields[1] for fields in sockets if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert listening == {f"0100007F:{port:04X}"}
    assert httpx.get(f"{airflow.address}/api/v2/dags").status_code == 401
    guessed = {"username": "beachhead", "password": "beachhead"}
    assert httpx.post(f"{airflow.address}/auth/token", json=guessed).status_code == 401


def test_secrets_are_made_and_kept_private(airflow, folder):
    for name in ("keys.json", "passwords.json"):
        assert stat.S_IMODE((folder / "airflow" / name).stat().st_mode) == 0o600


def test_a_part_that_ends_at_once_is_said(folder, tmp_path):
    nowhere = AirflowProcess(tmp_path, "postgresql://airflow@127.0.0.1:9/airflow", {}, folder / "dags")
    with pytest.raises(
        AirflowError, match=r"Airflow's database could not be migrated; the reason is in .*migrate\.log"
    ):
        nowhere.migrate()
    with pytest.raises(AirflowError, match=r"Airflow's [a-z-]+ ended; the reason is in .*\.log"), nowhere:
        pass
    assert list(processes.members([], f"AIRFLOW_HOME={tmp_path}/airflow")) == []


def test_programs_that_ignore_the_request_to_end_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE_S", 0.3)
    stubborn = "trap '' TERM; setsid sleep 60 & echo ready; sleep 60"
    leader = processes.start(["sh", "-c", stubborn], {**os.environ, "MARKED": str(tmp_path)}, tmp_path / "log")
    while (tmp_path / "log").read_text() != "ready\n":
        time.sleep(0.01)
    assert len(list(processes.members([leader.pid], f"MARKED={tmp_path}"))) == 3
    processes.end([leader], f"MARKED={tmp_path}")
    assert leader.returncode == -signal.SIGKILL
    assert list(processes.members([leader.pid], f"MARKED={tmp_path}")) == []
