"""Compares a pushed ONNX model with the recorded answers of the network that it was exported from, for inputs of
any shape.

Decides that rows run in batches, so that pictures fit into memory, and which answers are compared: those recorded by
the names of the model's outputs. Refuses to know the framework.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from contract.answers.perturbed_rows import BOUNDARY
from contract.answers.recorded import Recorded, Sample
from contract.golden import rows_differ
from contract.tensors import Array
from contract.tolerance import OF_SPREAD, RESOLUTION
from controller.convert.compare import AS_PUSHED, MAX_WORST, in_spreads, tolerances
from controller.convert.onnx_origin import as_runs, fixed_rows
from controller.convert.runs import run_rows
from controller.gates.parity import NOTHING, Compared, Parity, WorstRow

RUN_BYTES = 16 << 20
"""The bytes of the inputs of one run."""
SHOWN_NUMBERS = 4
"""The numbers that are shown of each array of a row that differs."""

Inputs = dict[str, Array]
Run = Callable[[Inputs], dict[str, Array]]


def answers_are_of(recorded: Recorded, session: Any) -> bool:
    """Whether answers were recorded for each output of a session, by its name."""
    return set(recorded.answers) == {output.name for output in session.get_outputs()}


def tensor_parity(
    session: Any, inputs: Inputs, recorded: Recorded, matched: Callable[[Sample], Inputs], *, alone: bool
) -> Parity:
    """Returns the evidence. `inputs`: the sample as the model takes it; `matched` returns other rows so.

    `alone`: each column of an output is its own quantity.
    """
    names = [output.name for output in session.get_outputs()]
    allowed = tolerances(recorded.answers, alone=alone)

    def run(given: Inputs) -> Inputs:
        return dict(zip(names, _all_rows(session, names, given), strict=True))

    sample, worst = _compared("sample", run, inputs, recorded.answers, allowed)
    tried, compared = matched(recorded.rows), dict[str, Compared]()
    refused, kinds = dict[str, int](), recorded.kinds
    for kind in dict.fromkeys(kinds.tolist()):
        here, of_kind = (kinds == kind) & recorded.answered, kinds[recorded.answered] == kind
        if lost := int(((kinds == kind) & ~recorded.answered).sum()):
            refused[kind] = lost
        if here.any():
            rows = {name: array[here] if array.ndim else array for name, array in tried.items()}
            answers = {name: array[of_kind] for name, array in recorded.row_answers.items()}
            compared[kind], found = _compared(kind, run, rows, answers, allowed)
            worst += found
    libraries = ", ".join(f"{name} {number}" for name, number in recorded.libraries.items() if name != "numpy")
    return Parity(
        reference=f"{libraries} where it was pushed",
        precision=AS_PUSHED,
        sample=sample,
        boundary=compared.pop(BOUNDARY, NOTHING),
        others=compared,
        refused=refused,
        worst=tuple(worst[:MAX_WORST]),
    )


def _all_rows(session: Any, names: list[str], given: Inputs) -> list[Array]:
    """The answers to all rows: of a model for a fixed number of them in runs, of which the last is filled up."""
    size, rows = fixed_rows(session), len(next(iter(given.values())))
    if size is None:
        return run_rows(session, names, given)
    whole = -(-rows // size) * size
    runs = as_runs({name: np.resize(array, (whole, *array.shape[1:])) for name, array in given.items()}, size)
    return [array.reshape(whole, *array.shape[2:])[:rows] for array in run_rows(session, names, runs)]


def _compared(
    kind: str, run: Run, inputs: Inputs, expected: Mapping[str, Array], allowed: Mapping[str, Array]
) -> tuple[Compared, list[WorstRow]]:
    count = len(next(iter(expected.values())))
    step = max(1, min(count, RUN_BYTES // max(1, sum(array[:1].nbytes for array in inputs.values() if array.ndim))))
    differing, largest, spreads, worst = 0, 0.0, 0.0, list[WorstRow]()
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        given = {name: array[rows] if array.ndim else array for name, array in inputs.items()}
        actual = run(given)
        want = {name: array[rows] for name, array in expected.items()}
        differ = _differ(want, actual, allowed)
        differing += int(differ.sum())
        for name, array in want.items():
            if array.dtype.kind == "f" and array.shape == actual[name].shape and array.size:
                away = np.abs(array.astype(np.float64) - actual[name].astype(np.float64))
                largest = max(largest, float(np.nanmax(away, initial=0.0)))
                spreads = max(spreads, in_spreads(away, allowed[name] / OF_SPREAD))
        worst += [
            _worst(f"{kind} {start + row}", row, given, want, actual) for row in np.flatnonzero(differ)[:MAX_WORST]
        ]
    return Compared(rows=count, differing=differing, max_abs_difference=largest, max_spreads=spreads), worst


def _differ(want: Mapping[str, Array], actual: Mapping[str, Array], allowed: Mapping[str, Array]) -> Array:
    found = [
        rows_differ(array, actual[name], rtol=RESOLUTION, atol=allowed.get(name, 0.0)) for name, array in want.items()
    ]
    return np.asarray(np.logical_or.reduce(found))


def _worst(name: str, row: int, given: Inputs, want: Mapping[str, Array], actual: Mapping[str, Array]) -> WorstRow:
    inputs = {key: _shown(array[row]) for key, array in given.items() if array.ndim}
    expected = {key: _shown(array[row]) for key, array in want.items()}
    got = {key: _shown(array[row]) for key, array in actual.items() if array.ndim and len(array) > row}
    return WorstRow(row=name, inputs=inputs, expected=expected, actual=got)


def _shown(array: Array) -> str:
    numbers = np.ravel(array)
    more = " ..." if numbers.size > SHOWN_NUMBERS else ""
    return ", ".join(str(each) for each in numbers[:SHOWN_NUMBERS].tolist()) + more
