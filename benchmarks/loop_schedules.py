"""Yardsticks of the loop's benchmark that retrain by the calendar: daily, and at the best fixed interval.

Decides when they retrain, and that the best interval is the one that hindsight chooses for a stream. It uses only
one number from the future. The comparison shows how much of the oracle's gain is chance: the oracle chooses for
each week the model that by chance is best in the next. Refuses to know the streams.
"""

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from benchmarks.loop_world import World
from benchmarks.loop_yardsticks import Life
from controller.retraining.policy import Costs

WEEKS = (1, 2, 3, 4, 6, 8, 10, 13, 17, 21, 26, 39, 52)


def daily(world: World) -> Life:
    """A new version each day, of any quality. Each answers the rows of one day."""
    life, parts = Life(None), []
    stream, first = world.stream, world.fitted(world.begins)
    for start, end in pairwise(world.days):
        if start == world.begins:
            parts.append(first.right[start:end])
            continue
        began = time.process_time()
        model = world.fit(max(0, start - 2 * (len(stream.at) // 10)), start)
        life.training_s += time.process_time() - began
        life.trainings, life.sent = life.trainings + 1, life.sent + 1
        parts.append(model.predict(stream.rows[start:end]) == stream.labels[start:end])
    life.right = np.concatenate(parts)
    return life


def best_interval(world: World, costs: Costs) -> Life:
    """A new version every so many weeks, of any quality; the number is the best one for the stream."""
    return max(_at_intervals(world), key=lambda life: life.utility(world, costs))


def _at_intervals(world: World) -> Iterator[Life]:
    weeks = [*world.days[::7], world.days[-1]]
    for every in WEEKS:
        life, parts, serving = Life(None), [], world.fitted(world.begins)
        for week, (start, end) in enumerate(pairwise(weeks)):
            if week and week % every == 0:
                serving = world.fitted(start)
                life.trainings, life.sent = life.trainings + 1, life.sent + 1
                life.training_s += serving.training_s
            parts.append(serving.right[start:end])
        life.right, life.told = np.concatenate(parts), [f"every {every} weeks"]
        yield life
