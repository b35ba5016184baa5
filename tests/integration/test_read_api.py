"""The read API and the pages over a real database, with results written by hand."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import programme_rows
import psycopg
import pytest
from httpx import Client, Response
from serving import read_side

T0 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
SAMPLES = 20_000


@pytest.fixture(scope="module")
def client(module_database: Any) -> Iterator[Client]:
    with module_database.connect() as owner:
        programme_rows.write(owner)
        owner.execute(
            "INSERT INTO telemetry (vehicle_id, time, speed_kmh, odometer_km, ignition_on)"
            " SELECT v.id, %s::timestamptz + n * interval '1 second', n %% 60, n / 100.0, n %% 4 = 0"
            " FROM vehicle v, generate_series(0, %s) n WHERE v.name = 'truck-01'",
            [T0, SAMPLES - 1],
        )
    with read_side(module_database.url("beachhead_reader")) as address, Client(base_url=address) as client:
        yield client


def get(client: Client, address: str, status: int = 200, **parameters: str) -> Any:
    answer = client.get(address, params=parameters)
    assert answer.status_code == status, answer.text
    return answer.json()


# --- figures --------------------------------------------------------------------------------------


def test_pilots(client: Client) -> None:
    pilots = {pilot["id"]: pilot for pilot in get(client, "/v1/pilots")}
    assert set(pilots) == {"harbor", "ferries", "tractors", "twizy", "new"}
    assert (pilots["harbor"]["first_day"], pilots["harbor"]["last_day"]) == ("2026-01-05", "2026-01-08")
    assert pilots["harbor"]["vehicles"] == 2
    assert pilots["harbor"]["targets"] == {"availability_pct": 85}
    assert pilots["new"]["first_day"] is None


def test_a_summary_of_all_days(client: Client) -> None:
    summary = get(client, "/v1/pilots/harbor/summary")
    assert (summary["from"], summary["to"], summary["days"]) == ("2026-01-05", "2026-01-08", 4)
    assert (summary["vehicles"], summary["reference_vehicles"]) == (2, 1)
    assert summary["data_until"] == "2026-01-08T22:30:00Z"
    figures = summary["metrics"]
    assert figures["distance_km"]["value"] == 4 * 200 + 4 * 100
    assert figures["energy_used_kwh"]["value"] == 280 + 260 + 300 + 4 * 140
    assert figures["energy_per_km_kwh"]["value"] == pytest.approx((280 + 300 + 4 * 140) / (200 + 200 + 4 * 100))
    available = figures["availability_pct"]
    assert available["value"] == pytest.approx(100 * 6 / 7)
    assert (available["low"], available["high"]) == (75.0, 87.5)
    assert figures["km_between_roadcalls"]["value"] is None
    assert figures["km_between_roadcalls"]["low"] == pytest.approx(1200 / 3, rel=0.01)


def test_a_figure_says_how_it_came_about(client: Client) -> None:
    figures = get(client, "/v1/pilots/harbor/summary")["metrics"]
    assert set(figures["distance_km"]) == {"value", "unit", "coverage_pct", "method", "low", "high", "note"}
    assert figures["grid_energy_kwh"]["method"] == "estimated"
    assert figures["co2e_avoided_well_to_wheel_kg"]["value"] is None
    assert figures["co2e_avoided_well_to_wheel_kg"]["note"] == "no life-cycle factor of diesel is known"


def test_the_headline_is_the_best_boundary_there_is(client: Client) -> None:
    leading = {
        pilot: get(client, f"/v1/pilots/{pilot}/summary")["headline_co2e"] for pilot in ("harbor", "ferries", "twizy")
    }
    assert leading == {
        "harbor": "co2e_avoided_tailpipe_vs_generation_kg", "ferries": "co2e_avoided_well_to_wheel_kg", "twizy": None,
    }  # fmt: skip


def test_factors_are_named_with_their_source(client: Client) -> None:
    factors = get(client, "/v1/pilots/harbor/summary")["factors"]
    assert [factor["id"] for factor in factors] == sorted(programme_rows.FACTORS)
    assert all(factor["source"] and factor["edition"] and factor["unit"] and factor["year"] for factor in factors)


def test_only_figures_for_people_are_given_out(client: Client) -> None:
    catalogue = {metric["slug"] for metric in get(client, "/v1/metrics-catalogue")}
    figures = get(client, "/v1/pilots/harbor/summary")["metrics"]
    assert set(figures) == catalogue
    assert not {"planned_days", "ratio_distance_km", "roadcalls"} & catalogue


def test_the_catalogue_names_inputs_and_source_of_every_metric(client: Client) -> None:
    rows = get(client, "/v1/metrics-catalogue")
    assert [row["slug"] for row in rows if not (row["inputs"] and row["source"])] == []
    availability = next(row for row in rows if row["slug"] == "availability_pct")
    assert availability["inputs"] == ["available_days", "planned_days", "unknown_days"]


def test_a_part_of_the_period(client: Client) -> None:
    summary = get(client, "/v1/pilots/harbor/summary", **{"from": "2026-01-06", "to": "2026-01-07"})
    assert summary["days"] == 2
    assert summary["metrics"]["energy_used_kwh"]["value"] == 260 + 2 * 140


def test_a_pilot_without_results_is_unknown_and_not_zero(client: Client) -> None:
    summary = get(client, "/v1/pilots/new/summary")
    assert summary["days"] == 0
    assert summary["data_until"] is None
    assert {figure["value"] for figure in summary["metrics"].values()} == {None}
    assert summary["metrics"]["distance_km"]["note"] == "nothing has been computed for this period"


def test_a_day_without_a_plan_has_no_availability(client: Client) -> None:
    reference = next(v for v in get(client, "/v1/pilots/harbor/vehicles") if v["reference"])
    assert reference["metrics"]["availability_pct"]["value"] is None
    assert reference["metrics"]["availability_pct"]["note"] == "no service was planned"
    assert reference["metrics"]["energy_used_kwh"]["note"] == "not measured"


def test_days_of_a_pilot(client: Client) -> None:
    days = get(client, "/v1/pilots/harbor/days")
    assert [day["day"] for day in days] == [day.isoformat() for day in programme_rows.DAYS]
    assert [day["metrics"]["energy_used_kwh"]["value"] for day in days] == [420, 400, 140, 440]
    assert [day["metrics"]["availability_pct"]["value"] for day in days] == [100, 100, 100, 50]
    assert (days[1]["metrics"]["availability_pct"]["low"], days[1]["metrics"]["availability_pct"]["high"]) == (50, 100)


def test_vehicles_of_a_pilot(client: Client) -> None:
    vehicles = {vehicle["id"]: vehicle for vehicle in get(client, "/v1/pilots/harbor/vehicles")}
    assert set(vehicles) == {"truck-01", "diesel-09", programme_rows.HOSTILE}
    assert vehicles["truck-01"]["metrics"]["energy_used_kwh"]["value"] == 840
    assert vehicles["diesel-09"]["reference"] is True
    assert vehicles["diesel-09"]["metrics"]["fuel_used_l"]["value"] == 240


def test_days_and_trips_of_a_vehicle(client: Client) -> None:
    days = get(client, "/v1/vehicles/harbor/truck-01/days")
    assert [day["metrics"]["energy_used_kwh"]["value"] for day in days] == [280, 260, None, 300]
    assert days[2]["metrics"]["energy_used_kwh"]["note"] == "no battery signal"
    trips = get(client, "/v1/vehicles/harbor/truck-01/trips", **{"from": "2026-01-06", "to": "2026-01-06"})
    assert [(trip["starts_at"], trip["distance_km"], trip["energy_used_kwh"]) for trip in trips] == [
        ("2026-01-06T11:00:00Z", 25.5, None)
    ]


UPLOADS = ("00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b")


@pytest.fixture(scope="module")
def evident(client: Client, module_database: Any) -> Client:
    """The day of 6 January with what stands behind it, and three uploads: two loaded that reach into it, one void."""
    methods = [{"metric": "energy_used_kwh", "method": "power", "value": 250.0, "coverage_pct": 60.0}]
    checks = [{"check": "power_over_counter", "numerator": 90.0, "denominator": 100.0, "agrees": False}]
    flags = [{"signal": "battery_power_kw", "reason": "spike", "samples": 7, "left_out": True}]
    with module_database.connect() as owner:
        owner.execute(
            "UPDATE vehicle_day SET methods = %s, agreements = %s, set_aside = %s WHERE day = '2026-01-06' AND"
            " vehicle_id = (SELECT id FROM vehicle WHERE name = 'truck-01')",
            [json.dumps(methods), json.dumps(checks), json.dumps(flags)],
        )
        owner.execute("INSERT INTO gateway (pilot_id, slug, whole_pilot) SELECT id, 'gw', true FROM pilot LIMIT 1")
        for number, (upload, status, first) in enumerate(
            [(UPLOADS[0], "loaded", "2026-01-06 10:00Z"), (UPLOADS[1], "loaded", "2026-01-07 10:59Z"),
             ("00000000-0000-0000-0000-00000000000c", "void", "2026-01-06 12:00Z"),
             ("00000000-0000-0000-0000-00000000000d", "loaded", "2026-01-07 11:00Z")]
        ):  # fmt: skip
            owner.execute(
                "INSERT INTO upload (id, gateway_id, kind, sha256, query, content_type, size_bytes, status,"
                " received_at, rows_received, rows_accepted, rows_merged, rows_duplicate, rows_conflicting,"
                " rows_rejected, rows_late, fields_rejected, receipt) SELECT %s, id, 'telemetry', %s, '', 'text/csv',"
                " 1, %s, now(), 1, 1, 0, 0, 0, 0, 0, 0, '{}' FROM gateway LIMIT 1",
                [upload, bytes([number]), status],
            )
            owner.execute(
                "INSERT INTO upload_vehicle (upload_id, vehicle_id, first_time, last_time, rows)"
                " SELECT %s, id, %s, %s::timestamptz + interval '2 hours', 1 FROM vehicle WHERE name = 'truck-01'",
                [upload, first, first],
            )
        owner.commit()
    return client


def test_a_day_of_a_vehicle_tells_what_stands_behind_it(evident: Client) -> None:
    """The day runs from 11:00 to 11:00 UTC: two of the loaded uploads reach into it."""
    day = get(evident, "/v1/vehicles/harbor/truck-01/days/2026-01-06")
    assert day["metrics"]["energy_used_kwh"]["value"] == 260
    assert day["methods"] == [
        {"metric": "energy_used_kwh", "method": "power", "value": 250, "unit": "kWh", "coverage_pct": 60}
    ]  # fmt: skip
    (check,) = day["agreements"]
    assert (check["ratio"], check["low"], check["high"], check["agrees"]) == (0.9, 0.95, 1.05, False)
    (flag,) = day["set_aside"]
    assert (flag["signal"], flag["samples"], flag["left_out"]) == ("battery_power_kw", 7, True)
    assert flag["meaning"].endswith(".")
    lineage = day["lineage"]
    assert (lineage["code_version"], lineage["input_rows"], lineage["factors"]) == ("test", 1, programme_rows.FACTORS)
    assert lineage["uploads"] == list(UPLOADS)


def test_the_page_of_a_vehicles_day(evident: Client) -> None:
    page = evident.get("/pilots/harbor/vehicles/truck-01/days/2026-01-06").text
    behind = page[page.index('id="methods"') :]
    for words in ("power", "250.00", "Energy used: power integral / counter", "0.900", "0.95 to 1.05",
                  "<strong>no</strong>", "battery_power_kw", "spike", *UPLOADS, programme_rows.FACTORS[0]):  # fmt: skip
        assert words in behind
    period = {"from": "2026-01-05", "to": "2026-01-07"}
    whole = evident.get("/pilots/harbor/vehicles/truck-01", params=period).text
    assert 'href="/pilots/harbor/vehicles/truck-01/days/2026-01-06"' in whole
    assert whole.count("methods disagree") == 1
    assert "Energy used: power integral / counter" in whole[whole.index('id="agreement"') :]


def test_a_day_that_nobody_computed(client: Client) -> None:
    problem = get(client, "/v1/vehicles/harbor/truck-01/days/2026-02-06", 404)
    assert "nothing has been computed for 'truck-01' on 2026-02-06" in problem["detail"]


def test_charging_sessions_of_a_vehicle(client: Client) -> None:
    day = {"from": "2026-01-06", "to": "2026-01-06"}
    (session,) = get(client, "/v1/vehicles/harbor/truck-01/charge-sessions", **day)
    assert session == {
        "starts_at": "2026-01-06T19:00:00Z", "ends_at": "2026-01-07T05:00:00Z", "day": "2026-01-06",
        "kind": "overnight", "place": None, "charging_h": 4, "energy_charged_kwh": 140, "energy_method": "estimated",
        "grid_energy_kwh": 152.2, "grid_method": "estimated", "power_kw": 35, "soc_start_pct": 40,
        "soc_end_pct": None, "note": "SOC x 375 kWh",
    }  # fmt: skip
    page = client.get("/pilots/harbor/vehicles/truck-01", params=day).text
    section = page[page.index('id="sessions"') :]
    for words in ("kWh DC", "kWh AC", "140.0", "estimated", "152.2", "place unknown", "unknown", "SOC x 375 kWh"):
        assert words in section
    assert "/v1/vehicles/harbor/truck-01/charge-sessions?" in section


def test_states_of_a_vehicle(client: Client) -> None:
    day = {"from": "2026-01-06", "to": "2026-01-06"}
    spells = get(client, "/v1/vehicles/harbor/truck-01/states", **day)
    assert [(spell["starts_at"], spell["ends_at"], spell["state"], spell["cause"]) for spell in spells] == [
        ("2026-01-06T11:00:00Z", "2026-01-06T17:00:00Z", "parked", None),
        ("2026-01-06T17:00:00Z", "2026-01-07T01:00:00Z", "in_service", None),
        ("2026-01-07T01:00:00Z", "2026-01-07T11:00:00Z", "down", "supply"),
    ]
    assert [spell["unobserved"] for spell in spells] == [False, True, False]
    page = client.get("/pilots/harbor/vehicles/truck-01", params=day).text
    strip = page[page.index('id="states"') : page.index('id="days"')]
    assert 'aria-label="in service 8.0 h, parked, available 6.0 h, down 10.0 h"' in strip
    assert '<rect x="250.0" width="333.33"' in strip  # 6 h and 8 h of 24, of a strip of 1000
    assert "Down, 17:00 to 03:00 · cause: supply" in strip
    assert "In service, 09:00 to 17:00 · unobserved" in strip


def test_faults_of_a_vehicle(client: Client, module_database: Any) -> None:
    """An episode counts where it was active: on the days up to its clearing, or the last report of it."""
    at = dt.datetime(2026, 1, 7, 1, tzinfo=dt.UTC)  # 17:00 of the 6th in Los Angeles
    with module_database.connect() as owner:
        owner.execute(
            "INSERT INTO fault_event (vehicle_id, time, channel, source, spn, fmi, last_seen_at, cleared_at,"
            " occurrence_count, red_stop_lamp, amber_warning_lamp, protect_lamp, malfunction_lamp)"
            " SELECT v.id, %s, 'can0', 0, 110, 0, %s, %s, 3, true, false, NULL, true FROM vehicle v"
            " WHERE v.name = 'truck-01'",
            [at, at + dt.timedelta(hours=12), at + dt.timedelta(hours=13)],
        )
    address = "/v1/vehicles/harbor/truck-01/faults"
    found = {day: get(client, address, **{"from": f"2026-01-0{day}", "to": f"2026-01-0{day}"}) for day in (5, 6, 7, 8)}
    assert {day: len(faults) for day, faults in found.items()} == {5: 0, 6: 1, 7: 1, 8: 0}
    assert found[6] == [
        {"starts_at": "2026-01-07T01:00:00Z", "last_seen_at": "2026-01-07T13:00:00Z",
         "cleared_at": "2026-01-07T14:00:00Z", "channel": "can0", "source": 0, "spn": 110, "fmi": 0,
         "occurrence_count": 3, "red_stop_lamp": True, "amber_warning_lamp": False, "protect_lamp": None,
         "malfunction_lamp": True}
    ]  # fmt: skip
    assert get(client, "/v1/vehicles/harbor/diesel-09/faults") == []
    assert get(client, "/v1/vehicles/harbor/nobody/faults", 404)["title"]
    page = client.get("/pilots/harbor/vehicles/truck-01").text
    section = page[page.index('id="faults"') :]
    for words in ("6 Jan 2026, 17:00", "7 Jan 2026, 06:00", "red stop, malfunction", ">110<"):
        assert words in section


def test_chargers_of_a_pilot(client: Client, module_database: Any) -> None:
    """Two ports: one old, by the formula of the rule; one of 2026-01-03, by the 6 days since. See each row's hours."""
    assert get(client, "/v1/pilots/ferries/chargers") == []
    with module_database.connect() as owner:
        owner.execute("INSERT INTO site (id, slug, name) VALUES (900, 'pier-a', 'Pier A')")
        owner.execute("UPDATE vehicle SET site_id = 900 WHERE name = 'truck-01'")
        owner.execute(
            "INSERT INTO charger (id, site_id, slug, rated_kw, installed_on) VALUES"
            " (1, 900, 'ch-1', 150, '2020-01-01'), (2, 900, 'ch-2', NULL, '2026-01-03'), (3, 900, 'ch-3', 50, NULL)"
        )
        owner.execute(
            "INSERT INTO charger_outage (charger_id, starts_at, ends_at, excluded) VALUES"
            " (1, '2025-06-01T00:00Z', '2025-06-01T12:00Z', false),"
            " (1, '2025-07-01T00:00Z', '2025-07-01T08:00Z', true),"
            " (2, '2026-01-09T05:00Z', NULL, false)"
        )
        owner.execute(
            "INSERT INTO meter_session (charger_id, starts_at, ends_at, grid_kwh) VALUES"
            " (1, '2026-01-06T05:00Z', '2026-01-06T09:00Z', 150.5), (1, '2026-01-12T05:00Z', '2026-01-12T09:00Z', 99)"
        )
    old, young = get(client, "/v1/pilots/harbor/chargers")
    assert (old["charger"], old["figure"], old["name"]) == ("ch-1", "nevi_uptime_pct", "Uptime, NEVI formula")
    assert (old["outage_min"], old["excluded_min"]) == (1200, 480)
    assert old["uptime_pct"] == pytest.approx(99.863, abs=0.001)
    assert (old["meter_sessions"], old["unmatched_sessions"], old["grid_energy_kwh"]) == (1, 1, 150.5)
    assert old["until"] == "2026-01-09T11:00:00Z"  # 03:00 in Los Angeles
    # 6 h of the 6 days of 24 h since 03:00 on 3 January.
    assert (young["figure"], young["outage_min"]) == ("uptime_since_start_pct", 360)
    assert young["uptime_pct"] == pytest.approx(100 * (1 - 6 / 144))
    page = client.get("/pilots/harbor").text
    section = page[page.index('id="chargers"') :]
    for words in ("pier-a / ch-1", "99.86", "Uptime, NEVI formula", "Uptime since start", "150.5", "ch-2"):
        assert words in section
    assert 'id="chargers"' not in client.get("/pilots/ferries").text


def test_the_programme_adds_what_may_be_added(client: Client) -> None:
    programme = get(client, "/v1/programme/summary")
    assert (programme["from"], programme["to"], programme["pilots"], programme["vehicles"]) == (
        "2026-01-05", "2026-01-08", 5, 5,
    )  # fmt: skip
    assert programme["metrics"]["distance_km"]["value"] == 1200 + 3 * 400
    assert programme["metrics"]["availability_pct"]["value"] == pytest.approx(100 * (6 + 12) / (7 + 12))
    assert programme["co2e_avoided"] == [
        {"metric": "co2e_avoided_tailpipe_vs_generation_kg", "value": 1600, "unit": "kg",
         "pilots": ["harbor", "tractors"]},
        {"metric": "co2e_avoided_well_to_wheel_kg", "value": -100, "unit": "kg", "pilots": ["ferries"]},
    ]  # fmt: skip


def test_the_description_of_the_api_names_problems(client: Client) -> None:
    described = get(client, "/openapi.json")
    for path, methods in described["paths"].items():
        for call in methods.values():
            assert "422" not in call["responses"], path
            assert call["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")


# --- catalogue ------------------------------------------------------------------------------------


def test_signals(client: Client) -> None:
    signals = {signal["name"]: signal for signal in get(client, "/v1/signals")}
    assert signals["battery_soc_pct"]["unit"] == "%"
    assert signals["odometer_km"]["counter"] is True


def test_regions_say_which_factors_exist(client: Client) -> None:
    regions = {region["grid"]: region for region in get(client, "/v1/regions")}
    assert regions["egrid:CAMX"]["pilots"] == ["harbor"]
    assert {factor["boundary"] for factor in regions["egrid:CAMX"]["factors"]} == {"generation_direct"}
    assert "RECALLED" not in {factor["confidence"] for region in regions.values() for factor in region["factors"]}


# --- telemetry ------------------------------------------------------------------------------------


def telemetry(client: Client, **parameters: str) -> Response:
    answer = client.get("/v1/telemetry", params={"vehicle": "truck-01"} | parameters)
    assert answer.status_code == 200, answer.text
    return answer


READERS = {
    "json": lambda body: pl.DataFrame(json.loads(body)),
    "ndjson": lambda body: pl.read_ndjson(body),
    "csv": lambda body: pl.read_csv(body),
    "parquet": lambda body: pl.read_parquet(io.BytesIO(body)),
    "arrow": lambda body: pl.read_ipc_stream(io.BytesIO(body)),
}


@pytest.mark.parametrize("form", READERS)
def test_telemetry_in_every_format(client: Client, form: str) -> None:
    answer = telemetry(client, signals="speed_kmh,odometer_km,ignition_on", format=form)
    frame = READERS[form](answer.content)
    assert frame.columns == ["vehicle", "time", "speed_kmh", "odometer_km", "ignition_on"]
    assert frame.height == SAMPLES
    assert frame["speed_kmh"].sum() == sum(n % 60 for n in range(SAMPLES))
    assert frame["ignition_on"].sum() == SAMPLES // 4
    if form in ("json", "ndjson", "csv"):
        assert frame["time"][61] == "2026-01-05T00:01:01.000000Z"
    else:
        assert frame["time"][61] == T0 + dt.timedelta(seconds=61)


def test_telemetry_of_a_span_is_half_open(client: Client) -> None:
    rows = telemetry(
        client, signals="speed_kmh", **{"from": "2026-01-05T00:00:10Z", "to": "2026-01-05T01:00:12+01:00"}
    ).json()
    assert [row["speed_kmh"] for row in rows] == [10, 11]


def test_telemetry_in_bins_uses_the_signals_own_aggregate(client: Client) -> None:
    parameters = {"to": "2026-01-05T00:02:00Z", "every": "1min", "signals": "speed_kmh,odometer_km"}
    rows = telemetry(client, **parameters).json()
    assert [(row["time"], row["speed_kmh"], row["odometer_km"]) for row in rows] == [
        ("2026-01-05T00:00:00.000000Z", 29.5, 0.59), ("2026-01-05T00:01:00.000000Z", 29.5, 1.19),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("agg", "speed", "share"),
    [("mean", 29.5, 0.25), ("min", 0, 0), ("max", 59, 1), ("first", 0, 1), ("last", 59, 0), ("count", 60, 60)],
)
def test_aggregates(client: Client, agg: str, speed: float, share: float) -> None:
    parameters = {"to": "2026-01-05T00:01:00Z", "every": "1min", "agg": agg, "signals": "speed_kmh,ignition_on"}
    (row,) = telemetry(client, **parameters).json()
    assert (row["speed_kmh"], row["ignition_on"]) == (speed, share)


@pytest.mark.parametrize("form", READERS)
def test_no_rows_are_a_valid_answer(client: Client, form: str) -> None:
    answer = telemetry(client, to="1999-01-01T00:00:00Z", signals="speed_kmh", format=form)
    rows = answer.content if form != "ndjson" else b""
    assert rows == b"" or READERS[form](rows).height == 0


def test_telemetry_without_a_vehicles_name_in_its_pilot_only(client: Client) -> None:
    inside = telemetry(client, vehicle="harbor/truck-01,ferries/boat-1", signals="speed_kmh", format="csv")
    assert len(inside.text.splitlines()) == SAMPLES + 1


def test_a_reader_who_goes_away_frees_the_database(client: Client, module_database: Any, server: Any) -> None:
    def copying() -> int:
        with server.admin() as admin:
            (count,) = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'COPY%%'",
                [module_database.name],
            ).fetchone()
        return count

    parameters = {"vehicle": ",".join(["harbor/truck-01"] * 20), "format": "ndjson"}
    with client.stream("GET", "/v1/telemetry", params=parameters) as answer:
        next(answer.iter_raw(1000))
        assert copying() > 0
    until = time.monotonic() + 10
    while copying() and time.monotonic() < until:
        time.sleep(0.1)
    assert copying() == 0


# --- problems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status", "detail"),
    [
        ("/v1/pilots/nobody/summary", 404, "there is no pilot 'nobody'"),
        ("/v1/vehicles/harbor/nobody/days", 404, "pilot 'harbor' has no vehicle 'nobody'"),
        ("/v1/pilots/harbor/summary?from=2026-01-08&to=2026-01-05", 400, "before it starts"),
        ("/v1/pilots/harbor/summary?from=monday", 400, "from:"),
        ("/v1/telemetry", 400, "vehicle:"),
        ("/v1/telemetry?vehicle=nobody", 404, "there is no vehicle 'nobody'"),
        ("/v1/telemetry?vehicle=truck-01&signals=speed_mph", 400, "speed_mph: not in the catalogue"),
        ("/v1/telemetry?vehicle=truck-01&from=2026-01-05T00:00:00", 400, "needs its offset"),
        ("/v1/telemetry?vehicle=truck-01&every=fortnight", 400, "not a width"),
        ("/v1/telemetry?vehicle=truck-01&agg=sum", 400, "agg=sum"),
        ("/v1/telemetry?vehicle=truck-01&format=xml", 400, "format:"),
        ("/v1/nothing", 404, "there is nothing at /v1/nothing"),
    ],
)
def test_problems(client: Client, address: str, status: int, detail: str) -> None:
    answer = client.get(address, headers={"Accept": "text/html"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["retryable"]) == (status, False)
    assert problem["title"]
    assert detail in problem["detail"]


def test_an_unreachable_database_is_a_503_to_be_tried_again() -> None:
    with read_side("postgresql://nobody:x@127.0.0.1:9/none") as base, Client(base_url=base) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        for address in ("/readyz", "/v1/pilots", "/"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert "127.0.0.1" not in answer.text


def test_a_database_that_was_never_migrated_says_what_to_do(server: Any) -> None:
    with read_side(server.url("beachhead", "postgres")) as base, Client(base_url=base) as client:
        for address in ("/readyz", "/v1/pilots", "/"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert "beachhead migrate" in answer.text


def test_ready(client: Client) -> None:
    assert get(client, "/readyz") == {"status": "ok"}


# --- pages ----------------------------------------------------------------------------------------

PAGES = ("/", "/pilots/harbor", "/pilots/new", "/pilots/harbor/vehicles/truck-01", "/definitions", "/docs")


@pytest.mark.parametrize("address", PAGES)
def test_pages_hold_no_script_and_nothing_from_elsewhere(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert "script-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert " style=" not in answer.text
    outside = [found for found in re.findall(r'(?:src|href|srcset|action)="([^"]*)"', answer.text) if "//" in found]
    assert outside == []


def test_a_hostile_name_is_text(client: Client) -> None:
    for address in ("/pilots/harbor", "/pilots/harbor/vehicles/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E"):
        page = client.get(address)
        assert page.status_code == 200
        assert programme_rows.HOSTILE not in page.text
        assert "&lt;img src=x onerror=alert(1)&gt;" in page.text
    missing = client.get(f"/pilots/{programme_rows.HOSTILE}", headers={"Accept": "text/html"})
    assert missing.status_code == 404
    assert programme_rows.HOSTILE not in missing.text


@pytest.mark.parametrize("pilot", ["harbor", "ferries", "tractors", "twizy"])
def test_the_page_says_what_the_api_says(client: Client, pilot: str) -> None:
    page = client.get(f"/pilots/{pilot}").text
    tiles = re.findall(r'data-slug="(\w+)">.*?<p class="value[^"]*">([^<]+?)\s*<.*?href="(/v1/[^"]*)"', page, re.S)
    assert len(tiles) == 8
    for slug, text, api in tiles:
        figure = get(client, api.replace("&amp;", "&"))["metrics"][slug]
        if figure["value"] is None:
            assert text == "unknown"
        else:
            shown = float(text.replace(",", "").replace("−", "-"))
            assert shown == pytest.approx(figure["value"], abs=0.5 if abs(shown) >= 1000 else 0.051)


def test_boundaries_are_listed_apart_with_their_pilots(client: Client) -> None:
    page = client.get("/").text
    section = page[page.index('id="co2e"') : page.index('id="pilots"')]
    tiles = re.findall(r'data-slug="(\w+)">.*?<p class="value">([^ <]+) .*?<p class="extra">(.*?)</p>', section, re.S)
    assert {slug: (text, re.findall(r">([^<]+)</a>", links)) for slug, text, links in tiles} == {
        "co2e_avoided_tailpipe_vs_generation_kg": ("1,600", ["Harbor drayage", "Rotterdam yard tractors"]),
        "co2e_avoided_well_to_wheel_kg": ("−100", ["Kochi ferries"]),
    }
    assert "no grid factor is known for region MA" in section


def test_charts_are_drawn_for_both_widths(client: Client) -> None:
    for name in ("energy", "availability", "hours"):
        wide, narrow = (
            client.get(f"/pilots/harbor/charts/{name}.svg", params={"width": width}) for width in ("wide", "narrow")
        )
        assert wide.headers["content-type"] == "image/svg+xml"
        assert wide.text.startswith("<svg")
        assert wide.text != narrow.text
    assert client.get("/pilots/harbor/charts/nothing.svg").status_code == 404
    assert client.get("/pilots/new/charts/energy.svg").status_code == 200


def test_a_chart_is_drawn_again_when_its_days_are_computed_again(client: Client, module_database: Any) -> None:
    def chart(**headers: str) -> Response:
        return client.get("/pilots/tractors/charts/energy.svg", headers=headers)

    first = chart()
    assert chart(**{"If-None-Match": first.headers["etag"]}).status_code == 304
    with module_database.connect() as owner:
        owner.execute(
            "UPDATE pilot_day SET computed_at = now(), figures = jsonb_set(figures, '{energy_used_kwh,value}', '900')"
            " WHERE day = %s AND pilot_id = (SELECT id FROM pilot WHERE slug = 'tractors')", [programme_rows.FIRST],
        )  # fmt: skip
    again = chart(**{"If-None-Match": first.headers["etag"]})
    assert again.status_code == 200
    assert "900 kWh (5 Jan 2026)" in again.text
    assert "900 kWh" not in first.text


# --- rights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", ["public.telemetry", "public.vehicle_day", "public.api_key", "public.upload_body"])
def test_the_reader_cannot_reach_behind_the_views(client: Client, module_database: Any, relation: str) -> None:
    with module_database.connect("beachhead_reader") as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(f"SELECT * FROM {relation} LIMIT 1")


def test_the_reader_cannot_reach_chunks(client: Client, module_database: Any) -> None:
    with module_database.connect() as owner:
        (chunk,) = owner.execute("SELECT show_chunks('public.telemetry')::text LIMIT 1").fetchone()
    with module_database.connect("beachhead_reader") as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(f"SELECT * FROM {chunk} LIMIT 1")


def test_the_reader_writes_nothing(client: Client, module_database: Any) -> None:
    with module_database.connect("beachhead_reader") as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("UPDATE reading.pilot SET name = 'mine'")


# --- how good the data are ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refusals(client: Client, module_database: Any) -> None:
    """An upload of the harbor with two refused speeds of truck-01, a refused row and one of nobody; one taken back."""
    with module_database.connect() as owner:
        owner.execute(
            "INSERT INTO gateway (id, pilot_id, slug) SELECT 900, id, 'gw-900' FROM pilot WHERE slug = 'tractors'"
        )
        for number, status in ((1, "loaded"), (2, "void")):
            owner.execute(
                "INSERT INTO upload (id, gateway_id, kind, sha256, query, content_type, size_bytes, status,"
                " received_at, first_time, last_time, rows_received, rows_accepted, rows_merged, rows_duplicate,"
                " rows_conflicting, rows_rejected, rows_late, fields_rejected, receipt)"
                " VALUES (%s, 900, 'telemetry', %s, '', 'text/csv', 1, %s, %s, %s, %s, 100, 97, 0, 0, 1, 2, 5, 2,"
                " '{}')",
                [f"00000000-0000-0000-0000-00000000000{number}", bytes([number]), status, T0 + dt.timedelta(hours=20),
                 T0 + dt.timedelta(hours=12), T0 + dt.timedelta(hours=20)],
            )  # fmt: skip
            owner.execute(
                "INSERT INTO upload_vehicle (upload_id, vehicle_id, first_time, last_time, rows)"
                " SELECT %s, id, %s, %s, 100 FROM vehicle WHERE name = 'truck-01'",
                [f"00000000-0000-0000-0000-00000000000{number}", T0 + dt.timedelta(hours=12),
                 T0 + dt.timedelta(hours=20)],
            )  # fmt: skip
            for n, (field, reason) in enumerate((("speed_kmh", "above 400"), ("speed_kmh", "above 400"), (None, "x"))):
                owner.execute(
                    "INSERT INTO upload_reject (upload_id, n, row, vehicle_id, time, field, value, reason)"
                    " SELECT %s, %s, %s, id, %s, %s, '999', %s FROM vehicle WHERE name = 'truck-01'",
                    [f"00000000-0000-0000-0000-00000000000{number}", n, n, T0 + dt.timedelta(hours=13), field, reason],
                )


def test_a_day_counts_what_was_refused_at_receipt(client: Client, refusals: None) -> None:
    day = get(client, "/v1/vehicles/harbor/truck-01/days/2026-01-05")
    refused = [row for row in day["set_aside"] if row["reason"].startswith("refused at receipt")]
    assert [(row["signal"], row["reason"], row["samples"], row["left_out"]) for row in refused] == [
        ("time", "refused at receipt: x", 1, True),
        ("speed_kmh", "refused at receipt: above 400", 2, True),
    ]
    other = get(client, "/v1/vehicles/harbor/truck-01/days/2026-01-06")
    assert not [row for row in other["set_aside"] if row["reason"].startswith("refused")]


def test_data_quality_of_every_pilot(client: Client, refusals: None) -> None:
    rows = {row["pilot"]: row for row in get(client, "/v1/data-quality")}
    assert set(rows) == {"harbor", "ferries", "tractors", "twizy", "new"}
    harbor = rows["harbor"]
    assert rows["tractors"]["receipts"] == {
        "uploads": 1, "rows_received": 100, "rows_rejected": 2, "fields_rejected": 2, "rows_conflicting": 1,
        "rows_late": 5,
    }  # fmt: skip
    used = next(row for row in harbor["figures"] if row["metric"] == "energy_used_kwh")
    assert (used["vehicle_days"], used["unknown"], used["doubtful"]) == (12 - 4, 1, 1)
    assert {"speed_kmh"} <= {row["signal"] for row in harbor["set_aside"]}
    assert rows["new"]["figures"] == []
    one = {row["pilot"]: row for row in get(client, "/v1/data-quality", **{"from": "2026-01-06", "to": "2026-01-06"})}
    assert one["tractors"]["receipts"]["uploads"] == 0


def test_every_signal_of_the_catalogue_is_told(client: Client, refusals: None) -> None:
    rows = {row["signal"]: row for row in get(client, "/v1/vehicles/harbor/truck-01/signals", **{
        "from": "2026-01-04", "to": "2026-01-05"})}  # fmt: skip
    assert set(rows) == {row["name"] for row in get(client, "/v1/signals")}
    speed = rows["speed_kmh"]
    assert (speed["samples"], speed["share_pct"], speed["low"], speed["high"]) == (SAMPLES, 100.0, 0, 59)
    assert (speed["refused"], speed["read_by_metrics"]) == (2, True)
    assert (rows["ignition_on"]["low"], rows["ignition_on"]["high"]) == (0, 1)
    assert (rows["def_level_pct"]["samples"], rows["def_level_pct"]["low"]) == (0, None)


def test_days_of_a_pilot_know_what_they_come_from(client: Client, refusals: None) -> None:
    first, *others = get(client, "/v1/pilots/harbor/days")
    lineage = first["lineage"]
    assert (lineage["code_version"], lineage["factors"]) == ("test", programme_rows.FACTORS)
    assert "00000000-0000-0000-0000-000000000001" in lineage["upload_ids"]
    assert "00000000-0000-0000-0000-000000000002" not in lineage["upload_ids"], "it was taken back"
    assert lineage["uploads"] == len(lineage["upload_ids"])
    assert not any("00000000-0000-0000-0000-000000000001" in day["lineage"]["upload_ids"] for day in others)
    wide = get(client, "/v1/pilots/harbor/days", **{"from": "2026-01-01", "to": "2026-01-31"})
    assert {day["lineage"]["upload_ids"] is None for day in wide} == {True}


@pytest.mark.parametrize(
    "address",
    [
        "/data-quality",
        "/data-quality?from=2026-01-05&to=2026-01-06",
        "/pilots/harbor/vehicles/truck-01/signals",
        "/pilots/harbor/reports/2026-01",
    ],
)
def test_pages_of_quality_and_months_open(client: Client, refusals: None, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert "Harbor drayage" in answer.text
    assert "Traceback" not in answer.text


def test_a_month_that_is_none_is_not_found(client: Client) -> None:
    assert client.get("/pilots/harbor/reports/January").status_code == 404


def test_closed_months(client: Client, module_database: Any) -> None:
    assert get(client, "/v1/pilots/harbor/periods") == []
    with module_database.connect() as owner:
        owner.execute("INSERT INTO pinned_factors (sha256, rows) VALUES ('ab', '[]')")
        for revision, km in ((1, 1200.0), (2, 1300.0)):
            figures = json.dumps({"distance_km": {"value": km, "method": "measured", "coverage_pct": 100.0}})
            owner.execute(
                "INSERT INTO report_period SELECT id, '2026-01-01', %s, %s, 'Ana', 'why', %s, 4, 2, NULL, 10, 'h', 'c',"
                " '{}', 'ab' FROM pilot WHERE slug = 'harbor'",
                [revision, T0, figures],
            )
    newest, first = get(client, "/v1/pilots/harbor/periods")
    assert (newest["month"], newest["revision"], first["revision"]) == ("2026-01", 2, 1)
    assert newest["changed"] == [
        {"metric": "distance_km", "name": "Distance", "unit": "km", "before": 1200, "after": 1300}
    ]
    text = client.get("/pilots/harbor/reports/2026-01").text
    assert "Restated after closing" in text
    assert "1,300" in text
    assert "Closed months" in client.get("/pilots/harbor").text


def test_outages_are_listed(client: Client, module_database: Any) -> None:
    with module_database.connect() as owner:
        owner.execute("INSERT INTO site (id, slug, name) VALUES (901, 'jetty', 'Jetty')")
        owner.execute("UPDATE vehicle SET site_id = 901 WHERE name = 'boat-1'")
        owner.execute("INSERT INTO charger (id, site_id, slug) VALUES (901, 901, 'ch-9')")
        owner.execute(
            "INSERT INTO charger_outage (charger_id, starts_at, ends_at, excluded, cause) VALUES"
            " (901, '2025-12-01T00:00Z', '2025-12-02T00:00Z', false, NULL),"
            " (901, '2026-01-06T05:00Z', NULL, true, 'grid')"
        )
    period = {"from": "2026-01-05", "to": "2026-01-08"}
    rows = get(client, "/v1/pilots/ferries/outages", **period)
    assert [(row["charger"], row["ends_at"], row["excluded"], row["cause"]) for row in rows] == [
        ("ch-9", None, True, "grid")
    ]
    text = client.get("/pilots/ferries", params=period).text
    assert "Charger outages" in text
    assert "lasts" in text
