"""A receiver with a small world of pilots, vehicles and keys, for whoever asks."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from receiver_kit import Client, Pusher, World, empty, make_world, receiving

from tests.s3_server import S3Server


@pytest.fixture(scope="module")
def made(module_database: Any) -> World:
    return make_world(module_database)


@pytest.fixture
def world(made: World, module_database: Any) -> World:
    empty(module_database)
    return made


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with receiving(world) as client:
        yield client


@pytest.fixture
def both(client: Client, world: World) -> Pusher:
    return Pusher(client, world.keys["both"])


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"), secrets.token_hex(16))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def landing_settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A landing store of the test's own: in a folder, or by `on_both` in a bucket as well."""
    if getattr(request, "param", "file") == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        return server.settings(f"tests/{uuid.uuid4().hex}", tmp_path / "landing")
    return {"landing_url": f"file://{tmp_path}/landing"}
