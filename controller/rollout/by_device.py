"""The effect of a release with the device as the unit: each device after it, compared with its own past and with the
others.

Inferences of one device depend on the same place, sensor and hour, so a test that treats them as independent
reports noise as an effect. Here every device is one observation: how far it is from devices of its stratum in the
same intervals, after the release and before it (difference in differences). Its past counts as much as it is
reliable: if past and present of devices differ only by noise, the past is not used. Devices that do not have the
release yet give placebo differences, which show how much devices differ by themselves. Sources: Deng, Xu, Kohavi,
Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data", 2013 (own
past); DerSimonian, Laird, "Meta-analysis in clinical trials", 1986 (weights); Fisher, "The Design of Experiments",
1935 (randomisation). Decides estimates and variances. Refuses to know rules and thresholds.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from controller.rollout.far_device import bounded, bounded_errors, farthest
from controller.rollout.noise import PRIOR_DEGREES, hit_noise, number_noise, relative_noise
from controller.rollout.rows import Flags, Numbers, Places, sums_by

RANDOMISED_UP_TO = 30
"""The number of devices with the release up to which their rank among random choices of devices is also tested;
with more, the mean of so many is normal.
"""
RANDOM_CHOICES = 1_999
"""Random choices of as many devices: the smallest probability that they can show is 1 in 2,000."""
MAX_NOISE_TIMES = 4.0
"""A placebo difference with more than so many times the variance by noise of the noisiest device with the release
is not used in random choices, which treat all devices as alike. A device that took the release minutes after the
others has a placebo of about twenty samples, and with one of those among a hundred devices a loss of five points of
accuracy was not found for hours."""
_SMALLEST = 1e-12
_LARGEST_LOG = 20.0


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is assumed about a fleet until its data show more, in the unit of the estimate."""

    levels: float
    """Standard deviation between devices."""
    differences: float
    """Standard deviation between devices of how much each has moved, without noise."""


def own_rows(treated: Flags, start: Numbers, first: Numbers) -> Flags:
    """Returns rows of another version before the device changed, including the minute of the change."""
    return ~treated & (start <= first)


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of one metric, arrays of one length n, and what is known of each of D devices."""

    device: Places
    stratum: Places
    """Shape (D,): the number of the device's stratum."""
    start: Numbers
    treated: Flags
    total: Numbers
    """Shape (n,): how many were counted."""
    value: Numbers
    """Shape (n,): hits among them, or the sum of their errors."""
    square: Numbers
    """Shape (n,): the sum of their squared errors; of hits the hits."""
    first: Numbers
    """Shape (D,): when the release was first seen on a device; infinity for never."""
    relative: bool
    """Whether effects are logarithms of ratios, or plain differences."""
    usual_variance: float | None = None
    """The variance of one number within a device, for numbers that are neither hits nor errors."""

    @property
    def is_own(self) -> Flags:
        """Returns rows of devices that have not had the release yet, including the minute of the change."""
        return own_rows(self.treated, self.start, self.first[self.device])

    @property
    def is_beside(self) -> Flags:
        """Rows of another version that ran beside the release on the same device."""
        return ~self.treated & ~self.is_own

    def noise(self, total: Numbers, value: Numbers, square: Numbers) -> Numbers:
        """Variance of plain means by noise alone."""
        if self.usual_variance is None:
            return hit_noise(total, value)
        return number_noise(total, value, square, self.usual_variance)


@dataclass(frozen=True, slots=True)
class Group:
    """Devices of one side, arrays of one length. `before` is 0 and its variance infinite if a device has no past."""

    after: Numbers
    after_variance: Numbers
    """The variance by noise alone: no estimated variance may be lower."""
    before: Numbers
    before_variance: Numbers
    samples: Numbers
    places: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    """The number of each device in the table."""

    @property
    def devices(self) -> int:
        """The number of devices."""
        return len(self.after)

    def without(self, place: int) -> "Group":
        """Returns all devices except one."""
        kept = np.arange(self.devices) != place
        levels = (self.after[kept], self.after_variance[kept], self.before[kept], self.before_variance[kept])
        return Group(*levels, self.samples[kept], self.places[kept])


@dataclass(frozen=True, slots=True)
class Effect:
    """An estimate with its variance and the degrees of freedom of that."""

    value: float
    variance: float
    degrees: float
    moved: Numbers
    """How much each device with the release has moved."""
    placebo: Numbers
    """The same for devices without it that have about as much data."""
    spread: float
    """Standard deviation between devices of how much each has moved, beyond noise."""
    devices: int
    devices_beside: int
    samples: int
    samples_beside: int
    paired: bool = False
    """Whether both versions answered on the same devices at the same time."""
    set_aside: int | None = None
    """The number of a device that was so far from all others that it is not counted; see `far_device`."""


def effect_of(sample: Sample, assumed: Assumed) -> Effect | None:
    """The best estimate: of pairs on the same devices or by differences, the more precise one; None for neither."""
    return surest(paired(sample, assumed), differences(sample, assumed))


def surest(*effects: Effect | None) -> Effect | None:
    """Returns the estimate with the shortest interval; None if there is none."""
    found = [each for each in effects if each is not None]
    return min(found, key=lambda each: each.variance * (1 + 2 / each.degrees), default=None)


def differences(sample: Sample, assumed: Assumed) -> Effect | None:
    """Returns the difference in differences; None without devices that lacked the release at the same time."""
    own, beginning = sample.is_own, np.min(sample.start[sample.treated], initial=math.inf)
    if math.isinf(beginning):
        return None
    key, keys = _times(sample)
    usual = _usual(sample, own, key, keys, np.zeros(len(sample.first)))
    if not np.any(usual[key[sample.treated]] > -math.inf):
        return None
    for last in (False, True):
        treated, beside = _groups(sample, own, beginning, usual[key])
        if last or not treated.devices or not beside.devices:
            break
        everyone = _group(sample, sample.treated, own, usual[key], keep_all=True)
        usual = _usual(
            sample, own, key, keys, everyone.before * _reliance(everyone, _persistence(treated, beside, assumed))
        )
    return combined(treated, beside, assumed) if treated.devices and beside.devices else None


def paired(sample: Sample, assumed: Assumed) -> Effect | None:
    """Compares both versions on the same devices in the same intervals; None if no version ran beside the release."""
    if not sample.is_beside.any():
        return None
    starts, inverse = np.unique(sample.start, return_inverse=True)
    key, size = sample.device * len(starts) + inverse.reshape(-1), len(sample.first) * len(starts)
    ours, theirs = (_cells(sample, rows, key, size) for rows in (sample.treated, sample.is_beside))
    both = (ours[0] > 0) & (theirs[0] > 0)
    if not both.any():
        return None
    device = np.zeros(size, np.int64)
    device[key] = sample.device
    weight = np.where(both, ours[0] * theirs[0] / np.maximum(ours[0] + theirs[0], 1), 0.0)
    group = _pairs(sample, device[both], weight[both], [part[both] for part in ours], [part[both] for part in theirs])
    return level(group, assumed, int(theirs[0][both].sum()))


def movement(sample: Sample, since: float, assumed: Assumed) -> tuple[float, int]:
    """Returns (standard deviation between devices of how much each has moved since a moment, beyond noise; devices
    seen).

    For devices without any release it is their usual movement.
    """
    key, keys = _times(sample)
    usual = _usual(sample, sample.is_own, key, keys, np.zeros(len(sample.first)))
    _, moving = _groups(sample, sample.is_own, since, usual[key])
    if moving.devices < 2:
        return assumed.differences, 0
    none = np.zeros(0)
    return combined(moving, Group(none, none, none, none, none), assumed).spread, moving.devices


def combined(treated: Group, beside: Group, assumed: Assumed, set_aside: int | None = None) -> Effect:
    """Returns the effect from both sides: how much treated devices have moved, minus how much the others have."""
    persistence = _persistence(treated, beside, assumed)
    moved, placebo = (group.after - _reliance(group, persistence) * group.before for group in (treated, beside))
    noise, quiet = (
        group.after_variance + _squared_past(group, _reliance(group, persistence)) for group in (treated, beside)
    )
    far = None if set_aside is not None else farthest((moved, placebo), (noise, quiet), assumed.differences)
    if far is not None:
        sides = [treated, beside]
        aside = int(sides[far[0]].places[far[1]])
        sides[far[0]] = sides[far[0]].without(far[1])
        return combined(sides[0], sides[1], assumed, set_aside=aside)
    degrees = max(0, treated.devices - 1) + max(0, beside.devices - 1)
    excess = _excess((moved, placebo), (noise, quiet), degrees, assumed.differences)
    ours, theirs = _mean(moved, noise + excess), _mean(placebo, quiet + excess)
    return Effect(
        value=ours[0] - theirs[0],
        variance=ours[1] + theirs[1],
        degrees=degrees + PRIOR_DEGREES,
        moved=moved,
        placebo=placebo[quiet <= MAX_NOISE_TIMES * np.max(noise, initial=0.0)] if treated.devices else placebo,
        spread=math.sqrt(excess),
        devices=treated.devices,
        devices_beside=beside.devices,
        samples=int(treated.samples.sum()),
        samples_beside=int(beside.samples.sum()),
        set_aside=set_aside,
    )


def could_be_chance(effect: Effect, limit: float, level_of: float) -> bool:
    """Whether a random choice of as many devices would exceed `limit` as much with a probability above `level_of`.

    With fewer choices than 1 / `level_of` the release's own must be the most extreme one. With many devices always
    False.
    """
    count, others = len(effect.moved), len(effect.placebo)
    if not others or count > RANDOMISED_UP_TO:
        return False
    pool = np.concatenate([effect.moved - limit, effect.placebo])
    observed = pool[:count].mean() - pool[count:].mean()
    random = np.random.default_rng(0)
    chosen = np.argsort(random.random((RANDOM_CHOICES, len(pool))), axis=1)[:, :count]
    ours = pool[chosen].sum(axis=1)
    drawn = ours / count - (pool.sum() - ours) / others
    as_extreme = (1 + np.count_nonzero(drawn >= observed - _SMALLEST)) / (RANDOM_CHOICES + 1)
    return bool(as_extreme > max(level_of, 2.0 / math.comb(len(pool), count)))


def _times(sample: Sample) -> tuple[Places, int]:
    """Returns (a number for the stratum and the interval of each row, how many there are)."""
    starts, inverse = np.unique(sample.start, return_inverse=True)
    kinds = sample.stratum[sample.device]
    return kinds * len(starts) + inverse.reshape(-1), (int(kinds.max(initial=0)) + 1) * len(starts)


def _usual(sample: Sample, own: Flags, key: Places, keys: int, offset: Numbers) -> Numbers:
    """Returns by interval the level of devices without the release, minus their own `offset`; -inf for none."""
    of_row, part = offset[sample.device], bounded(sample.total)
    total = part * (sample.total * np.exp(of_row) if sample.relative else sample.total)
    plain = bounded_errors(sample.total, sample.value) if sample.relative else sample.value - sample.total * of_row
    value = part * plain
    totals = sums_by(key[own], total[own], keys)
    values = sums_by(key[own], value[own], keys)
    return np.where(totals > 0, values / np.maximum(totals, _SMALLEST), -math.inf)


def _groups(sample: Sample, own: Flags, beginning: float, usual: Numbers) -> tuple[Group, Group]:
    before, after = own & (sample.start < beginning), own & (sample.start >= beginning)
    return _group(sample, sample.treated, own, usual), _group(sample, after, before, usual)


def _group(sample: Sample, after: Flags, before: Flags, usual: Numbers, *, keep_all: bool = False) -> Group:
    """Devices with their levels in two sets of rows; those without any row `after` are left out unless `keep_all`."""
    now, past = (_levels(sample, rows & (usual > -math.inf), usual) for rows in (after, before))
    known = np.ones(len(sample.first), bool) if keep_all else now[2] > 0
    places = np.flatnonzero(known)
    return Group(now[0][known], now[1][known], past[0][known], past[1][known], now[2][known], places)


def _levels(sample: Sample, rows: Flags, usual: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Returns shapes (D,): distance from the usual level, its variance by noise alone, and samples."""
    devices = len(sample.first)
    total, value, square, expected = (
        sums_by(sample.device[rows], each[rows], devices)
        for each in (sample.total, sample.value, sample.square, sample.total * np.where(rows, usual, 0.0))
    )
    few = np.maximum(total, 1.0)
    if sample.relative:
        found = _log_ratio(value, expected)
        noise = relative_noise(total, value, square)
    else:
        found = (value - expected) / few
        noise = sample.noise(total, value, square)
    there = total > 0
    return np.where(there, found, 0.0), np.where(there, noise, math.inf), total


def _log_ratio(value: Numbers, expected: Numbers) -> Numbers:
    found = np.log(np.maximum(value, _SMALLEST)) - np.log(np.maximum(expected, _SMALLEST))
    return np.asarray(np.clip(found, -_LARGEST_LOG, _LARGEST_LOG))


def _persistence(treated: Group, beside: Group, assumed: Assumed) -> tuple[float, float]:
    """Returns (lasting variance between devices, variance of their pasts that is neither lasting nor noise)."""
    lasting = passing = 0.0
    degrees = 0
    for group in (treated, beside):
        known = np.isfinite(group.before_variance)
        if np.count_nonzero(known) < 2:
            continue
        after, before = group.after[known] - group.after[known].mean(), group.before[known] - group.before[known].mean()
        lasting += float(after @ before)
        passing += float(before @ before) - float(group.before_variance[known].sum())
        degrees += int(np.count_nonzero(known)) - 1
    weight = degrees + PRIOR_DEGREES
    lasts = max(0.0, (lasting + PRIOR_DEGREES * assumed.levels**2) / weight)
    return lasts, max(0.0, passing / max(degrees, 1) - lasts)


def _reliance(group: Group, persistence: tuple[float, float]) -> Numbers:
    """Returns by device how much of its past is expected to continue: 0 for nothing, 1 for all of it."""
    lasts, passes = persistence
    return np.asarray(lasts / (lasts + passes + group.before_variance + _SMALLEST))


def _squared_past(group: Group, reliance: Numbers) -> Numbers:
    past = np.where(np.isfinite(group.before_variance), group.before_variance, 0.0)
    return np.asarray(reliance**2 * past)


def _excess(values: tuple[Numbers, ...], noises: tuple[Numbers, ...], degrees: int, assumed: float) -> float:
    """Returns the variance between devices beyond noise, combined with the assumed one."""
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in values if len(each))
    expected = sum(float(each.mean()) * (len(each) - 1) for each in noises if len(each) > 1)
    return max(0.0, (squares - expected + PRIOR_DEGREES * assumed**2) / (degrees + PRIOR_DEGREES))


def _mean(values: Numbers, variances: Numbers) -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    weights = 1.0 / np.maximum(variances, _SMALLEST)
    return float(weights @ values / weights.sum()), float(1.0 / weights.sum())


def level(group: Group, assumed: Assumed, samples_beside: int = 0, set_aside: int | None = None) -> Effect:
    """Returns the mean of devices: alone, or of differences from so many samples beside them on the same devices."""
    far = None if set_aside is not None else farthest((group.after,), (group.after_variance,), assumed.differences)
    if far is not None:
        return level(group.without(far[1]), assumed, samples_beside, set_aside=int(group.places[far[1]]))
    degrees = group.devices - 1
    excess = _excess((group.after,), (group.after_variance,), degrees, assumed.differences)
    value, variance = _mean(group.after, group.after_variance + excess)
    return Effect(
        value=value,
        variance=variance,
        degrees=degrees + PRIOR_DEGREES,
        moved=group.after,
        placebo=np.zeros(0),
        spread=math.sqrt(excess),
        devices=group.devices,
        devices_beside=group.devices if samples_beside else 0,
        samples=int(group.samples.sum()),
        samples_beside=samples_beside,
        paired=samples_beside > 0,
        set_aside=set_aside,
    )


def _cells(sample: Sample, rows: Flags, key: Places, size: int) -> list[Numbers]:
    return [sums_by(key[rows], each[rows], size) for each in (sample.total, sample.value, sample.square)]


def _pairs(sample: Sample, device: Places, weight: Numbers, ours: list[Numbers], theirs: list[Numbers]) -> Group:
    """Devices with the mean of both versions' differences, weighted as by Mantel and Haenszel."""
    devices = len(sample.first)
    weights = sums_by(device, weight, devices)
    known = weights > 0
    means = [
        sums_by(device, weight * side[1] / side[0], devices) / np.maximum(weights, _SMALLEST) for side in (ours, theirs)
    ]
    if sample.relative:
        noise = weight**2 * (
            relative_noise(*ours) * (ours[1] / ours[0]) ** 2 + relative_noise(*theirs) * (theirs[1] / theirs[0]) ** 2
        )
        scale = np.maximum(np.minimum(*means), _SMALLEST) ** 2
        found = _log_ratio(*means)
    else:
        noise = weight**2 * (sample.noise(*ours) + sample.noise(*theirs))
        scale = np.ones(devices)
        found = means[0] - means[1]
    variance = sums_by(device, noise, devices) / np.maximum(weights, _SMALLEST) ** 2 / scale
    samples = sums_by(device, ours[0], devices)
    none = np.zeros(int(known.sum()))
    return Group(found[known], variance[known], none, none + math.inf, samples[known], np.flatnonzero(known))
