"""A real Airflow on this machine: scheduler, DAG processor and API server, and nothing of them left afterwards.

`airflow standalone` would start a triggerer and log servers too, on fixed ports and all interfaces; here each part is
started by itself, on loopback, with secrets of its own.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from pipelines import processes
from schemas.errors import LocalServerError
from schemas.local.cluster import HOST, free_port
from schemas.memory import HUGE_PAGES

PROJECT_DAGS = Path(__file__).resolve().parents[1] / "dags"
PARALLELISM = 2
HEALTH_TIMEOUT_S = 180.0
DAG_TIMEOUT_S = 60.0
POLL_S = 0.3
API_TIMEOUT_S = 60.0  # a busy machine may take its time
USER = "beachhead"
COMPONENTS = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}

# Called with the tasks that have ended and the tasks known so far: mapped tasks appear as they are mapped.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class DagRun:
    """One finished run: its end state, the state of each task instance, and its duration in seconds."""

    dag_id: str
    run_id: str
    state: str
    tasks: dict[str, str]
    duration_s: float


class AirflowError(LocalServerError):
    """Airflow on this machine did not start, or a run did not succeed."""


class AirflowProcess:
    """A running Airflow. Use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        metadata_url: str,
        environment: Mapping[str, str] | None = None,
        dags_folder: Path = PROJECT_DAGS,
    ) -> None:
        """Describe an Airflow whose files lie in `folder/airflow` and whose metadata lies in a database of its own.

        `environment` is added to that of its tasks.
        """
        self.home = folder.resolve() / "airflow"
        self._metadata_url = metadata_url.replace("postgresql://", "postgresql+psycopg://", 1)
        self._environment = dict(environment or {})
        self._dags_folder = dags_folder.resolve()
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._port = 0
        self._api = httpx.Client(timeout=API_TIMEOUT_S, trust_env=False)  # a proxy is not for loopback

    @property
    def address(self) -> str:
        """Return the address of the API and the pages."""
        return f"http://{HOST}:{self._port}"

    def migrate(self) -> None:
        """Bring the metadata database up to date. May run beside other work before the start."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = self.home / "migrate.log"
        with log.open("wb") as output:
            command = [*_airflow(), "db", "migrate"]
            done = subprocess.run(
                command, env=self._variables(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        if done.returncode:
            raise AirflowError(f"Airflow's database could not be migrated; the reason is in {log}.")

    def __enter__(self) -> Self:
        """Start all parts and wait until they are healthy."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        processes.end([], self._marker())  # what a killed run may have left
        self._port = free_port()
        try:
            for name, arguments in COMPONENTS.items():
                log = self.home / f"{name}.log"
                self._parts[name] = processes.start([*_airflow(), *arguments], self._variables(), log)
            self._wait_until_healthy()
            self._log_in()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all parts and their children."""
        self._stop()

    def run_dag(
        self,
        dag_id: str,
        conf: Mapping[str, object] | None = None,
        on_progress: OnProgress | None = None,
        timeout_s: float = 1800.0,
    ) -> DagRun:
        """Trigger a DAG, wait for its end and return the run.

        Raises `AirflowError` when the DAG cannot be loaded, the run fails or takes longer than `timeout_s`.
        """
        self._wait_for_dag(dag_id)
        begun = time.monotonic()
        body = {"logical_date": None, "conf": dict(conf or {})}
        run_id = str(self._call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])
        state = "queued"
        tasks: dict[str, str] = {}
        while state in ("queued", "running"):
            if time.monotonic() - begun > timeout_s:
                raise AirflowError(
                    f"The run of {dag_id} did not end within {timeout_s:.0f} s; logs are in {self.home}."
                )
            time.sleep(POLL_S)
            self._require_alive()
            state = str(self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
            tasks = self._task_states(dag_id, run_id)
            if on_progress is not None:
                on_progress(sum(_is_finished(task) for task in tasks.values()), len(tasks))
        run = DagRun(dag_id, run_id, state, tasks, time.monotonic() - begun)
        if state != "success":
            raise AirflowError(self._failure(run))
        return run

    def _variables(self) -> dict[str, str]:
        """Return the environment of every part: ours without another Airflow's settings, then our own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        # Airflow's imports take seconds; without byte code they would take them in every process again.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        keys = self._keys()
        options = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags_folder),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": keys["fernet"],
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # looks nothing up
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._metadata_url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "4",
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__BASE_URL": self.address,
            "AIRFLOW__API__SECRET_KEY": keys["api"],
            "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        name, _, home = self._marker().partition("=")
        path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
        return {**HUGE_PAGES, **inherited, **self._environment, **options, name: home, "PATH": path}

    def _marker(self) -> str:
        return f"AIRFLOW_HOME={self.home}"

    def _keys(self) -> dict[str, str]:
        """Return this Airflow's secrets, made on first use and kept in a file only its owner may read."""
        path = self.home / "keys.json"
        if not path.exists():
            fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            made = {"fernet": fernet, "api": secrets.token_urlsafe(32), "jwt": secrets.token_urlsafe(64)}
            _write_private(self.home / "passwords.json", {USER: secrets.token_urlsafe(24)})
            _write_private(path, made)
        keys: dict[str, str] = json.loads(path.read_text())
        return keys

    def _wait_until_healthy(self) -> None:
        for _ in _until(HEALTH_TIMEOUT_S):
            self._require_alive()
            if self._is_healthy():
                return
        raise AirflowError(f"Airflow was not ready within {HEALTH_TIMEOUT_S:.0f} s; its logs are in {self.home}.")

    def _is_healthy(self) -> bool:
        try:
            answer = self._api.get(f"{self.address}/api/v2/monitor/health")
        except httpx.TransportError:
            return False
        if answer.status_code != httpx.codes.OK:
            return False
        parts: dict[str, dict[str, Any]] = answer.json()
        return all(parts[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))

    def _require_alive(self) -> None:
        for name, process in self._parts.items():
            if process.poll() is not None:
                raise AirflowError(f"Airflow's {name} ended; the reason is in {self.home / name}.log.")

    def _log_in(self) -> None:
        password = json.loads((self.home / "passwords.json").read_text())[USER]
        answer = self._api.post(f"{self.address}/auth/token", json={"username": USER, "password": password})
        answer.raise_for_status()
        self._api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _wait_for_dag(self, dag_id: str) -> None:
        for _ in _until(DAG_TIMEOUT_S):
            self._require_alive()
            if self._api.get(f"{self.address}/api/v2/dags/{dag_id}").status_code == httpx.codes.OK:
                return
            faults = self._call("GET", "/importErrors")["import_errors"]
            if faults:
                raise AirflowError(f"A DAG file cannot be loaded: {faults[0]['filename']}: {faults[0]['stack_trace']}")
        raise AirflowError(f"There is no DAG {dag_id} in {self._dags_folder}.")

    def _task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        found = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000")["task_instances"]
        return {_task_name(task): str(task["state"]) for task in found}

    def _failure(self, run: DagRun) -> str:
        failed = ", ".join(name for name, state in run.tasks.items() if state == "failed") or "no task failed"
        return f"The run of {run.dag_id} ended as {run.state} ({failed}); logs are in {self.home}/logs."

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        answer = self._api.request(method, f"{self.address}/api/v2{path}", json=body)
        if answer.is_error:
            raise AirflowError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        content: dict[str, Any] = answer.json()
        return content

    def _stop(self) -> None:
        processes.end(list(self._parts.values()), self._marker())
        self._parts.clear()
        self._api.close()


@contextmanager
def migrating(airflow: AirflowProcess) -> Iterator[None]:
    """Migrate Airflow's database while the block runs; wait for it, and raise its error, at the block's end."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(airflow.migrate)
        yield
        migration.result()


def _airflow() -> list[str]:
    return [sys.executable, "-m", "airflow"]


def _write_private(path: Path, content: Mapping[str, str]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(dict(content), file)


def _until(timeout_s: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        yield
        time.sleep(POLL_S)


def _is_finished(state: str) -> bool:
    return state in ("success", "failed", "skipped", "upstream_failed", "removed")


def _task_name(task: Mapping[str, Any]) -> str:
    return str(task["task_id"]) if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"
