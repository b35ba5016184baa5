"""Rows whose text PostgreSQL cannot store, and rows that are no rows: set aside and named, the good ones load."""

from __future__ import annotations

import itertools
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from receiver_kit import Pusher, World, at, receiving

from ingest.classify import DIFFERS
from tests import campaign

NDJSON, JSON, CSV = "application/x-ndjson", "application/json", "text/csv"
GOOD = b'{"time":"%s","vehicle":"truck-01","speed_kmh":1}' % at(0).encode()
NO_NAME = "its name is empty, too long or not printable"
NO_TEXT = "holds a NUL character or broken Unicode"


def named(**fields: Any) -> bytes:
    """A row of the good vehicle, a second later."""
    return json.dumps({"time": at(1), "vehicle": "truck-01", "speed_kmh": 2, "ready": True, **fields}).encode()


ROW_FAULTS = [
    (b'{"a":"\0"}', None, "not JSON"),
    (b'"\\ud800"', None, "not a JSON object"),
    (named(vehicle="truck-01\0"), "vehicle", "not a vehicle of this key"),
    (named(vehicle="truck-01\ud800"), "vehicle", "not a vehicle of this key"),
    (named(vehicle=["\ud800"]), "vehicle", "not a vehicle of this key"),
    (named(time="\udfff"), "time", "not a time"),
    (named(time="\0"), "time", "not a time"),
]
FIELD_FAULTS = [
    (named(speed_kmh="\ud800"), "speed_kmh", "not a number"),
    (named(speed_kmh="1\0"), "speed_kmh", "not a number"),
    (named(speed_kmh=["\ud800"]), "speed_kmh", "not a number"),
    (named(charging="\ud800"), "charging", "not true or false"),
    (named(own="a\0b"), "own", NO_TEXT),
    (named(own="\ud800"), "own", NO_TEXT),
    (named(own={"\ud800": "\0"}), "own", "neither a number"),
    (named(**{"\ud800": 1}), "\ufffd", NO_NAME),
    (named(**{"a\0": 1}), "a\ufffd", NO_NAME),
    (named(own=0).replace(b'"own": 0', b'"own": 1' + b"0" * 5000), "own", "infinite"),
]


def is_shown_for(receipt: dict[str, Any], pusher: Pusher, field: str | None, reason: str) -> bool:
    kept = pusher.get(f"/v1/uploads/{receipt['upload_id']}/rejects").json()["rejects"]
    told = [(one["row"], one["field"]) for one in kept]
    return kept == receipt["rejects"] and told == [(2, field)] and reason in kept[0]["reason"]


@pytest.mark.parametrize("beside", [b"", b"3"])  # something that is no row has a body read value by value
@pytest.mark.parametrize(("row", "field", "reason"), ROW_FAULTS + FIELD_FAULTS)
def test_good_rows_load_beside_what_cannot_be_stored(
    both: Pusher, row: bytes, field: str | None, reason: str, beside: bytes
) -> None:
    rows = [GOOD, row, *([beside] if beside else [])]
    bodies = [(b"\n".join(rows), NDJSON)]
    if b"\0" not in row and row[:1] == b"{":
        bodies.append((b"[" + b",".join(rows) + b"]", JSON))
    for body, content_type in bodies:
        receipt = both.push(body, content_type)
        lost = ((row, field, reason) in ROW_FAULTS) + bool(beside)
        assert receipt["rows"]["rejected"] == lost
        assert receipt["fields_rejected"] == len(receipt["rejects"]) - lost
        if beside:
            assert receipt["rejects"].pop()["row"] == 3
            continue
        assert is_shown_for(receipt, both, field, reason)


def test_an_element_that_is_no_row(both: Pusher) -> None:
    receipt = both.push(b"[" + GOOD + rb',"\ud800"]')
    assert receipt["rejects"] == [{"row": 2, "field": None, "value": r'"\ud800"', "reason": "not a JSON object"}]


def test_a_file_whose_tail_was_lost_in_a_power_cut(both: Pusher) -> None:
    lines = both.push(GOOD + b"\n" + bytes(50), NDJSON)
    table = both.push(b"time,vehicle,speed_kmh\n%s,truck-01,2\n" % at(1).encode() + bytes(50), CSV)
    quoted = both.push(b'time,vehicle,speed_kmh,own\n%s,"truck-01",3,"a\0b"\n' % at(2).encode(), CSV)
    assert is_shown_for(lines, both, None, "not JSON")
    assert is_shown_for(table, both, None, "1 fields, the header has 3")
    assert (quoted["rejects"][0]["field"], quoted["rejects"][0]["value"]) == ("own", "a\ufffdb")


def test_names_of_columns_and_of_the_query(both: Pusher) -> None:
    table = b"time,vehicle,speed_kmh,a\0\n%s,truck-01,2,3\n" % at(1).encode()
    assert both.push(table, CSV)["rejects"][0]["reason"] == NO_NAME
    nameless = b'\n{"time":"%s","speed_kmh":1}' % at(1).encode()
    receipt = both.push(GOOD + nameless, NDJSON, path="/v1/telemetry?vehicle=%00")
    assert is_shown_for(receipt, both, "vehicle", "not a vehicle of this key")
    assert both.post(nameless.strip(), NDJSON, path="/v1/telemetry?vehicle=%00").status_code == 403
    for path in ("/v1/telemetry?tz=%00", "/v1/can-logs?vehicle=%00", "/v1/can-logs?vehicle=truck-01&tz=%00"):
        assert 400 <= both.post(GOOD, NDJSON, path=path).status_code < 500
    for path in ("/v1/uploads?vehicle=%00", "/v1/gateways/%00", "/v1/can-logs/parts/%00"):
        assert 400 <= both.get(path).status_code < 500


def test_small_uploads_at_once(world: World) -> None:
    faulty = [(row, field, reason) for row, field, reason in ROW_FAULTS + FIELD_FAULTS if row[:1] == b"{"]
    with receiving(world, group_wait_ms=200) as client, ThreadPoolExecutor(len(faulty)) as threads:
        pusher = Pusher(client, world.keys["both"])
        client.app.state.groups._lately = len(faulty)
        told = list(threads.map(lambda one: pusher.push(GOOD + b"\n" + one[0], NDJSON), faulty))
        for receipt, (_, field, reason) in zip(told, faulty, strict=True):
            own = [one for one in receipt["rejects"] if one["row"] == 2 and one["field"] == field]
            assert reason in own[0]["reason"]


PIECES = [
    b"\0", b"\0" * 50, b"\\u0000", b"\\ud800", b"\\udfff", b"\\ud83d\\ude00", b"\xed\xa0\x80", b"\xff", b"\xef\xbb\xbf",
    b"[", b"]", b"{", b"}", b"[" * 40, b'{"a":' * 1100, b'"', b"\\", b",", b":", b"\n", b"\r", b"1" * 5001, b"1e999",
    b"NaN", b"-", b"null", b"true", b'"own":', b"\x1f", b"\x1a", "\ufffd\xe9".encode(),
]  # fmt: skip
NO_FAULT_OF_OURS = {200, 400, 403, 413, 422}


def broken(dice: random.Random, body: bytes) -> bytes:
    """The body with some pieces put in, or in place of some of its bytes."""
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(body) + 1)
        body = body[:start] + dice.choice(PIECES) + body[start + dice.choice((0, 0, 1, 5)) :]
    return body


@pytest.mark.long
@pytest.mark.timeout(campaign.size(120, 3600))
def test_broken_rows_over_http(world: World) -> None:
    """Whatever comes is taken in or refused; lines that are whole load, whatever the others are."""
    rows = [named(own="on", more=[1, {"a": 2}]), named(), named(speed_kmh="2.5", own=True)]
    fields = b"time,vehicle,speed_kmh,own"
    bodies = {
        NDJSON: b"\n".join(rows),
        JSON: b"[" + b",".join(rows) + b"]",
        CSV: fields + b"\n%s,truck-01,2,on\n%s,truck-01,3,off\n" % (at(1).encode(), at(2).encode()),
    }
    with receiving(world, gateway_requests_per_s=0) as client:
        pusher = Pusher(client, world.keys["both"])
        for n, (kind, body) in itertools.product(range(campaign.size(80, 5000)), bodies.items()):
            dice = random.Random(f"{campaign.SEED} {n} {kind}")
            sent = broken(dice, body)
            sent = sent + b"\n" + GOOD if kind == NDJSON else sent
            answer = pusher.post(sent, kind)
            assert answer.status_code in ({200} if kind == NDJSON else NO_FAULT_OF_OURS), (n, sent, answer.text)
            if answer.status_code == 200:
                shown = pusher.get(f"/v1/uploads/{answer.json()['upload_id']}/rejects").json()["rejects"]
                told = [one for one in answer.json()["rejects"] if one["reason"] != DIFFERS]  # that is kept once
                assert told == [one for one in shown if one["reason"] != DIFFERS], (n, sent)
