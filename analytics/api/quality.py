"""How good the data are: by pilot, and by signal of a vehicle."""

from __future__ import annotations

from fastapi import APIRouter

from analytics.api.asking import Asking, FirstDay, LastDay
from analytics.data_quality import pilot_quality, signal_quality
from analytics.questions import newest_day, period_of, span_of
from schemas.wire import PilotQuality, SignalQuality

router = APIRouter(prefix="/v1", tags=["quality"])


@router.get("/data-quality")
def data_quality(reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[PilotQuality]:
    """Of every pilot: coverage of its figures, what was refused or set aside, how methods agree."""
    return [pilot_quality(reader, pilot, period_of(pilot, first, last)) for pilot in reader.pilots()]


@router.get("/vehicles/{pilot}/{name}/signals")
def signals(pilot: str, name: str, reader: Asking, first: FirstDay = None, last: LastDay = None) -> list[SignalQuality]:
    """Every canonical signal of a vehicle: samples, range, what was refused or set aside. Default: the newest day."""
    found = reader.pilot(pilot)
    period = period_of(found, first, last) if first or last else newest_day(found)
    return signal_quality(reader, reader.vehicle(found, name), period, span_of(found, period))
