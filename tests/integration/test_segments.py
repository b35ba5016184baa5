"""Segments over a real database: pilots of one kind together, boundaries apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import programme_rows
import pytest
from httpx import Client
from serving import read_side


@pytest.fixture(scope="module")
def client(module_database: Any) -> Iterator[Client]:
    with module_database.connect() as owner:
        programme_rows.write(owner)
        owner.execute("UPDATE pilot SET segment = 'drayage' WHERE slug = 'tractors'")
    with read_side(module_database.url("beachhead_reader")) as address, Client(base_url=address) as client:
        yield client


def test_pilots_of_a_segment_add_up(client: Client) -> None:
    rows = {row["segment"]: row for row in client.get("/v1/segments").json()}
    assert set(rows) == {"drayage", "harbor-craft", "passenger-car", "transit-bus"}
    both = rows["drayage"]
    assert sorted(both["pilots"]) == ["harbor", "tractors"]
    assert both["totals"]["vehicles"] == 3
    assert both["totals"]["metrics"]["distance_km"]["value"] == 1200 + 400
    boundaries = {total["metric"]: total for total in both["totals"]["co2e_avoided"]}
    assert boundaries["co2e_avoided_tailpipe_vs_generation_kg"]["value"] == 1200 + 400
    assert rows["transit-bus"]["totals"]["metrics"]["distance_km"]["value"] is None, "missing is never zero"
    assert rows["harbor-craft"]["totals"]["co2e_avoided"][0]["value"] == -100, "negative results are shown"


def test_the_page_opens(client: Client) -> None:
    text = client.get("/segments").text
    assert "Harbor drayage" in text
    assert "Harbor craft" in text
