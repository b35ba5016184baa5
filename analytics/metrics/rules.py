"""Thresholds of the metrics, each with its reason. `docs/definitions.md` states them for readers."""

from __future__ import annotations

from datetime import timedelta

MOVING_KMH = 1.8
"""Above 0.5 m/s a vehicle moves; below, wheel and satellite speeds are noise."""

CHARGING_KW = 0.5
"""Power into a plugged-in pack above which it charges."""

WORKING_KW = 2.0
"""Motor or shaft power above which equipment and vessels work."""

IDLE_AFTER_S = 60.0
"""A standstill with key on is idling once it lasts longer; shorter ones are stops in service."""

CONTACT_GAP_S = 300.0
"""Rows further apart leave a silence, which is judged by what its far sides say."""

CONTACT_STEP_S = 90.0
"""Rows at most this far apart prove contact: a heartbeat a minute, with slack."""

TRIP_BREAK_S = 120.0
"""Key-on spells closer than this are one trip. Without a key signal, rows further apart already leave a silence."""

TRIP_STOP_S = 300.0
"""Without a key signal a standstill of this length ends a trip."""

SESSION_BREAK_S, SESSION_PAUSE_S = 600.0, 3600.0
"""A cable that is out for less, while the vehicle stays, leaves one session; without a signal of the cable, a pause in
charging for less does. Jobs read further back than either, so a day on its own finds the same sessions."""

SESSION_MIN_S, SESSION_MIN_KWH = 60.0, 0.1
"""A shorter or smaller session is a cable that was only tried."""

DEPOT_KM = 1.0
"""Distance from its site within which a vehicle is at its depot: yards are large, and positions may be blurred."""

OVERNIGHT_H = 4.0
"""From this time at the depot's plug on a session is a rest, not a top-up between duties."""

FAST_KW, FAST_C = 50.0, 0.5
"""Mean power that is fast anywhere but at the depot; at the depot it must also fill half of the battery an hour."""

TRIP_MIN_S = 60.0
TRIP_MIN_KM = 0.1

GAP_FACTOR, GAP_FLOOR_S, GAP_CEILING_S, GAP_SLOW_S = 3.0, 5.0, 60.0, 90.0
"""The longest step a power or speed is integrated over: 3 x median interval, 5 to 60 s; 90 s for 30-second feeds."""
SLOW_FEED_S = 25.0

REACH = timedelta(hours=96)
"""The longest silence bridged by odometer, counters and state of charge: a long weekend."""

OPEN_SILENCE = timedelta(hours=24)
"""How long a gateway that sleeps at key-off is believed parked when nothing has been heard since."""

MAY_RUN = timedelta(hours=6)
"""The longest silence between two rows with the key on that counts as driving nobody saw, where nothing tells of it: a
longer one is as likely the rest of a gateway that never says that the key is off."""

MOVED_KM = 0.2
"""Odometer change across a silence above which the vehicle was in service unobserved."""

GNSS_MAX_KMH = 200.0
"""A step between satellite fixes that is faster is a glitch."""

GNSS_NOISE_KM = 0.1
"""How far a fix may stray without being wrong."""

COUNTER_JITTER = 1.0
"""A counter that falls by less, in its own unit, shakes; it is not out of order."""

REFUELLED_KG = 0.3
"""A stretch over which the hydrogen in the tanks rises by more is refuelling; less is noise of the gauge."""

STANDING_LOSS_PTS, STANDING_LOSS_PTS_PER_H = 3.0, 0.2
"""State of charge a standing vehicle may lose across a silence, at once and per hour."""

CHARGE_GAIN_PTS = 1.0
"""State of charge gained while stationary from which on it is charging."""

FULL_COVERAGE_PCT = 99.9
"""From here on a figure counts as fully covered and is not scaled."""

HEADLINE_COVERAGE_PCT = 95.0
"""Coverage from which on a power integral is the headline."""

SCALING_COVERAGE_PCT = 80.0
"""Coverage from which on a figure may be scaled to full activity; below, it is left out of ratios."""

SOC_MIN_PTS = 10.0
"""State of charge used from which on its energy is preferred to a partly covered power integral."""

SOC_ERROR_PTS = 0.8
"""95 % error of a change in state of charge told in whole points: 1.96 x square root of 2 x 1 / square root of 12."""

COVERAGE_MIN_KM = 0.5
COVERAGE_MIN_H = 0.1
"""Activity below which a counter is too coarse to judge coverage."""

STUCK_SHARE, STUCK_MIN_KM = 0.2, 5.0
"""An odometer that shows less than this share of a longer distance driven by speed is stuck."""

CHECK_MIN_KWH, CHECK_MIN_KM, CHECK_MIN_FUEL = 5.0, 5.0, 1.0
"""Amounts below which two tellings of a day are not compared: resolutions and edges would decide."""

DEFAULT_CHARGER_EFFICIENCY = 0.90
CHARGER_EFFICIENCIES = (0.80, 0.98)
"""What a charger of unknown efficiency may have: the band within which charged over bought energy is accepted."""

METER_SHARED, METER_ALIKE, METER_UNLIKE = 0.5, 0.8, 0.5
"""A metered session and a vehicle's own may be one from half of the shorter on. They are alike from 80 % of the time
that either takes on; one that reaches 50 % leaves doubt about it."""
METER_RATIOS = (0.60, 1.05)
"""What a vehicle charged over what the meter counted, outside of which the two are not one: wider than what is accepted
of a charger, so that a bad one is still found."""
METER_CLOCK_S = 600.0
"""How far a charger's clock may be from the vehicle's."""
JUDGED_DAYS = 14
"""Days from which on fuel dispensed is compared with fuel used: fillings and days do not meet."""
PAST_PACK = 0.005
"""Energy used at the plug, as a share of what was charged, from which on a figure says that it holds it."""
METER_REST = 0.005
"""Charging outside of metered sessions that is less, as a share of what was metered, leaves a figure measured."""

STANDSTILL_MIN_S = 600.0
"""Time at a standstill with power watched from which on its median tells of the auxiliaries."""

KWH_PER_DGE = 37.64
KG_H2_PER_DGE = 1.116
"""Hydrogen with the energy of a US gallon of conventional diesel, by lower heating values (GREET): Hydrogen Analysis
Resource Center, Energy equivalency of fuels."""
KG_CNG_PER_DGE = 6.373 * 0.45359237
"""Natural gas with the energy of a US gallon of low-sulfur diesel: 128,488 Btu per gallon over 20,160 Btu per lb, lower
heating values (AFDC, Gasoline and diesel gallon equivalency methodology)."""
KM_PER_MILE = 1.609344
KM_PER_NAUTICAL_MILE = 1.852

MAX_RATE_PER_H = {"odometer_km": 200.0, "operating_hours_h": 1.1, "fuel_used_l": 3500.0}
"""Counters cannot rise faster; a larger step is a new device and counts nothing."""
DEFAULT_MAX_RATE_PER_H = 5000.0
"""For energy counters: beyond any pack or charger. Other fuels stay far below it too."""
RATE_SLACK = 1.0
"""A coarse counter may step by one unit at once."""
