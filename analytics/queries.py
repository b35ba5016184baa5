"""What the read side asks of the views of schema `reading`, in SQL. `views.Reader` asks it."""

from __future__ import annotations

from analytics.factors.own import OwnRows

PILOTS = """
SELECT p.id, p.slug, p.name, p.region, p.grid, p.segment, p.starts_on, p.ends_on, p.targets,
       c.time_zone, c.day_starts_at, d.first_day, d.last_day, d.data_until,
       v.vehicles, v.reference_vehicles, v.categories
FROM reading.pilot p
LEFT JOIN LATERAL (
    SELECT time_zone, day_starts_at FROM reading.pilot_calendar
    WHERE pilot_id = p.id ORDER BY valid_from DESC LIMIT 1) c ON true
LEFT JOIN LATERAL (
    SELECT min(day) AS first_day, max(day) AS last_day, max(data_until) AS data_until
    FROM reading.pilot_day WHERE pilot_id = p.id) d ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT v.id) FILTER (WHERE v.powertrain <> :reference) AS vehicles,
           count(DISTINCT v.id) FILTER (WHERE v.powertrain = :reference) AS reference_vehicles,
           coalesce(array_agg(DISTINCT v.category) FILTER (WHERE v.powertrain <> :reference), '{}') AS categories
    FROM reading.assignment a JOIN reading.vehicle v ON v.id = a.vehicle_id
    WHERE a.pilot_id = p.id AND (a.ends_on IS NULL OR a.ends_on >= a.starts_on)) v ON true
"""

VEHICLES = """
SELECT DISTINCT v.id, v.name, v.category, v.powertrain, v.make, v.model, v.model_year, v.usable_battery_kwh,
       v.sample_period_s, v.baseline, v.powertrain = :reference AS reference, s.name AS site, p.id AS pilot_id
FROM reading.pilot p
JOIN reading.assignment a ON a.pilot_id = p.id AND (a.ends_on IS NULL OR a.ends_on >= a.starts_on)
JOIN reading.vehicle v ON v.id = a.vehicle_id
LEFT JOIN reading.site s ON s.id = v.site_id
"""

PILOT_DAYS = """
SELECT day, vehicles, data_until, code_version, factors, input_rows, input_hash, computed_at FROM reading.pilot_day
WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last ORDER BY day
"""

VERSION = """
SELECT md5(coalesce(string_agg(day::text || computed_at::text, ',' ORDER BY day), '')) AS version
FROM reading.pilot_day WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last
"""

VEHICLE_DAYS = """
SELECT day, starts_at, ends_at, data_until, code_version, factors FROM reading.vehicle_day
WHERE pilot_id = :pilot_id AND vehicle_id = :vehicle_id AND day BETWEEN :first AND :last ORDER BY day
"""

EVIDENCE = """
SELECT d.day, d.starts_at, d.ends_at, d.methods, d.agreements, d.set_aside, d.code_version, d.factors,
       d.input_rows, d.input_hash, d.computed_at
FROM reading.vehicle_day d
WHERE d.pilot_id = :pilot_id AND d.vehicle_id = :vehicle_id AND d.day BETWEEN :first AND :last ORDER BY d.day
"""

UPLOADS = """
SELECT u.id FROM reading.vehicle_day d
JOIN reading.upload_vehicle v
  ON v.vehicle_id = d.vehicle_id AND v.first_time < d.ends_at AND v.last_time >= d.starts_at
JOIN reading.upload u ON u.id = v.upload_id AND u.status = 'loaded'
WHERE d.pilot_id = :pilot_id AND d.vehicle_id = :vehicle_id AND d.day = :day ORDER BY u.seq
"""

CLOSED_MONTHS = """
SELECT month, revision, closed_at, closed_by, note, figures, days, vehicles, data_until, input_rows, input_hash,
       code_version, factors, factors_sha256
FROM reading.report_period WHERE pilot_id = :pilot_id ORDER BY month, revision
"""

FIGURE_COLUMNS = "day, metric, value, low, high, coverage_pct, weight, method, note"
PILOT_FIGURES = f"""
SELECT pilot_id, {FIGURE_COLUMNS} FROM reading.pilot_day_figure
WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last
"""  # noqa: S608
VEHICLE_FIGURES = f"""
SELECT vehicle_id, {FIGURE_COLUMNS} FROM reading.vehicle_day_figure
WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last
"""  # noqa: S608

OWN_FACTORS = f"SELECT {', '.join(OwnRows.column_names())} FROM reading.own_factor ORDER BY id"  # noqa: S608

TRIPS = """
SELECT starts_at, ends_at, day, distance_km, energy_used_kwh, soc_start_pct, soc_end_pct FROM reading.trip
WHERE pilot_id = :pilot_id AND vehicle_id = :vehicle_id AND day BETWEEN :first AND :last ORDER BY starts_at
"""

CHARGE_SESSIONS = """
SELECT starts_at, ends_at, day, kind, place, charging_h, energy_charged_kwh, energy_method, grid_energy_kwh,
       grid_method, power_kw, soc_start_pct, soc_end_pct, note FROM reading.charge_session
WHERE pilot_id = :pilot_id AND vehicle_id = :vehicle_id AND day BETWEEN :first AND :last ORDER BY starts_at
"""

STATE_SPELLS = """
SELECT starts_at, ends_at, day, state, cause, unobserved FROM reading.state_spell
WHERE pilot_id = :pilot_id AND vehicle_id = :vehicle_id AND day BETWEEN :first AND :last ORDER BY starts_at
"""

FAULTS = """
SELECT f.time AS starts_at, f.last_seen_at, f.cleared_at, f.channel, f.source, f.spn, f.fmi, f.occurrence_count,
       f.red_stop_lamp, f.amber_warning_lamp, f.protect_lamp, f.malfunction_lamp
FROM reading.fault_event f
JOIN reading.pilot p ON p.id = :pilot_id
LEFT JOIN LATERAL (
    SELECT time_zone, day_starts_at FROM reading.pilot_calendar
    WHERE pilot_id = p.id ORDER BY valid_from DESC LIMIT 1) c ON true
CROSS JOIN LATERAL (
    SELECT (:first + coalesce(c.day_starts_at, time '00:00')) AT TIME ZONE coalesce(c.time_zone, 'UTC') AS starts_at,
           (:last + 1 + coalesce(c.day_starts_at, time '00:00')) AT TIME ZONE coalesce(c.time_zone, 'UTC') AS ends_at) d
WHERE f.vehicle_id = :vehicle_id AND f.time < d.ends_at
  AND coalesce(f.cleared_at, f.last_seen_at, f.time) >= d.starts_at
ORDER BY f.time, f.source, f.spn, f.fmi
"""

CHARGERS = """
SELECT c.id, s.slug AS site, c.slug AS charger, c.rated_kw, c.installed_on,
       least(o.first_time, m.first_time) AS first_record, m.sessions, m.unmatched_sessions, m.grid_energy_kwh
FROM reading.charger c
JOIN reading.site s ON s.id = c.site_id
LEFT JOIN LATERAL (SELECT min(starts_at) AS first_time FROM reading.charger_outage WHERE charger_id = c.id) o ON true
LEFT JOIN LATERAL (
    SELECT min(starts_at) AS first_time, count(*) FILTER (WHERE starts_at >= :since AND starts_at < :until) AS sessions,
           count(*) FILTER (WHERE starts_at >= :since AND starts_at < :until
                            AND coalesce(s.vehicle_id, f.vehicle_id) IS NULL) AS unmatched_sessions,
           sum(grid_kwh) FILTER (WHERE starts_at >= :since AND starts_at < :until) AS grid_energy_kwh
    FROM reading.meter_session s LEFT JOIN reading.meter_match f ON f.meter_id = s.id
    WHERE s.charger_id = c.id) m ON true
WHERE least(o.first_time, m.first_time) < :until AND c.site_id IN (
    SELECT v.site_id FROM reading.assignment a JOIN reading.vehicle v ON v.id = a.vehicle_id
    WHERE a.pilot_id = :pilot_id AND v.site_id IS NOT NULL)
ORDER BY s.slug, c.slug
"""

OUTAGES = """
SELECT o.charger_id, o.starts_at, o.ends_at, o.excluded, o.cause, o.note FROM reading.charger_outage o
WHERE o.charger_id = ANY(:charger_ids) ORDER BY o.charger_id, o.starts_at
"""

REFUSED = """
WITH held AS (
    SELECT DISTINCT upload_id FROM reading.upload_vehicle
    WHERE vehicle_id = ANY(:vehicle_ids) AND first_time < :until AND last_time >= :since
), refused AS (  -- values by their index, whole rows by the uploads that hold others of the vehicles in that time
    SELECT field AS signal, reason, upload_id FROM reading.upload_reject
    WHERE vehicle_id = ANY(:vehicle_ids) AND time >= :since AND time < :until AND field IS NOT NULL
    UNION ALL
    SELECT field, reason, upload_id FROM reading.upload_reject JOIN held USING (upload_id)
    WHERE vehicle_id = ANY(:vehicle_ids) AND time >= :since AND time < :until AND field IS NULL
)
SELECT r.signal, r.reason, count(*) AS samples
FROM refused r JOIN reading.upload u ON u.id = r.upload_id AND u.status = 'loaded'
GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2
"""

SET_ASIDE = """
SELECT signal, reason, left_out, sum(samples)::bigint AS samples, count(DISTINCT (vehicle_id, day)) AS vehicle_days
FROM reading.vehicle_day_set_aside WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last
GROUP BY 1, 2, 3 ORDER BY 1, 2
"""

AGREEMENTS = """
SELECT "check", sum(numerator) AS numerator, sum(denominator) AS denominator, count(*) AS days,
       count(*) FILTER (WHERE NOT agrees) AS apart
FROM reading.vehicle_day_agreement WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last GROUP BY 1
"""

RECEIPTS = """
SELECT count(*) AS uploads, coalesce(sum(u.rows_received), 0)::bigint AS rows_received,
       coalesce(sum(u.rows_rejected), 0)::bigint AS rows_rejected,
       coalesce(sum(u.fields_rejected), 0)::bigint AS fields_rejected,
       coalesce(sum(u.rows_conflicting), 0)::bigint AS rows_conflicting,
       coalesce(sum(u.rows_late), 0)::bigint AS rows_late
FROM reading.upload u JOIN reading.gateway g ON g.id = u.gateway_id
WHERE g.pilot_id = :pilot_id AND u.status = 'loaded'
  AND coalesce(u.last_time, u.received_at) >= :since AND coalesce(u.first_time, u.received_at) < :until
"""

COVERED = """
SELECT metric, count(*) AS vehicle_days, count(*) FILTER (WHERE value IS NULL) AS unknown,
       count(*) FILTER (WHERE value IS NOT NULL AND coverage_pct < 80) AS doubtful,
       count(*) FILTER (WHERE value IS NOT NULL AND method = 'estimated') AS estimated
FROM reading.vehicle_day_figure WHERE pilot_id = :pilot_id AND day BETWEEN :first AND :last AND metric = ANY(:slugs)
GROUP BY 1
"""

DAY_UPLOADS = """
SELECT d.day, array_agg(DISTINCT u.id) AS ids FROM reading.vehicle_day d
JOIN reading.upload_vehicle v
  ON v.vehicle_id = d.vehicle_id AND v.first_time < d.ends_at AND v.last_time >= d.starts_at
JOIN reading.upload u ON u.id = v.upload_id AND u.status = 'loaded'
WHERE d.pilot_id = :pilot_id AND d.day BETWEEN :first AND :last GROUP BY 1
"""
