"""Estimates from its confidence how often a classifier is right, and whether that estimate is reliable.

Confidence is calibrated with rows that have labels: among rows of one confidence, how many were right. The estimate
of a block without labels follows from its own confidences. Source: Kuleshov, Liang, "Calibrated and Reliable
Probabilities", and NannyML's confidence-based performance estimation (CBPE). It notices when rows change, but not
when the labels of the same rows change. Therefore each block with labels is first estimated as if it had none: the
errors of these estimates give the interval of the next one. The estimate is valid only while these errors are small
and the newest lies within the interval of those before it. Decides the estimate and its flag. Refuses to know where
labels come from.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from contract.sequential import student_distance
from contract.tensors import Array

CALIBRATION_BLOCKS = 12
"""Blocks with labels that calibrate and that give the errors: a quarter of a year, if they are weeks."""
MIN_CALIBRATION = 4
"""The fewest blocks that calibrate before an estimate is made, and the fewest estimates before one has an interval."""
MIN_LABELS = 20
"""The fewest labels of a block: a day of the label budget. With fewer its error is unknown."""
PRIOR_ROWS = 2.0
"""Rows that are as often right as their confidence says, added to each bin: for a bin without labels its confidence
is used.
"""
CONFIDENCE = 0.95
MAX_HALF_WIDTH = 0.05
"""The widest interval of a valid estimate, to each side: a wider one cannot show a loss of 5 points. With it 98 % of
the valid weeks of an unchanged fleet of 50 devices are within 3 points, and the air quality of Beijing (a benchmark) is
never valid."""
EXCESS = 0.25
"""How many standard deviations of its own chance are added to the measured spread of errors. With none, an unchanged
fleet causes an alarm from time to time; with half of one, few estimates are ever valid (`make bench ONLY=drift`).
"""


class Labelled(msgspec.Struct, frozen=True):
    """One block of time with labels, per bin of confidence."""

    rows: Array
    """Rows with a label."""
    right: Array
    """The labelled rows that were right."""
    met: Array
    """All rows, with or without a label: people label unsure rows more often than others."""

    @property
    def accuracy(self) -> float:
        """How often the model was right."""
        return float(self.right.sum() / self.rows.sum())


class QualityEstimate(msgspec.Struct, frozen=True):
    """The estimated accuracy of the newest block, without its labels; value, low and high are None if there is no
    estimate.
    """

    value: float | None
    low: float | None
    high: float | None
    valid: bool
    why: str
    """Why it is not valid, in words; for a valid one, the data on which it is based."""
    rows: int = 0
    labels: int = 0
    """Labels of the blocks by which it was calibrated."""
    usual: float | None = None
    """The accuracy of the model in those blocks, over all their rows."""


class _Calibration(msgspec.Struct, frozen=True):
    right: Array
    variance: Array

    def of(self, counts: Array) -> tuple[float, float]:
        """Returns (the accuracy that these confidences predict, its variance from the calibrating labels)."""
        ratios = counts / counts.sum()
        return float(ratios @ self.right), float(ratios**2 @ self.variance)


def cannot_be_told(why: str) -> QualityEstimate:
    """Returns an estimate without a value, with the reason."""
    return QualityEstimate(None, None, None, valid=False, why=why)


def middles(edges: Sequence[float]) -> Array:
    """Returns the confidence that represents a bin, shape (bins,): missing, between edges, above the last."""
    inner = [(low + high) / 2 for low, high in zip((0.0, *edges), (*edges, 1.0), strict=True)]
    return np.array([0.0, *inner])


def estimate(now: Array, past: Sequence[Labelled | None], promised: Array) -> QualityEstimate:
    """Estimates the accuracy of the newest block. `now`: rows per bin of confidence, shape (bins,).

    `past`: blocks before it, the newest first, None for one without enough labels. `promised`: by bin, the confidence
    that represents it.
    """
    labelled = [each for each in past if each is not None and each.rows.sum() >= MIN_LABELS]
    if now.sum() < MIN_LABELS:
        return cannot_be_told(f"only {int(now.sum())} rows with a confidence were counted")
    needed = 2 * MIN_CALIBRATION
    if len(labelled) < needed:
        words = f"{len(labelled)} blocks of time have {MIN_LABELS} labels or more, and it takes {needed}"
        return cannot_be_told(words)
    calibration = _calibrated(labelled[:CALIBRATION_BLOCKS], promised)
    value, unsure = calibration.of(now)
    errors = [_error(labelled[at], labelled[at + 1 : at + 1 + CALIBRATION_BLOCKS], promised) for at in _told(labelled)]
    noise = value * (1 - value) / float(now.sum())
    half = _half(errors, unsure + noise)
    newest, expected = errors[0]
    allowed = _half(errors[1:], expected) if len(errors) > 1 else half
    why = _why(abs(newest), allowed, half, len(errors))
    return QualityEstimate(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        valid=not why,
        why=why or f"its errors on {len(errors)} blocks with labels lie within its interval",
        rows=int(now.sum()),
        labels=int(sum(each.rows.sum() for each in labelled[:CALIBRATION_BLOCKS])),
        usual=_usual(labelled, errors, promised),
    )


def _told(labelled: Sequence[Labelled]) -> range:
    """Returns the blocks that can be estimated from those before them, the newest first."""
    return range(min(CALIBRATION_BLOCKS, len(labelled) - MIN_CALIBRATION))


def _calibrated(blocks: Sequence[Labelled], promised: Array) -> _Calibration:
    rows = np.sum([each.rows for each in blocks], axis=0)
    right = np.sum([each.right for each in blocks], axis=0)
    ratio = (right + PRIOR_ROWS * promised) / (rows + PRIOR_ROWS)
    return _Calibration(ratio, ratio * (1 - ratio) / (rows + PRIOR_ROWS))


def _error(block: Labelled, before: Sequence[Labelled], promised: Array) -> tuple[float, float]:
    """Returns (estimate minus truth on the rows with labels, the variance of that by chance alone)."""
    value, unsure = _calibrated(before, promised).of(block.rows)
    return value - block.accuracy, value * (1 - value) / float(block.rows.sum()) + unsure


def _usual(labelled: Sequence[Labelled], errors: Sequence[tuple[float, float]], promised: Array) -> float:
    """Returns the accuracy over all rows of past blocks: their estimates, corrected by labels."""
    found = []
    for at, (error, _) in enumerate(errors):
        before = labelled[at + 1 : at + 1 + CALIBRATION_BLOCKS]
        found.append(_calibrated(before, promised).of(labelled[at].met)[0] - error)
    return min(1.0, max(0.0, float(np.mean(found))))


def _half(errors: Sequence[tuple[float, float]], chance: float) -> float:
    """Returns half the interval: the spread of errors beyond chance, and the chance of the block itself."""
    usual = float(np.mean([variance for _, variance in errors]))
    spread = float(np.mean([error**2 - variance for error, variance in errors]))
    beyond = max(0.0, spread) + EXCESS * usual * math.sqrt(2 / len(errors))
    away = student_distance(NormalDist().inv_cdf((1 + CONFIDENCE) / 2), len(errors))
    return away * math.sqrt(beyond + chance)


def _why(newest: float, allowed: float, half: float, blocks: int) -> str:
    if newest > allowed:
        return f"on the newest block with labels it was wrong by {newest:.3f}, and its interval was {allowed:.3f}"
    if half > MAX_HALF_WIDTH:
        return f"on {blocks} blocks with labels it was wrong by so much that its interval is {half:.3f} to each side"
    return ""
