"""The whole stack on a Docker engine: what gateways send is on the pages, after restarts, and after a restore too.

The tests are one story and run in this order.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest

from pipelines.demo.pushing import FleetPush
from tests.stack.stack import ONE_SHOTS, Jobs, Stack, wait_until

PILOT = "long-beach-drayage"


def test_secrets_are_made_once_and_are_private(stack: Stack) -> None:
    before = stack.secrets.read_text()
    stack.run("docker/secrets", str(stack.secrets))
    assert stack.secrets.read_text() == before
    assert stat.S_IMODE(stack.secrets.stat().st_mode) == 0o600
    values = [line.partition("=")[2] for line in before.splitlines()]
    assert len(set(values)) == len(values) >= 12
    assert min(map(len, values)) >= 24


def test_without_secrets_nothing_starts(stack: Stack, tmp_path: Path) -> None:
    nothing = Stack(stack.engine, stack.variables, "beachhead-none", tmp_path / "env")
    nothing.secrets.touch()
    with pytest.raises(RuntimeError, match="run make up, which makes it"):
        nothing.compose("config", "--quiet")


def test_everything_is_healthy_and_the_one_shots_have_ended(stack: Stack) -> None:
    states = {c["Config"]["Labels"]["com.docker.compose.service"]: c["State"] for c in stack.containers()}
    assert {states[name]["ExitCode"] for name in ONE_SHOTS} == {0}
    others = {name: state for name, state in states.items() if name not in ONE_SHOTS}
    assert {name for name, state in others.items() if state["Health"]["Status"] != "healthy"} == set()
    assert len(others) == 8
    assert _answers(stack)


def test_containers_may_do_little(stack: Stack) -> None:
    for container in stack.containers():
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] not in ("", "0", "root"), name
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False), name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert min(host["Memory"], host["PidsLimit"]) > 0, name
        published = [b["HostIp"] for bindings in (host["PortBindings"] or {}).values() for b in bindings]
        assert set(published) <= {"127.0.0.1"}, name


def test_the_write_side_carries_no_airflow(stack: Stack) -> None:
    asked = "import importlib.util as u; print(u.find_spec('airflow'), u.find_spec('ingest') is not None)"
    said = stack.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "command", "-c", asked)
    assert said.split() == ["None", "True"]


def test_what_was_sent_is_computed_and_shown(stack: Stack, fleet: FleetPush) -> None:
    jobs = Jobs(stack)
    wait_until(jobs.is_idle, 300)
    tasks = jobs.finish(jobs.start())
    assert len(tasks) <= 6  # a scheduled run may have come first
    wait_until(lambda: stack.sql("SELECT count(*) FROM stale_mark") == ["0"], 120)
    assert stack.sql("SELECT count(*) FROM telemetry") == [str(fleet.tally["accepted"])]
    figures = stack.figures(PILOT)
    assert figures["distance_km"]["value"] > 100
    page = stack.get(f"/pilots/{PILOT}").text
    assert "Long Beach" in page
    assert "truck-01" in page


def test_gateways_and_people_are_kept_apart(stack: Stack) -> None:
    assert httpx.get(f"{stack.address('RECEIVER')}/v1/gateway", trust_env=False).status_code == 401
    assert httpx.get(f"{stack.address('RECEIVER')}/v1/pilots", trust_env=False).status_code == 404
    assert httpx.get(f"{stack.address('AIRFLOW')}/api/v2/dags", trust_env=False).status_code == 401
    assert httpx.get(f"{stack.address('RECEIVER')}/metrics", trust_env=False).status_code == 404


def test_services_that_are_restarted_go_on_where_they_were(stack: Stack, fleet: FleetPush) -> None:
    before, rows = stack.figures(PILOT), stack.sql("SELECT count(*) FROM telemetry")
    services = ("timescaledb", "receiver", "analytics", "airflow-scheduler")
    stack.compose("restart", "--timeout", "20", *services)
    stack.up("--no-deps", *services)
    wait_until(lambda: _answers(stack), 60)
    assert stack.figures(PILOT) == before
    assert stack.sql("SELECT count(*) FROM telemetry") == rows


def test_a_backup_brings_back_what_was_lost(stack: Stack, fleet: FleetPush, tmp_path: Path) -> None:
    before, rows = stack.figures(PILOT), stack.sql("SELECT count(*), sum(speed_kmh)::numeric(20, 3) FROM telemetry")
    stack.run("docker/backup", str(tmp_path / "backup"))
    stack.sql("DELETE FROM telemetry; DELETE FROM vehicle_day; DELETE FROM pilot_day;")
    assert stack.figures(PILOT) != before
    stack.run("docker/restore", str(tmp_path / "backup"))
    wait_until(lambda: _answers(stack), 60)
    assert stack.figures(PILOT) == before
    assert stack.sql("SELECT count(*), sum(speed_kmh)::numeric(20, 3) FROM telemetry") == rows
    # It is a TimescaleDB still, and roles may do what they may.
    assert int(stack.sql("SELECT count(*) FROM timescaledb_information.chunks")[0]) > 0
    fleet.late(lambda share: None)
    assert int(stack.sql("SELECT count(*) FROM telemetry")[0]) >= int(rows[0].split("|")[0])


def test_half_a_backup_is_refused(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "landing.tar").touch()
    with pytest.raises(RuntimeError, match="no whole backup"):
        stack.run("docker/restore", str(tmp_path))


def test_with_a_certificate_the_proxy_speaks_tls_alone(stack: Stack, tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    stack.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
              "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
              "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"))  # fmt: skip
    pem.write_text((tmp_path / "cert").read_text() + (tmp_path / "key").read_text())
    pem.chmod(0o644)  # the proxy is another user
    plain, stack.variables = stack.variables, {**stack.variables, "STACK_TLS_PEM": str(pem)}
    try:
        stack.up("--no-deps", "proxy")
        address = stack.address("RECEIVER").replace("http:", "https:")
        wait_until(lambda: _speaks_tls(address, tmp_path / "cert"), 60)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{stack.address('RECEIVER')}/healthz", trust_env=False)
    finally:
        stack.variables = plain
        stack.up("--no-deps", "proxy")
        wait_until(lambda: _answers(stack), 60)


def test_the_log_of_a_receiver_is_json_without_secrets(stack: Stack) -> None:
    httpx.post(f"{stack.address('RECEIVER')}/v1/telemetry", headers={"Authorization": "Bearer no"}, trust_env=False)
    lines = stack.compose("logs", "--no-color", "--no-log-prefix", "receiver").splitlines()
    # Compose may set signs for a terminal before a line.
    said = [json.loads(line[line.index("{") :]) for line in lines if '{"' in line]
    assert any(line.get("path") == "/v1/telemetry" for line in said)
    assert stack.secret("INGEST_PASSWORD") not in "".join(lines)


def _answers(stack: Stack) -> bool:
    try:
        receiver = httpx.get(f"{stack.address('RECEIVER')}/readyz", trust_env=False)
        return receiver.is_success and httpx.get(f"{stack.address('ANALYTICS')}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _speaks_tls(address: str, certificate: Path) -> bool:
    import ssl

    try:
        trusted = ssl.create_default_context(cafile=str(certificate))
        return httpx.get(f"{address}/readyz", verify=trusted, trust_env=False).is_success
    except httpx.TransportError:
        return False
