"""Parity: the same rows through the estimator and through onnxruntime, and the differences between the answers."""

from collections.abc import Mapping, Sequence

import numpy as np

from contract.golden import rows_differ
from contract.tensors import Array
from contract.ties import Ties, among
from contract.tolerance import OF_SPREAD, RESOLUTION, tolerance
from controller.convert.sample_frame import SampleFrame
from controller.gates.parity import NOTHING, Compared, Parity, WorstRow

MAX_WORST = 5
AS_PUSHED = "as pushed"
"""The precision of a model that came as ONNX."""


def by_output(names: Sequence[str], answers: Mapping[str, Array]) -> dict[str, Array]:
    """Returns answers by method as answers by ONNX output name. ONNX has the prediction first."""
    return dict(zip(names, answers.values(), strict=False))


def tolerances(expected: Mapping[str, Array], *, alone: bool) -> dict[str, Array]:
    """Returns the absolute tolerance of each float output, by the expected answers to the sample.

    `alone`: each column is its own quantity, as the targets of a regression are.
    """
    numbers = {name: array for name, array in expected.items() if array.dtype.kind == "f"}
    return {name: tolerance(array, alone=alone) for name, array in numbers.items()}


def compare(
    rows: SampleFrame,
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    kind: str,
    allowed: Mapping[str, Array],
    *,
    ties: Ties | None = None,
) -> tuple[Compared, list[WorstRow]]:
    """Compares the outputs over `rows`. Returns the counts, and at most MAX_WORST rows that differ.

    `allowed`: the tolerance of each float output, over the sample. `ties`: how to find equally likely classes, of which
    each is a right label; such rows are counted on their own.
    """
    strictly, largest, spreads = differing_rows(expected, actual, allowed), 0.0, 0.0
    right = {} if ties is None or not strictly.any() else ties.permitted(expected)
    differing = differing_rows(expected, actual, allowed, right) if right else strictly
    for name, want in expected.items():
        got = shaped(actual[name], want)
        if want.dtype.kind == "f" and want.shape == got.shape and want.size:
            away = np.abs(want - got.astype(np.float64))
            largest = max(largest, float(np.nanmax(away, initial=0.0)))
            spreads = max(spreads, in_spreads(away, allowed[name] / OF_SPREAD))
    worst = [_worst(rows, index, expected, actual, kind) for index in np.flatnonzero(differing)[:MAX_WORST]]
    compared = Compared(
        rows=len(rows),
        differing=int(differing.sum()),
        max_abs_difference=largest,
        max_spreads=spreads,
        ties=int((strictly & ~differing).sum()),
    )
    return compared, worst


def differing_rows(
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    allowed: Mapping[str, Array],
    right: Mapping[str, Array] | None = None,
) -> Array:
    """Returns which rows differ in any output: bool of shape (rows,).

    `right`: by output, the labels that are right for each row, (rows, most); without it the expected one alone.
    """
    found = []
    for name, want in expected.items():
        got = shaped(actual[name], want)
        differ = rows_differ(want, got, rtol=RESOLUTION, atol=allowed.get(name, 0.0))
        others = (right or {}).get(name)
        found.append(differ if others is None or got.shape != want.shape else differ & ~among(got, others))
    return np.asarray(np.logical_or.reduce(found))


def shaped(got: Array, want: Array) -> Array:
    """Returns an output in the shape of the expected one, where it has as many numbers: ONNX answers (rows, 1)."""
    return got.reshape(want.shape) if got.size == want.size else got


def in_spreads(away: Array, varies: Array) -> float:
    """Returns the largest distance, in units of how much its column varies; columns that never vary are left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(varies > 0, away / varies, 0.0)
    return float(np.nanmax(ratio, initial=0.0))


def _worst(
    rows: SampleFrame, index: int, expected: Mapping[str, Array], actual: Mapping[str, Array], kind: str
) -> WorstRow:
    return WorstRow(
        row=f"{kind} {index}",
        inputs=rows.row(index),
        expected={name: str(array[index]) for name, array in expected.items()},
        actual={name: str(actual[name][index]) for name in expected if index < len(actual[name])},
    )


def no_reference(rows: int) -> Parity:
    """Returns the evidence for a model that was pushed as ONNX: there are no other answers to compare with."""
    return Parity(
        reference="none",
        precision=AS_PUSHED,
        sample=Compared(rows=rows, differing=0, max_abs_difference=0.0),
        boundary=NOTHING,
    )
