"""docker-compose.yml holds what it promises, also where no engine is there to ask."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.memory import HUGE_PAGES

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
SECRET = re.compile(r"\$\{(STACK_[A-Z_]*(?:PASSWORD|SECRET|FERNET_KEY))(.*?)\}")


def made(file: Path) -> dict[str, str]:
    subprocess.run([CHECKOUT / "docker" / "secrets", file], check=True)
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_every_secret_is_required_and_made(tmp_path: Path) -> None:
    used = SECRET.findall(TEXT)
    assert {how for _, how in used} == {":?run make up, which makes it"}
    assert {name for name, _ in used} <= set(made(tmp_path / "env"))


def test_secrets_are_made_once_each_its_own_and_private(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("STACK_OWNER_PASSWORD=mine\n")
    first = made(file)
    assert made(file) == first
    assert first.pop("STACK_OWNER_PASSWORD") == "mine"
    assert len(set(first.values())) == len(first)
    assert min(map(len, first.values())) >= 24
    assert all(re.fullmatch(r"[\w=-]+", value) for value in first.values())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name != "command":  # one that a person runs
        assert {"memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    for port in service.get("ports", []):
        assert re.match(r"(\$\{STACK_\w*PUBLISH:-)?127\.0\.0\.1", port)


def test_images_are_pinned() -> None:
    images = {service["image"] for service in SERVICES.values()}
    for image in images:
        default = re.fullmatch(r"\$\{\w+:-(.+)\}", image)
        assert image.startswith("beachhead-") or (default and re.search(r":v?\d+\.\d+", default[1])), image


@pytest.mark.parametrize("name", ["airflow-scheduler", "airflow-worker"])
def test_what_computes_has_large_pages(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert HUGE_PAGES.items() <= environment.items()


def test_the_database_has_no_way_out() -> None:
    assert yaml.safe_load(TEXT)["networks"]["data"] == {"internal": True}
    assert SERVICES["timescaledb"]["networks"] == ["data"]
    assert "ports" not in SERVICES["timescaledb"]
