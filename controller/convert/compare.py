"""Parity: the same rows through the estimator and through onnxruntime, and the differences between the answers."""

from typing import Any

import numpy as np

from contract.golden import rows_differ
from contract.tensors import Array
from controller.convert.sample_frame import SampleFrame
from controller.gates.parity import Compared, Parity, WorstRow

RTOL = 1e-4
ATOL = 1e-4
MAX_WORST = 5


def estimator_outputs(estimator: Any, sample: SampleFrame, names: list[str]) -> dict[str, Array]:
    """Returns the estimator's answers by ONNX output name: label or value first, then probabilities or scores.

    Arrays have the shape (rows,) or (rows, classes).
    """
    frame = sample.frame
    answers = [np.asarray(_first(estimator, frame))]
    if len(names) > 1:
        answers.append(np.asarray(_second(estimator, frame)))
    return dict(zip(names, answers, strict=False))


def _first(estimator: Any, frame: Any) -> Any:
    if not hasattr(estimator, "predict"):
        return estimator.transform(frame)
    labels = np.asarray(estimator.predict(frame))
    return labels.astype(np.int64) if labels.dtype == np.bool_ else labels  # ONNX says 0 and 1


def _second(estimator: Any, frame: Any) -> Any:
    for method in ("predict_proba", "decision_function", "score_samples", "transform"):
        if hasattr(estimator, method):
            return getattr(estimator, method)(frame)
    raise AttributeError(f"{type(estimator).__name__} has no second output")


def compare(
    rows: SampleFrame, expected: dict[str, Array], actual: dict[str, Array], kind: str
) -> tuple[Compared, list[WorstRow]]:
    """Compares the outputs over `rows`. Returns the counts, and at most MAX_WORST rows that differ."""
    differing = np.zeros(len(rows), dtype=bool)
    largest = 0.0
    for name, want in expected.items():
        got = actual[name].reshape(want.shape) if actual[name].size == want.size else actual[name]
        differing |= rows_differ(want, got, rtol=RTOL, atol=ATOL)
        if want.dtype.kind == "f" and want.shape == got.shape and want.size:
            largest = max(largest, float(np.nanmax(np.abs(want - got.astype(np.float64)), initial=0.0)))
    worst = [_worst(rows, index, expected, actual, kind) for index in np.flatnonzero(differing)[:MAX_WORST]]
    return Compared(rows=len(rows), differing=int(differing.sum()), max_abs_difference=largest), worst


def _worst(rows: SampleFrame, index: int, expected: dict[str, Array], actual: dict[str, Array], kind: str) -> WorstRow:
    return WorstRow(
        row=f"{kind} {index}",
        inputs=rows.row(index),
        expected={name: str(array[index]) for name, array in expected.items()},
        actual={name: str(array[index]) for name, array in actual.items()},
    )


def no_reference(rows: int) -> Parity:
    """Returns the evidence for a model that was pushed as ONNX: without an estimator there is no other answer to
    compare.
    """
    nothing = Compared(rows=0, differing=0, max_abs_difference=0.0)
    return Parity(
        reference="none",
        precision="as pushed",
        sample=Compared(rows=rows, differing=0, max_abs_difference=0.0),
        boundary=nothing,
    )
