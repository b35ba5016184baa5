"""Tests get their database in a container too, where an engine and an image are."""

from __future__ import annotations

import subprocess
import sys

from tests.stack.engine import Engine
from tests.stack.images import CHECKOUT

CHOSEN = ("tests/integration/test_migrations.py", "tests/integration/test_loader.py")


def test_chosen_tests_pass_on_a_database_by_testcontainers(engine: Engine, built: dict[str, str]) -> None:
    image = built.get("STACK_TIMESCALEDB_IMAGE", "timescale/timescaledb:2.19.3-pg17")
    own = {name: value for name, value in engine.environment.items() if not name.startswith("BEACHHEAD_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", *CHOSEN], cwd=CHECKOUT, capture_output=True, text=True,
        env=own | {"BEACHHEAD_TIMESCALEDB_IMAGE": image},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "database: a container" in done.stdout
