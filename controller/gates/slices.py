"""The gate on slices: no group of held-out rows, and no fifth of them in time, has much worse answers than all rows.

A slice fails if it is worse by significantly more than is allowed; the test accounts for the number of slices
(Bonferroni).
"""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from contract.tensors import Array
from controller.gates.evidence import Evidence, HeldOut
from controller.gates.policy import GatePolicy
from controller.gates.power import CONFIDENCE, margin
from controller.gates.verdict import GateVerdict

FIFTHS = 5
MAX_SLICES = 200
"""The most slices of one version; further values are left out, and the verdict says so."""
MAX_NAMED = 3


def judge_slices(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails if a slice is worse than all rows by more than `slices.max_worse`; None without held-out rows or limit."""
    held, limit = evidence.held_out, policy.slices.max_worse
    if held is None or limit is None:
        return None
    all_slices = list(_slices(held))
    judged = [(name, rows) for name, rows in all_slices if rows.sum() >= policy.slices.min_rows][:MAX_SLICES]
    scores = held.scores(held.answers)
    worse = _worse(held, scores)
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / max(1, len(judged)))
    measured = [(name, float(worse[rows].mean()), float(worse[rows].std()), int(rows.sum())) for name, rows in judged]
    bad = [each for each in measured if each[1] > limit and each[1] - limit > z * each[2] / np.sqrt(each[3])]
    named = ": " + ", ".join(
        f"{name} is {100 * by:.3g} % worse on {rows} rows" for name, by, _, rows in bad[:MAX_NAMED]
    )
    left_out = len(all_slices) - len(judged)
    smallest = min(measured, key=lambda each: each[3], default=None)
    return GateVerdict(
        gate="slices",
        passed=not bad,
        detail=f"{len(bad)} of {len(judged)} slices fail{named if bad else ''}; {left_out} are too small to judge",
        evidence={f"worse_{name}": by for name, by, _, _ in measured},
        power=_power(limit, smallest),
        remedy="more rows of these kinds in training, or a model of their own",
    )


def _slices(held: HeldOut) -> Iterator[tuple[str, Array]]:
    """(name, bool array of shape (rows,)) of every slice."""
    for group, values in held.groups.items():
        for value in np.unique(values):
            yield f"{group}={value}", values == value
    if held.times is not None:
        order = np.argsort(held.times, kind="stable")
        for number, part in enumerate(np.array_split(order, FIFTHS), start=1):
            rows = np.zeros(held.rows, dtype=bool)
            rows[part] = True
            yield f"time={number}/{FIFTHS}", rows


def _worse(held: HeldOut, scores: Array) -> Array:
    """How much worse each row is than the mean of all: in accuracy, or as a fraction of the mean error."""
    if held.task == "classification":
        return np.asarray(scores.mean() - scores)
    return np.asarray((scores - scores.mean()) / (scores.mean() or 1.0))


def _power(limit: float, smallest: tuple[str, float, float, int] | None) -> str:
    if smallest is None:
        return "no slice is large enough: nothing can be caught"
    name, _, deviation, rows = smallest
    return f"would catch -{100 * (limit + 2 * margin(deviation, rows)):.2g} % in the smallest slice, {name}, with 95 %"
