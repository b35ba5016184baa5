"""Bytes that are older than they are to be kept go; what they would be needed for is refused, and nothing else."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from typing import Any

import pytest
from receiver_kit import on_both
from test_corrections import Place, Upload, log_of, place, rows_of, stored

from ingest import expiry
from ingest.expiry import Expiry
from ingest.landing import Landing, landing_of
from schemas.errors import ExpiredError

__all__ = ["place"]
NOW = dt.datetime.now(dt.UTC)


def age(place: Place, days: float, *ids: uuid.UUID) -> None:
    """Let uploads have come so many days ago."""
    with place.database.connect() as owner:
        came = NOW - dt.timedelta(days=days)
        owner.execute("UPDATE upload SET received_at = %s WHERE id = ANY(%s)", [came, list(ids)])


def expire(place: Place, days: float = 10) -> int:
    steps = Expiry.of(place.corrections.engine, place.corrections.settings).expire(NOW - dt.timedelta(days=days))
    return sum(step.uploads for step in steps)


def kept(place: Place) -> dict[str, set[Any]]:
    with place.database.connect() as owner:
        bodies = {id_ for (id_,) in owner.execute("SELECT upload_id FROM upload_body")}
        gone = {id_ for (id_,) in owner.execute("SELECT id FROM upload WHERE expired_at IS NOT NULL")}
    objects = landing_of(place.corrections.settings).objects
    with place.database.connect() as owner:
        keys = {key for row in owner.execute("SELECT landing_key, signals_key FROM upload_log") for key in row if key}
    files = set()
    for key in keys:
        files |= {entry.key for entry in objects.under(key.rpartition("/")[0]) if entry.key == key}
    return {"bodies": bodies, "gone": gone, "files": files}


def rows(first: int, last: int, seed: int = 0) -> Upload:
    return Upload(rows_of(first, last, seed, ("speed_kmh",)), False)


@on_both
def test_what_is_old_goes_and_the_rest_stays(place: Place) -> None:
    old, old_log = rows(0, 5).push(place.pusher), Upload(log_of(100, 110, 0, "s"), True).push(place.pusher)
    young, young_log = rows(10, 15).push(place.pusher), Upload(log_of(200, 210, 0, "s"), True).push(place.pusher)
    age(place, 11, old, old_log)
    age(place, 9, young, young_log)
    before = stored(place.database)
    assert expire(place) == 2
    found = kept(place)
    assert found["bodies"] == {young}
    assert found["gone"] == {old, old_log}
    with place.database.connect() as owner:
        ((raw, signals),) = owner.execute(
            "SELECT landing_key, signals_key FROM upload_log WHERE upload_id = %s", [young_log]
        ).fetchall()
    assert found["files"] == {key for key in (raw, signals) if key}
    assert stored(place.database) == before
    assert expire(place) == 0


def test_what_came_again_is_still_a_duplicate(place: Place) -> None:
    one, log = rows(0, 5), Upload(log_of(100, 110, 0, "s"), True)
    ids = [one.push(place.pusher), log.push(place.pusher)]
    age(place, 11, *ids)
    assert expire(place) == 2
    answers = [
        place.pusher.post(one.body, "application/x-ndjson"),
        place.pusher.post(log.body, "application/octet-stream", path="/v1/can-logs?vehicle=truck-01"),
    ]
    assert [answer.json()["status"] for answer in answers] == ["duplicate"] * 2
    assert kept(place)["bodies"] == kept(place)["files"] == set()


def test_a_file_that_a_younger_upload_has_too_stays(place: Place) -> None:
    body = log_of(0, 10, 0, "s")
    ids = []
    for query in ("vehicle=truck-01", "vehicle=truck-01&channel=can0"):
        answer = place.pusher.post(body, "application/octet-stream", path=f"/v1/can-logs?{query}")
        assert answer.status_code == 200, answer.text
        ids.append(uuid.UUID(answer.json()["upload_id"]))
    age(place, 11, ids[0])
    assert expire(place) == 1
    with place.database.connect() as owner:
        ((raw,),) = owner.execute("SELECT DISTINCT landing_key FROM upload_log").fetchall()
    assert raw in kept(place)["files"]
    age(place, 11, ids[1])
    assert expire(place) == 1
    assert kept(place)["files"] == set()


def test_a_correction_that_needs_what_is_gone_is_refused_and_changes_nothing(place: Place) -> None:
    old, beside = rows(0, 50).push(place.pusher), rows(40, 90, 1).push(place.pusher)
    apart = rows(500, 510).push(place.pusher)
    age(place, 11, old)
    assert expire(place) == 1
    before = stored(place.database)
    for refused in (
        lambda: place.corrections.void(beside, None),
        lambda: place.corrections.retry(beside),
        lambda: place.corrections.shift(beside, 5),
        lambda: place.corrections.shift(apart, -480),
        lambda: place.corrections.retry(old),
    ):
        with pytest.raises(ExpiredError, match=f"upload {old} are not kept any more"):
            refused()
        assert stored(place.database) == before
    with place.database.connect() as owner:
        assert owner.execute("SELECT count(*) FROM upload WHERE status <> 'loaded' OR shift_s <> 0").fetchone() == (0,)
    place.corrections.void(apart, None)
    assert len(stored(place.database)["rows"]) == len(before["rows"]) - 10


def test_what_is_gone_itself_may_be_taken_back(place: Place) -> None:
    old = rows(0, 50).push(place.pusher)
    age(place, 11, old)
    assert expire(place) == 1
    place.corrections.void(old, None)
    assert stored(place.database)["rows"] == []
    with pytest.raises(ExpiredError, match=str(old)):
        place.corrections.retry(old)


def test_logs_beside_one_that_is_gone(place: Place) -> None:
    old = Upload(log_of(0, 30, 0, "sp"), True).push(place.pusher)
    age(place, 11, old)
    assert expire(place) == 1
    before = stored(place.database)
    with pytest.raises(ExpiredError, match=str(old)):
        list(place.corrections.redecode([old]))
    answer = place.pusher.post(log_of(29, 40, 1, "s"), "application/octet-stream", path="/v1/can-logs?vehicle=truck-01")
    assert answer.status_code == 422
    assert str(old) in answer.json()["detail"]
    assert not answer.json()["retryable"]
    assert not [path for path in (place.landing / "raw").rglob("*") if path.is_file()]
    assert stored(place.database) == before
    Upload(log_of(300, 310, 0, "s"), True).push(place.pusher)


def test_killed_half_way_it_is_finished_by_the_next(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(0)
    ids = [Upload(log_of(n * 300, n * 300 + 5, 0, "s"), True).push(place.pusher) for n in range(5)]
    age(place, 11, *ids)
    monkeypatch.setattr(expiry, "AT_ONCE", 2)
    forget, left = Landing.forget, [dice.randrange(1, 4)]

    def dying(self: Landing, key: str) -> None:
        if not left[0]:
            raise RuntimeError("killed")
        left[0] -= 1
        forget(self, key)

    monkeypatch.setattr(Landing, "forget", dying)
    with pytest.raises(RuntimeError, match="killed"):
        expire(place)
    monkeypatch.setattr(Landing, "forget", forget)
    expire(place)
    assert kept(place) == {"bodies": set(), "files": set(), "gone": set(ids)}


def test_by_command(place: Place) -> None:
    old = rows(0, 5).push(place.pusher)
    age(place, 11, old)
    assert "not set" in place.command("upload", "expire")
    assert "Of 0 uploads" in place.command("upload", "expire", "--days", "12")
    assert "Of 1 uploads" in place.command("upload", "expire", "--days", "10")
