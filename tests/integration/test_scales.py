"""Fields in a wrong unit, put right: afterwards the store is what it would be, had they been sent right."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from receiver_kit import at, empty
from test_corrections import Place, Upload, few, log_of, place, rows_of, shared, stored

from ingest.checks.scales import Scale
from schemas.errors import CorrectionError

__all__ = ["place", "shared"]
JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
FIELDS = ("speed_kmh", "battery_temperature_c", "fault_count", "oil_bar", "gear")
Row = dict[str, Any]

values = st.one_of(st.integers(-20, 90), st.floats(-20, 90, allow_nan=False), st.none(), st.sampled_from(["7", "n/a"]))
rows_sent = st.lists(
    st.fixed_dictionaries({"n": st.integers(0, 12)}, optional=dict.fromkeys(FIELDS, values)), min_size=1, max_size=10
)
scales = st.dictionaries(
    st.sampled_from(FIELDS),
    st.builds(Scale, st.sampled_from([1.609344, 0.5555555555555556, 2.0, -1.0]), st.sampled_from([0.0, -17.5, 0.1])),
    min_size=1,
)


def body_of(rows: list[Row], content_type: str) -> bytes:
    told = [{"time": at(row["n"]), "vehicle": "truck-01"} | {f: row[f] for f in FIELDS if f in row} for row in rows]
    if content_type == JSON:
        return json.dumps(told).encode()
    if content_type == NDJSON:
        return "\n".join(map(json.dumps, told)).encode()
    names = ["time", "vehicle", *(name for name in FIELDS if any(name in row for row in rows))]
    lines = [",".join("" if row.get(name) is None else str(row[name]) for name in names) for row in told]
    return "\n".join([",".join(names), *lines]).encode()


def right(value: Any, scale: Scale, *, reads_text: bool) -> Any:
    if value is None or value == "n/a" or (isinstance(value, str) and not reads_text):
        return value
    number = float(value) * scale.factor + scale.offset
    return repr(number) if isinstance(value, str) else number


def all_right(rows: list[Row], by: dict[str, Scale], content_type: str) -> list[Row]:
    return [
        {
            name: right(value, by[name], reads_text=content_type == CSV or name not in ("oil_bar", "gear"))
            if name in by
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def outcome(place: Place) -> dict[str, Any]:
    """What is stored, and what each upload says of itself, in order."""
    found = stored(place.database)
    with place.database.connect() as owner:
        told = owner.execute("SELECT receipt FROM upload WHERE status = 'loaded' ORDER BY seq").fetchall()
    found["quarantine"] = sorted(map(str, (row[1:] for row in found["quarantine"])))
    left_out = ("upload_id", "received_at", "server_time", "rejects_url", "sha256")
    found["receipts"] = [{name: value for name, value in one.items() if name not in left_out} for (one,) in told]
    return found


def push(place: Place, rows: list[Row], content_type: str) -> uuid.UUID | None:
    answer = place.pusher.post(body_of(rows, content_type), content_type)
    assert answer.status_code in (200, 422), answer.text
    return uuid.UUID(answer.json()["upload_id"]) if answer.status_code == 200 else None


def clear(place: Place) -> None:
    empty(place.database)
    receiver = place.pusher.client.app.state.receiver
    receiver.known_signals = receiver.known_signals.clear()


@few
@given(
    before=rows_sent, sent=rows_sent, by=scales, content_type=st.sampled_from([JSON, NDJSON, CSV]),
    steps=st.sampled_from(["at once", "one by one", "wrong first"]),
)  # fmt: skip
def test_put_right_is_as_if_sent_right(
    shared: Place, before: list[Row], sent: list[Row], by: dict[str, Scale], content_type: str, steps: str
) -> None:
    by = {name: scale for name, scale in by.items() if any(name in row for row in sent)}
    assume(by)
    clear(shared)
    earlier = push(shared, before, NDJSON)
    assume(earlier)
    assume(push(shared, all_right(sent, by, content_type), content_type))
    expected = outcome(shared)
    assume(len(expected["receipts"]) == 2)
    clear(shared)
    push(shared, before, NDJSON)
    id_ = push(shared, sent, content_type)
    assume(id_)
    if steps == "wrong first":
        shared.corrections.put_right(id_, scales={name: Scale(3.0, 1.0) for name in by})
    if steps == "one by one":
        for name, scale in by.items():
            shared.corrections.put_right(id_, scales={name: scale})
    shared.corrections.put_right(id_, scales=by)
    assert outcome(shared) == expected
    # It holds whenever the upload is loaded again, also with another that changes.
    shared.corrections.retry(id_)
    shared.corrections.void(earlier_of(shared), None)
    shared.corrections.retry(earlier_of(shared))
    assert outcome(shared) == expected
    shared.corrections.put_right(id_, scales=dict.fromkeys(by, Scale(1.0)))
    with shared.database.connect() as owner:
        assert owner.execute("SELECT scales FROM upload WHERE id = %s", [id_]).fetchone() == ({},)


def earlier_of(place: Place) -> uuid.UUID:
    with place.database.connect() as owner:
        ((id_,),) = owner.execute("SELECT id FROM upload ORDER BY seq LIMIT 1").fetchall()
    return id_


def test_by_command(place: Place) -> None:
    rows = [{"n": n, "speed_kmh": 10.0 * n, "battery_temperature_c": 50.0} for n in range(3)]
    id_ = push(place, rows, NDJSON)
    said = place.command(
        "upload", "requeue", str(id_), "--scale", "speed_kmh=1.609344", "--scale",
        "battery_temperature_c=0.5555555555555556-17.77777777777778", "--shift", "60",
    )  # fmt: skip
    assert "3 rows, 3 accepted" in said
    with place.database.connect() as owner:
        found = owner.execute("SELECT speed_kmh, battery_temperature_c FROM telemetry ORDER BY time").fetchall()
    assert [row[0] for row in found] == [n * 10.0 * 1.609344 for n in range(3)]
    assert found[0][1] == pytest.approx(10)
    told = json.loads(place.command("upload", "show", str(id_)))
    assert told["shift_s"] == 60
    assert told["scales"]["speed_kmh"] == {"factor": 1.609344, "offset": 0.0}
    place.command("upload", "requeue", str(id_), "--scale", "speed_kmh=1", "--shift", "0")
    told = json.loads(place.command("upload", "show", str(id_)))
    assert "shift_s" not in told
    assert list(told["scales"]) == ["battery_temperature_c"]


def test_what_cannot_be_scaled_is_refused_and_changes_nothing(place: Place) -> None:
    id_ = Upload(rows_of(0, 5, 0, ("speed_kmh", "door")), False).push(place.pusher)
    log = Upload(log_of(100, 110, 0, "s"), True).push(place.pusher)
    before = stored(place.database)
    for field in ("speed_mph", "time", "vehicle"):
        with pytest.raises(CorrectionError, match=f"{field} is no field of this upload; it has speed_kmh, door"):
            place.corrections.put_right(id_, scales={field: Scale(2.0)})
    with pytest.raises(CorrectionError, match="dbc"):
        place.corrections.put_right(log, scales={"speed_kmh": Scale(2.0)})
    for factor, offset in ((0.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))):
        with pytest.raises(CorrectionError, match="factor"):
            Scale(factor, offset)
    assert stored(place.database) == before
