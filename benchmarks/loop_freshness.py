"""How much a new model gains over one that is four weeks older, on one series: the part of a gain that a gate could
see.

Decides the unit, four weeks: their differences are paired, and the standard error assumes that they are independent of
each other. Refuses to know policies.
"""

from itertools import pairwise

import numpy as np

from benchmarks.loop_world import World
from controller.gates.estimate import Estimate, estimate

DAYS = 28
CONFIDENCE = 0.8
"""As the champion gate's."""


def freshness(world: World) -> Estimate:
    """Returns the mean gain over the life of the series, as a fraction of all answers, with its interval."""
    marks = [*world.days[::DAYS], world.days[-1]]
    models = [world.fitted(mark) for mark in marks[:-1]]
    spans = list(pairwise(marks))[1:]
    gains = [
        float(new.right[begin:end].mean() - old.right[begin:end].mean())
        for (old, new), (begin, end) in zip(pairwise(models), spans, strict=True)
        if end > begin
    ]
    return estimate(float(np.mean(gains)), float(np.var(gains, ddof=1)) / len(gains), len(gains) - 1, CONFIDENCE)
