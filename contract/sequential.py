"""Whether a difference is statistically significant, for tests that are repeated while data arrive.

A trial and a rollout are judged at every pass, so their test must be valid for any number of repetitions. Two
tests, each wrong with at most the given probability over its whole life: `beyond_chance`, a mixture sequential
probability ratio test of a difference (Johari, Pekelis, Walsh, "Always Valid Inference", 2015,
https://arxiv.org/abs/1512.04922), and `ratio_beyond`, the exact mixture likelihood ratio of a ratio of hits
(Ville's inequality; Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform Chernoff bounds", 2020,
https://arxiv.org/abs/1808.03204). `radius` turns the first one into an interval that may be read as often: an
asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory
and asymptotic confidence sequences", 2024, https://arxiv.org/abs/2103.06476). Refuses to know what is compared.
"""

import math
from collections.abc import Callable

SPREADS = (0.03, 0.1, 0.3, 1.0)
"""Standard deviations of the differences that the mixture expects, with equal weights: from a few points to very large
ones."""
STEPS = 12
"""Ratios between the allowed one and 1 that the mixture of `ratio_beyond` expects, with equal weights."""
SMALLEST_RATIO = 1e-3
"""An allowed ratio of 0 counts as this: a single hit may be an accident."""
MIN_HITS = 3
"""With fewer hits no ratio is significant: failures come in bursts, and the first two are often one event."""
VARIATION = math.pi / 2 - 1
"""The variance of an absolute error divided by its squared mean, for normal errors: few samples never look more
certain."""

LONGEST_DISTANCE = 1e6
"""Standard deviations above which an interval counts as infinite."""
_LARGEST_POWER = 27.0
_HALVINGS = 16
"""Halvings of the interval that contains the radius: less than 1e-5 of it is left."""


def beyond_chance(excess: float, variance: float, false_alarm: float) -> bool:
    """Whether an excess over the allowed value is significant, for any number of tests. `variance` is above 0."""
    if excess <= 0.0:
        return False
    return _mixed([_log_ratio(excess, variance, spread) for spread in SPREADS]) >= -math.log(false_alarm)


def radius(variance: float, false_alarm: float, degrees: float = math.inf) -> float:
    """Returns half the length of the interval around an estimate that contains the true value at every look.

    `false_alarm` is the probability that the true value ever lies outside, on either side. If `variance` was itself
    estimated with few `degrees` of freedom the interval is longer: a normal distance becomes the one of Student's t
    that is as unlikely (Wallace, "Bounds on normal approximations to Student's and the chi-square distributions",
    1959).
    """
    alone = [_radius_of(variance, spread) for spread in SPREADS]
    low = min(each(-math.log(false_alarm)) for each in alone)
    high = min(each(-math.log(false_alarm) + math.log(len(SPREADS))) for each in alone)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond_chance(middle, variance, false_alarm) else (middle, high)
    return student_distance(high / math.sqrt(variance), degrees) * math.sqrt(variance)


def _radius_of(variance: float, spread: float) -> Callable[[float], float]:
    """Returns where the likelihood ratio against one spread reaches a logarithm: the mixture reaches it between two of
    these.
    """
    wide = variance + spread**2
    return lambda wanted: math.sqrt(2.0 * variance * wide / spread**2 * (wanted + 0.5 * math.log(wide / variance)))


def student_distance(normal: float, degrees: float) -> float:
    """Returns the distance of Student's t that is as unlikely as `normal` standard deviations; at most
    `LONGEST_DISTANCE`.
    """
    if math.isinf(degrees):
        return normal
    scaled = normal * (8.0 * degrees + 3.0) / (8.0 * degrees + 1.0)
    power = scaled**2 / degrees
    return LONGEST_DISTANCE if power > _LARGEST_POWER else math.sqrt(degrees * math.expm1(power))


def _log_ratio(excess: float, variance: float, spread: float) -> float:
    wide = variance + spread**2
    return 0.5 * math.log(variance / wide) + (spread * excess) ** 2 / (2.0 * variance * wide)


def ratio_beyond(hits: int, total: int, allowed: float, false_alarm: float) -> bool:
    """Whether significantly more than the fraction `allowed` of samples are hits, for any number of tests.

    Exact for independent samples, few or many: each alternative's likelihood ratio shrinks, on average, while the true
    fraction is at most `allowed`. Fewer hits than `MIN_HITS` are never significant.
    """
    allowed = max(allowed, SMALLEST_RATIO)
    if hits < MIN_HITS or hits <= allowed * total or allowed >= 1.0:
        return False
    return _mixed(
        [_log_likelihoods(hits, total - hits, allowed, ratio) for ratio in _alternatives(allowed)]
    ) >= -math.log(false_alarm)


def _alternatives(allowed: float) -> list[float]:
    """Returns ratios above `allowed`, with equal distances between their log odds, up to nearly 1."""
    low, high = math.log(allowed / (1 - allowed)), math.log(0.99 / 0.01)
    steps = (low + (max(high, low + 1.0) - low) * step / STEPS for step in range(1, STEPS + 1))
    return [1 / (1 + math.exp(-odds)) for odds in steps]


def _log_likelihoods(hits: int, others: int, allowed: float, ratio: float) -> float:
    return hits * math.log(ratio / allowed) + others * math.log((1 - ratio) / (1 - allowed))


def _mixed(logs: list[float]) -> float:
    """Returns the logarithm of the mean of likelihood ratios that are given as logarithms."""
    largest = max(logs)
    return largest + math.log(sum(math.exp(each - largest) for each in logs) / len(logs))


def variance_of_ratio(hits: int, total: int) -> float:
    """Returns the variance of a ratio of samples, with one hit and one miss added, so that few samples never look
    certain.
    """
    smooth = (hits + 1) / (total + 2)
    return smooth * (1 - smooth) / max(total, 1)


def variance_of_mean(total: float, squares: float, count: int) -> float:
    """Returns the variance of the mean of `count` absolute errors, from their sum and the sum of their squares.

    At least that of normal errors of this mean: a few equal errors do not show a small variance.
    """
    if count < 2:
        return math.inf
    mean = total / count
    measured = max(0.0, (squares - count * mean * mean) / (count - 1))
    return max(measured, VARIATION * mean * mean) / count
