"""A running stack, and what a test does with it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from schemas.local.cluster import free_port
from tests.stack.engine import Engine
from tests.stack.images import CHECKOUT

ONE_SHOTS = ("migrate", "airflow-migrate")
RESULTS = ("vehicle_day", "trip", "charge_session", "state_spell", "pilot_day")
PATIENCE_S = 420


@dataclass
class Stack:
    """One compose project with secrets and ports of its own."""

    engine: Engine
    variables: Mapping[str, str]
    project: str
    secrets: Path
    ports: Mapping[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("RECEIVER", "ANALYTICS", "AIRFLOW")}
    )
    profiles: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What compose is started with."""
        ports = {f"STACK_{name}_PORT": str(port) for name, port in self.ports.items()}
        own = {
            "COMPOSE_PROJECT_NAME": self.project, "COMPOSE_ENV_FILES": str(self.secrets),
            "COMPOSE_PROFILES": self.profiles,
        }  # fmt: skip
        clean = {name: value for name, value in self.engine.environment.items() if not name.startswith("BEACHHEAD_")}
        return {**clean, **self.variables, **ports, **own}

    def address(self, name: str) -> str:
        """Where a published port answers."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def secret(self, name: str) -> str:
        """A generated secret."""
        lines = dict(line.split("=", 1) for line in self.secrets.read_text().splitlines())
        return lines[f"STACK_{name}"]

    def compose(self, *arguments: str, stdin: str = "", timeout_s: float = 600) -> str:
        """Run a command of compose in the checkout; what it printed."""
        return self.run("docker", "compose", *arguments, stdin=stdin, timeout_s=timeout_s)

    def run(self, *command: str, stdin: str = "", timeout_s: float = 600) -> str:
        """Run a program with this stack's variables; what it printed.

        Raises:
            RuntimeError: it failed.
        """
        done = subprocess.run(
            command, cwd=CHECKOUT, env=self.environment, input=stdin, capture_output=True, text=True, timeout=timeout_s
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Start what is missing, and wait until all is healthy."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", str(PATIENCE_S), *arguments)
        except RuntimeError as error:
            logs = self.compose("logs", "--no-color", "--tail", "15")
            raise RuntimeError(f"{error}\n{logs[-12_000:]}") from None

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """The containers, also ended ones, as the engine tells them."""
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        told: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return told

    def command(self, *arguments: str, volumes: Iterable[str] = ()) -> str:
        """Run the `beachhead` command beside the stack."""
        mounts = [part for volume in volumes for part in ("--volume", volume)]
        return self.compose("run", "--rm", "-T", "--no-deps", *mounts, "command", *arguments)

    def import_programme(self, file: Path) -> dict[str, str]:
        """Import a programme file; the new keys of its gateways, by the gateways' own names."""
        said = self.command("pilot", "import", "/programme.yaml", volumes=[f"{file}:/programme.yaml:ro"])
        lines = said.partition("shown this once:\n")[2].splitlines()
        keys = dict(line.split() for line in lines if line.strip())
        return {name.rpartition("/")[2]: key for name, key in keys.items()}

    def sql(self, statement: str, database: str = "beachhead") -> list[str]:
        """The rows of a statement that the superuser runs, columns parted by a bar."""
        options = "--host=127.0.0.1 --username=postgres --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1"
        inside = f"PGPASSWORD=$POSTGRES_PASSWORD exec psql {options} {database}"
        told = self.compose("exec", "-T", "timescaledb", "sh", "-euc", inside, stdin=statement)
        return [line for line in told.splitlines() if line]

    def cpu_s(self, *services: str) -> float:
        """Seconds of processor time that the running containers of these services have had."""
        transport = httpx.HTTPTransport(uds=self.engine.socket)
        with httpx.Client(transport=transport, base_url="http://engine", timeout=30) as client:
            asked = [
                client.get(f"/containers/{container['Id']}/stats?stream=false&one-shot=true").json()
                for service in services
                for container in self.containers(service)
            ]
        return sum(float(told["cpu_stats"]["cpu_usage"]["total_usage"]) for told in asked) / 1e9

    def get(self, path: str) -> httpx.Response:
        """What the read side answers, through the proxy."""
        return httpx.get(f"{self.address('ANALYTICS')}{path}", timeout=60, trust_env=False).raise_for_status()

    def figures(self, pilot: str) -> dict[str, Any]:
        """A pilot's summary over all it has."""
        told: dict[str, Any] = self.get(f"/v1/pilots/{pilot}/summary?from=2020-01-01&to=2030-01-01").json()
        return told["metrics"]  # type: ignore[no-any-return]


class Jobs:
    """The stack's Airflow, over its API."""

    def __init__(self, stack: Stack) -> None:
        self._address = stack.address("AIRFLOW")
        self._headers: dict[str, str] = {}
        said = {"username": "admin", "password": stack.secret("AIRFLOW_PASSWORD")}
        token = self._call("POST", "/auth/token", said)["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def start(self, dag: str = "recompute") -> str:
        """Trigger a run; its id."""
        return str(self._call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})["dag_run_id"])

    def tasks(self, run: str, dag: str = "recompute") -> list[dict[str, Any]]:
        """The run's mapped tasks."""
        told = self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances?limit=1000")
        return [task for task in told["task_instances"] if task["map_index"] >= 0]

    def finish(self, run: str, dag: str = "recompute", timeout_s: float = 300) -> list[dict[str, Any]]:
        """Wait for the run's end, which must be success; its mapped tasks."""
        wait_until(lambda: self._state(run, dag) not in ("queued", "running"), timeout_s)
        assert self._state(run, dag) == "success", self.tasks(run, dag)
        return self.tasks(run, dag)

    def is_idle(self, dag: str = "recompute") -> bool:
        """Whether no run of the DAG is under way or waits."""
        asked = f"/api/v2/dags/{dag}/dagRuns?state=running&state=queued"
        return int(self._call("GET", asked)["total_entries"]) == 0

    def _state(self, run: str, dag: str) -> str:
        return str(self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"])

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        answer = httpx.request(
            method, f"{self._address}{path}", json=body, headers=self._headers, timeout=60, trust_env=False
        )
        told: dict[str, Any] = answer.raise_for_status().json()
        return told


def wait_until(is_so: Callable[[], bool], timeout_s: float, every_s: float = 0.5) -> None:
    """Wait until something is so."""
    until = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"not so within {timeout_s} s")
        time.sleep(every_s)


def mark_all(stack: Stack) -> None:
    """Take all results away, and mark all that is stored as not yet computed."""
    stack.sql(
        f"TRUNCATE {', '.join((*RESULTS, 'history_day', 'stale_mark'))};"
        "INSERT INTO stale_mark (vehicle_id, from_time, to_time, cause)"
        " SELECT vehicle_id, min(time), max(time), 'test' FROM telemetry GROUP BY vehicle_id;"
    )


@contextmanager
def running(engine: Engine, variables: Mapping[str, str], secrets: Path, profiles: str = "") -> Iterator[Stack]:
    """A healthy stack with secrets of its own; taken down with its data at the end."""
    # A name that two checkouts, or two runs, do not share.
    stack = Stack(engine, variables, f"beachhead-test-{os.getpid()}", secrets, profiles=profiles)
    stack.run("docker/secrets", str(secrets))
    try:
        stack.up()
        yield stack
    finally:
        stack.profiles = "scale,observe,command"
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")
