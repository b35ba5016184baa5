"""Charging: constant power, then a taper; and when a vehicle hangs on its cable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.gateway.simulator.calendar import Floats
from ingest.gateway.simulator.fleet import Charger, Pack
from ingest.gateway.simulator.physics import SECONDS_PER_H

TAPER_TO = 1.02
WORTH_CHARGING = 0.005
STORED_SHARE = 0.985


@dataclass(frozen=True, slots=True)
class PlugSpan:
    """The cable is in from start to end; energy may flow from `charge_from`. Seconds from the start of the day."""

    start_s: float
    end_s: float
    charge_from_s: float


def charging_power_kw(charger: Charger, pack: Pack, energy_kwh: float, elapsed_s: Floats) -> Floats:
    """Power into the battery over time from the start of charging, in closed form.

    Constant up to `taper_from`, then in proportion to the room left up to a little over full, hence exponential in
    time; zero before the start, from `target` on, and if the battery is as good as full already.
    """
    full, knee, limit = (share * pack.usable_kwh for share in (charger.target, charger.taper_from, TAPER_TO))
    if energy_kwh >= full - WORTH_CHARGING * pack.usable_kwh:
        return np.zeros(elapsed_s.shape)
    stored_kw = charger.power_kw * STORED_SHARE
    constant_s = max(0.0, (knee - energy_kwh) / stored_kw * SECONDS_PER_H)
    taper_s = (limit - knee) / stored_kw * SECONDS_PER_H
    room = limit - max(knee, energy_kwh)
    room_left = room * np.exp(-np.maximum(elapsed_s - constant_s, 0) / taper_s)
    power = charger.power_kw * np.minimum(room_left / (limit - knee), 1)
    flowing = (elapsed_s >= 0) & (room_left > limit - full)
    return np.where(flowing, power, 0.0)
