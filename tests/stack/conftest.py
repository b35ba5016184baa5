"""An engine, images and a running stack for whoever asks; without an engine the tests here skip and say why."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from pipelines.demo.pushing import FleetPush
from tests.stack import images
from tests.stack.engine import Engine, NoEngineError, some_engine
from tests.stack.images import CHECKOUT
from tests.stack.stack import Stack, running

PROGRAMME = CHECKOUT / "pipelines" / "demo" / "programme.yaml"
DAYS = 1
BUDGET_S = float(os.environ.get("BEACHHEAD_STACK_BUDGET_S", "inf"))
BEGAN = time.monotonic()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Where time is short, say so before anything is started, and leave the rest for when there is more."""
    if time.monotonic() - BEGAN > BUDGET_S:
        pytest.skip(f"the {BUDGET_S:.0f} s for the stack are used up")


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
    variables = {**built, "STACK_TASK_HEARTBEAT_TIMEOUT_S": "20"}
    with running(engine, variables, tmp_path_factory.mktemp("stack") / "env") as stack:
        yield stack


@pytest.fixture(scope="session")
def keys(stack: Stack) -> dict[str, str]:
    """The keys of the demonstration's gateways, as the import of its programme prints them."""
    return stack.import_programme(PROGRAMME)


@pytest.fixture(scope="session")
def fleet(stack: Stack, keys: dict[str, str]) -> FleetPush:
    """The demonstration's fleet, its first days sent through the proxy."""
    fleet = FleetPush(stack.address("RECEIVER"), keys, DAYS, None)
    fleet.in_time(lambda share: None)
    return fleet
