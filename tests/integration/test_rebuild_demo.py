"""The demo's rows, built anew from what was kept: the same rows."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from receiver_kit import Pusher, World, receiving
from sqlalchemy.orm import Session

from ingest.gateway.simulator import simulate, uploads
from ingest.landing import landing_of
from ingest.rebuild import Rebuild
from pipelines.registry import import_programme
from schemas import database as schemas_database
from schemas.programme import read_programme
from schemas.settings import Settings
from tests import campaign

PROGRAMME = Path(__file__).resolve().parents[2] / "pipelines" / "demo" / "programme.yaml"
PILOTS = campaign.size(("rotterdam-yard", "santiago-buses"), None)
DAYS = campaign.size(2, 14)
STORED = {
    "telemetry": "SELECT * FROM telemetry",
    "extras": "SELECT s.vehicle_id, e.name, s.time, s.number, s.text FROM signal_sample s JOIN extra_signal e"
    " ON e.id = s.signal_id",
    "quarantine": 'SELECT upload_id, "row", vehicle_id, time, field, value, reason FROM upload_reject',
}


@pytest.mark.long
@pytest.mark.timeout(campaign.size(240, 3600))
def test_random_vehicles_and_ranges_of_the_demo_are_rebuilt_as_they_were(database: Any, tmp_path: Path) -> None:
    given = Settings(_env_file=None, landing_url=f"file://{tmp_path}")
    engine = schemas_database.engine(database.url())
    with Session(engine) as session, session.begin():
        keys = import_programme(session, read_programme(PROGRAMME), dt.date(2026, 1, 1)).new_keys
    landing = {"landing_url": f"file://{tmp_path}"}
    with receiving(World(database.url("beachhead_ingest"), keys, {}), **landing) as client:
        statuses: Counter[str] = Counter()
        for one in uploads(simulate(days=DAYS, pilots=PILOTS)):
            key = keys[next(name for name in keys if name in (one.upload.gateway, f"{one.pilot}/{one.upload.gateway}"))]
            headers = {"Content_Encoding": one.upload.encoding} if one.upload.encoding else {}
            answer = Pusher(client, key).post(one.upload.body, one.upload.content_type, **headers)
            assert answer.status_code in (200, 422), answer.text
            statuses[answer.json().get("status", "refused")] += 1
    assert statuses["loaded"] > 5
    dice = random.Random(campaign.SEED)
    with psycopg.connect(database.url(), autocommit=True) as owner:
        for name, query in STORED.items():
            owner.execute(f"CREATE TABLE before_{name} AS {query}")
        reaches = owner.execute(
            "SELECT vehicle_id, min(time), max(time), count(*) FROM telemetry GROUP BY 1 ORDER BY 1"
        ).fetchall()
        assert sum(count for *_, count in reaches) > 50_000
        for _ in range(campaign.size(5, 100)):
            where = {}
            for vehicle, first, last, _ in dice.sample(reaches, dice.randrange(1, 3)):
                low, high = sorted(first + (last - first) * dice.random() for _ in range(2))
                where[vehicle] = [(_us(low), _us(high) + 1)]
            with schemas_database.psycopg_transaction(engine) as db:
                Rebuild(db, landing_of(given), given).run(where, [], "test")
            for name, query in STORED.items():
                assert _different(owner, name, query) == (0, 0), (name, where)
    engine.dispose()


def _us(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _different(owner: psycopg.Connection, name: str, query: str) -> Any:
    """How many rows are gone, and how many are new."""
    both = "SELECT (SELECT count(*) FROM ({0} EXCEPT ALL {1}) a), (SELECT count(*) FROM ({1} EXCEPT ALL {0}) b)"
    before = sql.SQL("SELECT * FROM {}").format(sql.Identifier(f"before_{name}"))
    return owner.execute(sql.SQL(both).format(before, sql.SQL(query))).fetchone()
