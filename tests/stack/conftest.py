"""An engine, images and a running stack for whoever asks; without an engine the tests here skip and say why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.demo.pushing import FleetPush
from tests.stack import images
from tests.stack.engine import Engine, NoEngineError, some_engine
from tests.stack.images import CHECKOUT
from tests.stack.stack import Stack, project_name

PROGRAMME = CHECKOUT / "pipelines" / "demo" / "programme.yaml"
DAYS = 1


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One that answers, or, where `make test-stack` asks for it, one of our own."""
    try:
        with some_engine(CHECKOUT / ".beachhead" / "engine", may_start="BEACHHEAD_TEST_ENGINE" in os.environ) as engine:
            yield engine
    except NoEngineError as error:
        pytest.skip(f"the stack is not tested: {error}")


@pytest.fixture(scope="session")
def built(engine: Engine) -> dict[str, str]:
    """The images, by the variables that name them."""
    try:
        return images.build(engine)
    except NoEngineError as error:
        pytest.skip(f"the stack is not tested: {error}")


@pytest.fixture(scope="session")
def stack(engine: Engine, built: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, healthy; taken down with its data at the end."""
    secrets: Path = tmp_path_factory.mktemp("stack") / "env"
    stack = Stack(engine, {**built, "STACK_TASK_HEARTBEAT_TIMEOUT_S": "20"}, project_name(), secrets)
    stack.run("docker/secrets", str(secrets))
    try:
        stack.up()
        yield stack
    finally:
        stack.profiles = "scale,observe"
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")


@pytest.fixture(scope="session")
def keys(stack: Stack) -> dict[str, str]:
    """The keys of the demonstration's gateways, as the import of its programme prints them."""
    said = stack.command("pilot", "import", "/programme.yaml", volumes=[f"{PROGRAMME}:/programme.yaml:ro"])
    lines = said.partition("shown this once:\n")[2].splitlines()
    keys = dict(line.split() for line in lines if line.strip())
    return {name.rpartition("/")[2]: key for name, key in keys.items()}


@pytest.fixture(scope="session")
def fleet(stack: Stack, keys: dict[str, str]) -> FleetPush:
    """The demonstration's fleet, its first days sent through the proxy."""
    fleet = FleetPush(stack.address("RECEIVER"), keys, DAYS, None)
    fleet.in_time(lambda share: None)
    return fleet
