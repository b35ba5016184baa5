"""The definitions and maps that hold for a vehicle, from the registry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import psycopg

from ingest.can.dbc import Dbc, read_dbc
from ingest.can.definitions import Bound
from ingest.can.setup import Setup
from ingest.can.specs import Canonical

MICROSECONDS = 1_000_000

# A vehicle's own bindings come before its model's, those of one channel before those of all, newer ones first.
_BINDINGS = """
SELECT b.channel, d.id, d.name, d.content FROM dbc_binding b JOIN dbc d ON d.id = b.dbc_id
JOIN vehicle v ON v.id = %(vehicle)s AND (b.vehicle_id = v.id OR b.model = v.model)
ORDER BY b.vehicle_id IS NULL, b.channel IS NULL, b.id DESC
"""
_MAPS = """
SELECT canonical, message, signal, factor, "offset" FROM dbc_map
WHERE (dbc_id IS NULL OR dbc_id = ANY(%(dbcs)s)) AND (vehicle_id IS NULL OR vehicle_id = %(vehicle)s)
ORDER BY vehicle_id IS NULL, dbc_id IS NULL, id
"""


@lru_cache(maxsize=64)
def _parsed(content: bytes, name: str) -> Dbc:
    return read_dbc(content, name)


@dataclass(frozen=True, slots=True)
class _MapRow:
    canonical: str | None
    message: str
    signal: str
    factor: float
    offset: float


def setup_of(db: psycopg.Connection, vehicle_id: int) -> Setup:
    """How the vehicle's frames are read now."""
    only = {"vehicle": vehicle_id}
    (period_s,) = db.execute("SELECT sample_period_s FROM vehicle WHERE id = %(vehicle)s", only).fetchall()[0]
    bindings = db.execute(_BINDINGS, only).fetchall()
    bound = tuple(Bound(channel, _parsed(content, name).messages) for channel, _, name, content in bindings)
    dbcs = [id_ for _, id_, _, _ in bindings]
    rows = [_MapRow(*row) for row in db.execute(_MAPS, {**only, "dbcs": dbcs})]
    return Setup(
        period_us=max(1, round(period_s * MICROSECONDS)),
        bound=bound,
        maps=tuple(Canonical(r.canonical, r.message, r.signal, r.factor, r.offset) for r in rows if r.canonical),
        keep=frozenset((r.message, r.signal) for r in rows if not r.canonical),
    )
