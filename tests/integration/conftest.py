"""A receiver with a small world of pilots, vehicles and keys, for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from receiver_kit import Client, Pusher, World, empty, make_world, receiving


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
