"""Golden sets: inputs and recorded answers of a version, and the comparison of answers with them.

Decides when two answers count as equal. The converter's parity check and the device's probe use the same comparison.
Refuses to know what runs the model.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import numpy as np

from contract.manifest import Golden, Manifest
from contract.tensors import Array
from contract.ties import Ties, among
from contract.tolerance import tolerance

_IN, _OUT, _TOLERANCE, _TIED = "in/", "out/", "tolerance/", "tied/"


def join_golden(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Joins inputs and outputs, by tensor name, into one set of arrays; the names get the prefixes `in/` and `out/`."""
    return {_IN + name: array for name, array in inputs.items()} | {
        _OUT + name: array for name, array in outputs.items()
    }


def split_golden(arrays: Mapping[str, Array], manifest: Manifest) -> tuple[dict[str, Array], list[Array]]:
    """Returns (inputs by name, outputs in the manifest's order), state among both.

    KeyError if a tensor of the manifest is missing.
    """
    return inputs_of(arrays, [tensor.name for tensor in manifest.session_inputs]), [
        arrays[_OUT + tensor.name] for tensor in manifest.session_outputs
    ]


def inputs_of(arrays: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """Returns the inputs of a golden set by name. KeyError if one is missing."""
    return {name: arrays[_IN + name] for name in names}


def answers_in(arrays: Mapping[str, Array], output: str) -> Array:
    """Returns the recorded answers of one output of a golden set. KeyError if it is missing."""
    return arrays[_OUT + output]


def by_run(inputs: Mapping[str, Array], ranks: Mapping[str, int]) -> bool:
    """Returns whether the first axis counts runs: each array has one dimension more than its input, by `ranks`.

    Otherwise it counts rows of one run. Runs are for models whose own first axis is not rows: a state, a scalar.
    """
    return all(inputs[name].ndim == rank + 1 for name, rank in ranks.items())


def one_run(inputs: Mapping[str, Array], ranks: Mapping[str, int], row: int = 0) -> dict[str, Array]:
    """Returns the inputs of the smallest run: one row of all, or one of the runs."""
    if by_run(inputs, ranks):
        return {name: np.asarray(array[row, ...]) for name, array in inputs.items()}
    return {name: array[row : row + 1] if array.ndim else array for name, array in inputs.items()}


def answers(
    run: Callable[[dict[str, Array]], list[Array]], inputs: Mapping[str, Array], ranks: Mapping[str, int]
) -> list[Array]:
    """Returns a model's answers to all rows, or to all runs. Outputs of runs are stacked along a new first axis.

    ValueError if runs differ in the shapes of their outputs; raises what `run` raises.
    """
    if not by_run(inputs, ranks):
        return run(dict(inputs))
    count = len(next(iter(inputs.values())))
    each = [run(one_run(inputs, ranks, row)) for row in range(count)]
    return [np.stack(outputs) for outputs in zip(*each, strict=True)]


def missed_in_steps(
    run: Callable[[dict[str, Array]], list[Array]],
    inputs: Mapping[str, Array],
    arrays: Mapping[str, Array],
    manifest: Manifest,
) -> Generator[None, None, int]:
    """Answers a golden set in its smallest runs, pauses after each, and returns the number of rows that differ.

    `inputs` are those of the golden set as the runtime takes them. More rows than the manifest allows count only if all
    of them, answered in one run as at conversion, differ as well: then no verdict depends on how a set was divided.
    """  # fmt: skip
    ranks, expected = ranks_of(manifest), split_golden(arrays, manifest)[1]
    missed = 0
    for span in _spans(inputs, ranks, manifest):
        given = {name: array[span] if array.ndim else array for name, array in inputs.items()}
        wanted = [answer[span] for answer in expected]
        there = {name: array[span] if name.startswith(_TIED) else array for name, array in arrays.items()}
        missed += mismatched_rows(wanted, answers(run, given, ranks), manifest.golden, there, manifest)
        yield
    if not too_many(missed, manifest):
        return missed
    return mismatched_rows(expected, answers(run, inputs, ranks), manifest.golden, arrays, manifest)


def _spans(inputs: Mapping[str, Array], ranks: Mapping[str, int], manifest: Manifest) -> list[slice]:
    """The rows of each of the smallest runs; all rows are one run where an input takes no other number of them."""
    any_length = all(tensor.shape[:1] in {(), (-1,)} for tensor in manifest.inputs)
    if any_length or by_run(inputs, ranks):
        return [slice(row, row + 1) for row in range(manifest.golden.rows)]
    return [slice(None)]


def too_many(missed: int, manifest: Manifest) -> bool:
    """Whether more rows of a golden set differ than the manifest allows."""
    return missed > float(manifest.golden.max_row_mismatch_ratio) * manifest.golden.rows


def ranks_of(manifest: Manifest) -> dict[str, int]:
    """Returns the number of dimensions of each input of a version, state among them, by name."""
    return {tensor.name: len(tensor.shape) for tensor in manifest.session_inputs}


def rows_differ(expected: Array, actual: Array, *, rtol: float, atol: float | Array) -> Array:
    """Returns a bool array of shape (rows,): which rows differ. Both arrays have the shape (rows, ...).

    Labels and integers must be equal. Real numbers must keep ``|actual - expected| <= atol + rtol * |expected|``; NaN
    equals NaN. If the shapes differ, every row differs.
    """
    if expected.shape != actual.shape:
        return np.ones(len(expected), dtype=bool)
    same: Array
    if expected.dtype.kind in "fc":
        want, got = expected.astype(np.float64), actual.astype(np.float64)
        same = np.asarray(np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True))
    else:
        same = np.asarray(actual.astype(np.str_) == expected.astype(np.str_))
    return np.asarray(~same.all(axis=tuple(range(1, same.ndim))))


def with_tolerances(outputs: Mapping[str, Array], *, alone: bool) -> dict[str, Array]:
    """Returns a golden set with absolute tolerances, derived from how much each float output varies over the sample.

    `alone`: each column of an output is its own quantity.
    """
    numbers = {name: array for name, array in outputs.items() if array.dtype.kind == "f"}
    return {_TOLERANCE + name: tolerance(array, alone=alone) for name, array in numbers.items()}


def with_ties(outputs: Mapping[str, Array], ties: Ties | None) -> dict[str, Array]:
    """Returns the arrays of a golden set that say which other labels are right, for rows with equally likely classes.

    {} without such rows. A device whose processor adds scores in another order may answer any of these labels.
    """
    return {} if ties is None else {_TIED + name: right for name, right in ties.permitted(outputs).items()}


def mismatched_rows(
    expected: Sequence[Array], actual: Sequence[Array], golden: Golden, arrays: Mapping[str, Array], manifest: Manifest
) -> int:
    """Returns the number of rows that differ in any output by more than the tolerances of the golden set.

    `arrays` are those of the golden set, for the rows that are compared; an output without a tolerance there has that
    of the manifest. ValueError if the numbers of outputs differ.
    """
    rtol, atol = float(golden.rtol), np.array(float(golden.atol))
    found = []
    for tensor, want, got in zip(manifest.session_outputs, expected, actual, strict=True):
        differ = rows_differ(want, got, rtol=rtol, atol=arrays.get(_TOLERANCE + tensor.name, atol))
        right = arrays.get(_TIED + tensor.name)
        found.append(differ if right is None or want.shape != got.shape else differ & ~among(got, right))
    return int(np.logical_or.reduce(found).sum())
