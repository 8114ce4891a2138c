"""Whether a difference is beyond chance, for tests that are looked at again and again.

A trial and a rollout are judged at every pass, so their test must hold however often it is looked at: a mixture
sequential probability ratio test, which is wrong with at most the given probability over its whole life. Source:
Johari, Pekelis, Walsh, "Always Valid Inference" (2015), https://arxiv.org/abs/1512.04922.
Refuses to know what is compared.
"""

import math

SPREADS = (0.03, 0.1, 0.3, 1.0)
"""Standard deviations of the differences that the mixture expects, in equal parts: a few points, and disasters."""


def beyond_chance(excess: float, variance: float, false_alarm: float) -> bool:
    """Whether an excess over what is allowed is beyond chance, at any number of looks. `variance` is above 0."""
    if excess <= 0.0:
        return False
    logs = [_log_ratio(excess, variance, spread) for spread in SPREADS]
    largest = max(logs)
    mixed = largest + math.log(sum(math.exp(each - largest) for each in logs) / len(logs))
    return mixed >= -math.log(false_alarm)


def _log_ratio(excess: float, variance: float, spread: float) -> float:
    wide = variance + spread**2
    return 0.5 * math.log(variance / wide) + (spread * excess) ** 2 / (2.0 * variance * wide)


def variance_of_ratio(hits: int, total: int) -> float:
    """Variance of a share of samples: of one with a hit and a miss more, so that few samples never look certain."""
    smooth = (hits + 1) / (total + 2)
    return smooth * (1 - smooth) / max(total, 1)
