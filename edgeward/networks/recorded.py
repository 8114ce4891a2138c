"""The parts of a push of a live network: ONNX, the sample, and the network's own answers to it and to test rows.

Decides how a sample becomes the inputs of a network, and which test rows are made. Refuses to know a framework.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from contract.answers.asked import ask_each
from contract.answers.distinct import refuse_few
from contract.answers.perturbed_rows import BOUNDARY, FAR_OUT, INTEGERS, ZERO
from contract.answers.recorded import MAX_ANSWERED_ROWS, Recorded, Sample, encode_recorded
from contract.errors import BadInput, Code
from contract.samples import decode_sample
from contract.tensors import Array
from edgeward.encode import encode_rows
from edgeward.networks.exported import onnx_of
from edgeward.networks.network import Arrays, Network, ask_in_batches, rows_in
from edgeward.recording import versions_of

MAX_TRIED_ROWS = 64
"""The test rows of each kind."""
MAX_TRIED_BYTES = 16 << 20
"""The most bytes of the rows of each kind: with large pictures there are fewer rows."""
FAR = (3.0, 10.0)
"""Standard deviations. Rounding in float32 grows with the numbers inside a network: at 1,000 it would exceed the
tolerance wherever large numbers cancel out.
"""
MAX_WORDS = 300


def parts_of_network(network: Network, sample: Any, *, waived: bool) -> tuple[bytes, bytes]:
    """Returns (ONNX, the encoded sample with the network's answers).

    BadInput: `sample_refused` if the network does not answer its sample, `sample_too_small` for few distinct rows
    unless they are `waived`, and as of `onnx_of`.
    """
    encoded = encode_rows(sample)
    plain = decode_sample(encoded)
    if not waived:
        refuse_few(plain)
    head = _head(plain)
    arrays = inputs_of(network, head)
    answers = _answers(network, arrays)
    raw = onnx_of(network, arrays, answers)
    return raw, encode_recorded(encoded, _recorded(network, head, answers))


def inputs_of(network: Network, rows: Sample) -> Arrays:
    """Returns the arrays of rows by input: one array, columns side by side, or arrays by the names of the inputs.

    BadInput `sample_refused` says which names do not match.
    """
    single = len(network.inputs) == 1
    if isinstance(rows, np.ndarray):
        if single:
            return {network.inputs[0]: network.typed(rows)}
    elif set(rows) == set(network.inputs):
        return {name: network.typed(rows[name]) for name in network.inputs}
    elif single and all(each.ndim == 1 and each.dtype.kind in "fiub" for each in rows.values()):
        return {network.inputs[0]: network.typed(np.stack([*rows.values()], axis=1))}
    given = ", ".join(rows) if isinstance(rows, dict) else "one array without a name"
    words = f"{network.name} takes {', '.join(network.inputs)}, the sample has {given}: name an array for each input"
    raise BadInput(Code.SAMPLE_REFUSED, words)


def _head(rows: Sample) -> Sample:
    if isinstance(rows, np.ndarray):
        return rows[:MAX_ANSWERED_ROWS]
    return {name: array[:MAX_ANSWERED_ROWS] for name, array in rows.items()}


def _answers(network: Network, arrays: Arrays) -> Arrays:
    try:
        answers = ask_in_batches(network, arrays)
    except BadInput:
        raise
    except Exception as error:  # a network may raise any exception
        said = textwrap.shorten(f"{type(error).__name__}: {error}", MAX_WORDS, placeholder=" ...")
        words = f"your {network.name} refuses its own sample, so nothing was sent: {said}"
        raise BadInput(Code.SAMPLE_REFUSED, words) from None
    rows = rows_in(arrays)
    wrong = [f"{name} {list(array.shape)}" for name, array in answers.items() if array.shape[:1] != (rows,)]
    if wrong:
        words = f"your {network.name} answers {rows} rows with {', '.join(wrong)}: one answer for each row"
        raise BadInput(Code.SAMPLE_REFUSED, words)
    return answers


def _recorded(network: Network, head: Sample, answers: Arrays) -> Recorded:
    made = list(_tried(head, np.random.default_rng(0)))
    rows = _joined([each for _, each in made])
    kinds = np.concatenate([np.full(_length(each), kind) for kind, each in made])
    arrays = inputs_of(network, rows)
    ends = np.cumsum([_length(each) for _, each in made]).tolist()
    row_answers, answered = ask_each(
        lambda start, stop: ask_in_batches(network, {name: array[start:stop] for name, array in arrays.items()}),
        [[(start, stop)] for start, stop in zip([0, *ends[:-1]], ends, strict=True)],
        len(kinds),
    )
    return Recorded(answers, rows, kinds, answered, row_answers, versions_of((*network.libraries, "numpy")))


def _tried(head: Sample, rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yields (kind, test rows by name) with values that the sample does not have; an array without a name is named
    "".
    """
    named: dict[str, Array] = {"": head} if isinstance(head, np.ndarray) else head
    row_bytes = sum(array[:1].nbytes for array in named.values())
    count = max(1, min(MAX_TRIED_ROWS, MAX_TRIED_BYTES // max(row_bytes, 1)))
    first, second = (rng.integers(0, _length(named), count) for _ in range(2))
    yield BOUNDARY, {name: _between(array[first], array[second]) for name, array in named.items()}
    yield ZERO, {name: np.zeros_like(array[:1]) for name, array in named.items()}
    away = rng.choice(FAR, count) * rng.choice((-1.0, 1.0), count)
    yield FAR_OUT, {name: _far(array, array[first], away) for name, array in named.items()}
    if any(array.dtype.kind in "iu" for array in named.values()):
        yield INTEGERS, {name: _beyond(array, array[first]) for name, array in named.items()}


def _between(one: Array, other: Array) -> Array:
    return one + (other - one) / 2 if one.dtype.kind == "f" else one


def _far(every: Array, rows: Array, away: Array) -> Array:
    """Returns real numbers moved by this number of standard deviations."""
    if every.dtype.kind != "f":
        return rows
    steps = away.reshape(-1, *[1] * (rows.ndim - 1)) * (every.std() or 1.0)
    return np.asarray(rows + steps, dtype=every.dtype)


def _beyond(every: Array, rows: Array) -> Array:
    """Returns whole numbers; every second row is the largest number of the sample plus one."""
    if every.dtype.kind not in "iu":
        return rows
    rows = rows.copy()
    rows[::2] = min(int(every.max()) + 1, np.iinfo(every.dtype).max)
    return rows


def _joined(parts: list[dict[str, Array]]) -> Sample:
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return rows[""] if list(rows) == [""] else rows


def _length(rows: Mapping[str, Array]) -> int:
    return len(next(iter(rows.values())))
