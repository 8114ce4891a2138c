"""VUS-PR: how well scores rank the hours of an anomaly, for any threshold and any width of the edges.

Source: J. Paparrizos, P. Boniol, T. Palpanas, R. Tsay, A. Elmore, M. Franklin: Volume under the surface, a new accuracy
evaluation measure for time-series anomaly detection, PVLDB 15 (2022), definitions 3 to 6. A label is widened on each
side by a slope of l/2 whose height is sqrt(1 - distance / l); recall counts a range only where it is met; the area
under precision and recall is averaged over l from 0 to `LONGEST`. With every l the values are those of the authors' own
program, vus 0.0.6, to 1e-12, where the edges of two ranges do not touch.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
LONGEST = 24
"""Hours: the widest edge, twice as long as the shortest fault."""
STEP = 4
THRESHOLDS = 250
"""The number of thresholds, as in the authors' own program."""


def vus_pr(labels: NDArray[np.bool_], scores: Numbers, step: int = STEP) -> float:
    """The volume for one series. Both of shape (hours,), with at least one hour labelled; l goes in steps of `step`."""
    return float(np.mean([_range_pr(labels, scores, length) for length in range(0, LONGEST + 1, step)]))


def _range_pr(labels: NDArray[np.bool_], scores: Numbers, length: int) -> float:
    """The area under the curve of range-aware precision and recall at one width of the edges."""
    widened = _widened(labels, length)
    ranges = _ranges(widened > 0)
    order = np.sort(scores)[::-1]
    recalls, precisions = [0.0], [1.0]
    for place in np.linspace(0, len(scores) - 1, min(THRESHOLDS, len(scores))).astype(int):
        told = scores >= order[place]
        counted = np.where(labels, 1.0, widened * told)  # an edge that is not found does not count as missed
        hit, positives = float(counted[told].sum()), float(labels.sum() + counted.sum()) / 2
        met = np.mean([told[first:end].any() for first, end in ranges])
        recalls.append(min(hit / positives, 1.0) * float(met))
        precisions.append(hit / told.sum())
    return float(np.sum(np.diff(recalls) * precisions[1:]))


def _widened(labels: NDArray[np.bool_], length: int) -> Numbers:
    made = labels.astype(float)
    for first, end in _ranges(labels):
        for step in range(length // 2):
            height = np.sqrt(1 - (step + 1) / length)
            for place in (first - 1 - step, end + step):
                if 0 <= place < len(made):
                    made[place] = max(made[place], height)
    return made


def _ranges(there: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns (first, end) of each run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
