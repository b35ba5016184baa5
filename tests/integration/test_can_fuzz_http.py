"""Broken logs through the receiver: taken in or refused, never an error of ours, never a file left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from receiver_kit import Pusher, make_world, receiving

from ingest.can.formats import FORMATS
from tests import campaign
from tests.can_logs import fuzz

EACH = campaign.size(5, 500)
PATH = "/v1/can-logs?vehicle=truck-01&start=2026-01-06T08:00:00Z&tz=UTC&format="
ANSWERS = {200, 400, 413, 415, 422}


@pytest.fixture(scope="module")
def receiver(module_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    landing = tmp_path_factory.mktemp("landing")
    world = make_world(module_database)
    with receiving(world, landing_url=f"file://{landing}", gateway_requests_per_s=0) as client:
        yield Pusher(client, world.keys["one"]), landing, module_database


@pytest.mark.long
@pytest.mark.timeout(campaign.size(120, 3600))
@pytest.mark.parametrize("name", list(FORMATS))
def test_broken_logs_over_http(receiver: tuple[Pusher, Path, Any], name: str) -> None:
    pusher, landing, database = receiver
    said = []
    for number in range(EACH):
        answer = pusher.post(fuzz.case(name, number), "application/octet-stream", path=PATH + name)
        assert answer.status_code in ANSWERS, f"case {number}: {answer.status_code} {answer.text}"
        said.append(answer.status_code)
    assert 200 in said
    with database.connect() as owner:
        kept = {key for (key,) in owner.execute("SELECT landing_key FROM upload_log")}
    assert {str(file.relative_to(landing)) for file in (landing / "raw").rglob("*") if file.is_file()} == kept
    assert not list((landing / "incoming").iterdir())
