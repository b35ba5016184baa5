"""A signal's own samples, and its running sums at any row between them.

A *track* holds the rows on which a signal was read, in order of vehicle and time, with what has been summed up before
each. A quantity between two instants is the difference of two lookups; between samples it is filled linearly, so a cut
splits it exactly. Nothing is summed over an interval longer than its limit.

All of it is arithmetic on whole arrays, NaN standing for "not known". Signals read on the same rows share everything
that depends on the rows alone (`Sampling`), which is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analytics.metrics import rules
from analytics.metrics.arrays import Flags, Floats, Whole
from analytics.metrics.readings import Readings, Sampling, sum_before

RollOver = Mapping[str, Mapping[int, float]]
"""By counter and vehicle, the value at which it starts again from zero."""
Amounts = Callable[[Floats, Floats, Floats, Floats], dict[str, Floats]]
"""From the value here, the value there, and the hours and kilometres between: what an interval adds, by name."""


@dataclass(frozen=True)
class Track:
    """Readings of a signal, which steps to the next are `covered`, and what the steps add up to.

    A sum is either known at each reading (`running`), or what the `steps` add is.
    """

    name: str
    sampling: Sampling
    x: Floats
    covered: Flags
    running: Mapping[str, Floats]
    steps: Mapping[str, Floats]
    amounts: Amounts
    with_km: bool = True

    def everywhere(self, name: str) -> Floats:
        """A sum before each reading."""
        return self.running[name] if name in self.running else sum_before(self.steps[name])


def counted(readings: Readings, name: str, modulus: Floats | None = None) -> Readings:
    """Turn the readings of a counter into what it has counted, free of spikes, resets and device changes.

    A single reading that leaves and returns is dropped. A fall counts nothing and goes on from the new value, unless
    `modulus`, of each reading, says that the counter starts again there. A rise faster than possible counts nothing.
    Intervals that count nothing for these reasons are `lost`.
    """
    odd = _odd_steps(readings, name)
    if not len(odd):
        return readings
    stay = np.ones(len(readings.x), bool)
    stay[_returns(readings, odd)] = False
    if not stay.all():
        readings = Readings(Sampling(readings.sampling.rows.at(stay)), readings.x[stay])
        odd = _odd_steps(readings, name)
    step, counts = readings.x[odd + 1] - readings.x[odd], np.zeros(len(odd))
    lost = ~readings.sampling.same
    lost[odd] = True
    if modulus is not None:
        rolled = _rolled(step, modulus[stay][odd + 1])
        told = rolled <= _possible(readings, odd, name)
        counts[told], lost[odd[told]] = rolled[told], False
    # All readings after an odd step are set right by what it did not count.
    shifts = np.append(0.0, np.cumsum(counts - step))
    x = readings.x + np.repeat(shifts, np.diff(np.concatenate([[0], odd + 1, [len(readings.x)]])))
    return Readings(readings.sampling, x, lost)


def _odd_steps(readings: Readings, name: str) -> Whole:
    """The readings from which a counter falls, or rises faster than it can, to its vehicle's next one."""
    step = np.diff(readings.x)
    if len(step) == 0 or (step.min() >= 0 and step.max() <= rules.RATE_SLACK):
        return np.array([], np.int64)  # nearly always, and much cheaper
    odd = np.flatnonzero((step < 0) | (step > rules.RATE_SLACK))
    odd = odd[readings.sampling.same[odd]]
    return odd[(step[odd] < 0) | (step[odd] > _possible(readings, odd, name))]


def _possible(readings: Readings, steps: Whole, name: str) -> Floats:
    """What a counter can have risen by in some steps."""
    per_h = rules.MAX_RATE_PER_H.get(name, rules.DEFAULT_MAX_RATE_PER_H)
    return per_h * readings.sampling.gap_h[steps] + rules.RATE_SLACK


def _returns(readings: Readings, odd: Whole) -> Whole:
    """Single readings that leave, up or down, and return at least to where the counter was: a step of theirs falls."""
    x, same = readings.x, readings.sampling.same
    falls = odd[x[odd + 1] < x[odd]]
    at = np.unique(np.concatenate([falls, falls + 1]))
    at = at[(at > 0) & same[at]]
    at = at[same[at - 1]]
    before, here, after = x[at - 1], x[at], x[at + 1]
    single: Whole = at[(after >= before) & ((here > after) | (here < before))]
    return single


def _rolled(step: Floats, modulus: Floats) -> Floats:
    """What a fall by most of the counter's range, a roll-over, has counted; NaN for a smaller one, a reset."""
    return np.where(step < -0.5 * modulus, step + modulus, np.nan)


def bridged(name: str, readings: Readings, amount: str) -> Track:
    """A track of a value whose changes count over any gap up to `rules.REACH` that is not `lost`."""
    sampling, x = readings.sampling, readings.x
    covered = sampling.bridgeable if readings.lost is None else sampling.bridgeable & ~readings.lost

    def amounts(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
        return {amount: there - here}

    if not sampling.unbroken:
        return _track(name, sampling, x, covered, amounts)
    # Nothing to leave out: the value itself runs.
    running, steps = {amount: x}, {}
    if readings.lost is None:
        running |= {f"{name}_s": sampling.until_s, f"{name}_km": sampling.rows.km}
    else:
        steps = {f"{name}_s": np.where(covered, sampling.gap_s, 0.0), f"{name}_km": np.where(covered, sampling.km, 0.0)}
    return Track(name, sampling, x, covered, running, steps, amounts)


def integrated(name: str, readings: Readings, amounts: Amounts, *, with_km: bool = False) -> Track:
    """A track of a rate per hour, integrated over intervals up to the day's longest step."""
    return _track(name, readings.sampling, readings.x, readings.sampling.short, amounts, with_km=with_km)


def held(name: str, readings: Readings, amounts: Amounts) -> Track:
    """A track of a value that holds until it is read again, for as long as rows are believed to be in contact."""
    covered = readings.sampling.gap_s <= rules.CONTACT_GAP_S
    return _track(name, readings.sampling, readings.x, covered, amounts)


def in_step(name: str, readings: Readings) -> Track:
    """A track of nothing but the time in intervals no longer than `x` seconds."""
    sampling = readings.sampling
    covered = sampling.gap_s <= readings.x
    if (covered | ~sampling.same).all():
        return Track(name, sampling, readings.x, covered, {f"{name}_s": sampling.until_s}, {}, _nothing, with_km=False)
    return _track(name, readings.sampling, readings.x, covered, _nothing, with_km=False)


def _nothing(here: Floats, there: Floats, hours: Floats, km: Floats) -> dict[str, Floats]:
    return {}


def _track(
    name: str, sampling: Sampling, x: Floats, covered: Flags, amounts: Amounts, *, with_km: bool = True
) -> Track:
    there = np.append(x[1:], x[-1:])
    # What follows from steps that any rate may be integrated over is the same for all signals of these rows.
    shared = covered is sampling.short
    skipped = sampling.long if shared else np.flatnonzero(~covered)
    steps = amounts(x, there, sampling.gap_h, sampling.km)
    for step in steps.values():
        step[skipped] = 0.0
    steps[f"{name}_s"] = sampling.short_s if shared else np.where(covered, sampling.gap_s, 0.0)
    if with_km:
        steps[f"{name}_km"] = sampling.short_km if shared else np.where(covered, sampling.km, 0.0)
    return Track(name, sampling, x, covered, {}, steps, amounts, with_km)
