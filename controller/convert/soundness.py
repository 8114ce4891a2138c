"""Checks that make a model of any origin unfit: random answers, answers that depend on the other rows, answers that are
all NaN.

Decides by running it twice, by comparing single rows with all rows, and by checking whether every number is NaN.
Refuses to know which answers are right.
"""

from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.golden import rows_differ
from contract.tensors import Array
from controller.convert.model_file import Model, scan_model, size_of
from controller.convert.runs import LARGE_BYTES, run_rows

MAX_ROWS = 16
"""Rows that run alone: a model whose answers depend on other rows shows it in the first few."""
MAX_ROWS_OF_LARGE = 4
"""The same for a model of LARGE_BYTES: each row alone reads all its weights, a tenth of a second for 1 GB."""
RTOL = ATOL = 1e-4
"""Rows alone and rows together may be summed in another order."""
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Operators with random answers."""


def refuse_unsound(model: Model, session: Any, inputs: dict[str, Array]) -> list[Array]:
    """Returns the answers to `inputs`, outputs in the model's order. `session` is one of `model`.

    BadInput `model_unsound` names the random operators, or says what rows alone answer.
    """
    names = [output.name for output in session.get_outputs()]
    first = run_rows(session, names, inputs)
    again = run_rows(session, names, inputs)  # a new session would begin with the same random numbers
    for name, want, got in zip(names, first, again, strict=True):
        if not _same(want, got):
            raise _unsound(f"output {name} differs between two runs of the same rows{_by_chance(model)}")
        if want.dtype.kind == "f" and want.size and np.isnan(want).all():
            raise _unsound(f"output {name} is NaN in every row of the sample: look at its input, or at the training")
    if all(_any_length(entry) for entry in session.get_inputs()):
        _refuse_batched(session, names, inputs, first, MAX_ROWS if size_of(model) < LARGE_BYTES else MAX_ROWS_OF_LARGE)
    return first


def _refuse_batched(
    session: Any, names: list[str], inputs: dict[str, Array], together: list[Array], most_rows: int
) -> None:
    rows = min(most_rows, *(len(array) for array in inputs.values()))
    if any(not array.ndim or len(array) < rows for array in together):
        return  # outputs that do not count rows
    for row in range(rows):
        alone = run_rows(session, names, {name: array[row : row + 1] for name, array in inputs.items()})
        for name, want, got in zip(names, together, alone, strict=True):
            if len(got) != 1 or rows_differ(want[row : row + 1], got, rtol=RTOL, atol=ATOL).any():
                raise _unsound(
                    f"output {name} of row {row} is another one when the row comes alone: devices send one row at a "
                    "time, so export the model without statistics over the batch"
                )


def _any_length(entry: object) -> bool:
    shape = getattr(entry, "shape", None)
    return bool(shape) and not isinstance(shape[0], int)  # type: ignore[index]


def _same(want: Array, got: Array) -> bool:
    return (
        want.shape == got.shape and not rows_differ(np.atleast_1d(want), np.atleast_1d(got), rtol=0.0, atol=0.0).any()
    )


def _by_chance(model: Model) -> str:
    found = sorted(scan_model(model).operators & RANDOM)
    return f": operators of chance: {', '.join(found)}; export the model for inference" if found else ""


def _unsound(words: str) -> BadInput:
    return BadInput(Code.MODEL_UNSOUND, words)
