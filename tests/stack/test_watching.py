"""What Prometheus and Grafana are given: rules that say what they should, queries that ask for what there is."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from schemas.local.cluster import free_port
from tests.stack.engine import Engine
from tests.stack.images import CHECKOUT
from tests.stack.stack import Stack, wait_until

FOLDER = CHECKOUT / "docker" / "prometheus"
DASHBOARDS = sorted((CHECKOUT / "docker" / "grafana" / "dashboards").glob("*.json"))
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text())
NAMES = re.compile(r"\b(?:beachhead|haproxy)_[a-z_]+|\bup\b")


def queries() -> list[str]:
    """Every query of every dashboard, with Grafana's own variable filled in."""
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    asked = [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "5m") for query in asked]


def promtool(engine: Engine, built: dict[str, str], folder: Path, *arguments: str) -> str:
    image = built.get("STACK_PROMETHEUS_IMAGE", "prom/prometheus:v2.53.3")
    return engine.docker(
        "run", "--rm", "--network=none", "--volume", f"{folder}:/given:ro", "--workdir=/given",
        "--entrypoint=promtool", image, *arguments,
    )  # fmt: skip


def write(path: Path, rules: list[dict[str, str]]) -> None:
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))


def test_each_alert_comes_when_it_should_and_only_then(engine: Engine, built: dict[str, str]) -> None:
    assert "SUCCESS" in promtool(engine, built, FOLDER, "test", "rules", "alerts.test.yml")
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    alerts = {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
    for case in tests:
        assert {test["alertname"] for test in case["alert_rule_test"]} == alerts, case["name"]


def test_queries_of_dashboards_are_valid(engine: Engine, built: dict[str, str], tmp_path: Path) -> None:
    rules = [{"record": f"asked:{n}", "expr": query} for n, query in enumerate(queries())]
    assert len(rules) > 10
    tmp_path.chmod(0o755)  # promtool is another user
    write(tmp_path / "rules.yml", rules)
    assert f"{len(rules)} rules found" in promtool(engine, built, tmp_path, "check", "rules", "rules.yml")
    write(tmp_path / "rules.yml", [{"record": "wrong", "expr": "sum("}])
    with pytest.raises(RuntimeError):
        promtool(engine, built, tmp_path, "check", "rules", "rules.yml")


def test_prometheus_finds_all_that_rules_and_dashboards_ask_for(stack: Stack, keys: dict[str, str]) -> None:
    stack.ports = {**stack.ports, "PROMETHEUS": free_port()}
    before, stack.profiles = stack.profiles, "observe"
    asked = {
        name.removesuffix("_bucket") if name.endswith("_seconds_bucket") else name
        for text in [*queries(), *(rule["expr"] for group in RULES["groups"] for rule in group["rules"])]
        for name in NAMES.findall(text)
    }
    try:
        # So that there is something to count.
        row = {"time": time.time() - 60, "vehicle": "truck-01", "speed_kmh": 5}
        headers = {"Authorization": f"Bearer {keys['lb-gw-01']}"}
        address = f"{stack.address('RECEIVER')}/v1/telemetry"
        httpx.post(address, json=[row], headers=headers, timeout=60, trust_env=False).raise_for_status()
        stack.compose("up", "--detach", "--no-deps", "prometheus")
        wait_until(lambda: not _missing(stack, asked), 90, every_s=2)
    except TimeoutError:
        raise AssertionError(_missing(stack, asked)) from None
    finally:
        stack.compose("rm", "--stop", "--force", "prometheus")
        stack.profiles = before


def _missing(stack: Stack, asked: set[str]) -> set[str]:
    try:
        told = httpx.get(f"{stack.address('PROMETHEUS')}/api/v1/label/__name__/values", trust_env=False).json()["data"]
    except httpx.TransportError:
        return asked
    return {name for name in asked if not any(given in (name, f"{name}_bucket") for given in told)}
