"""Recorded answers as bytes: a sample, the test rows, and what an estimator answers to both.

Decides how they are written into one set of arrays and read back. Also reads a sample without answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from contract.errors import BadInput, Code
from contract.samples import decode_sample, encode_sample
from contract.tensors import Array, decode_tensors, encode_tensors

MAX_ANSWERED_ROWS = 2000
"""The first rows of a sample, whose answers are recorded and compared."""
_SAMPLE, _ROWS, _KINDS, _ANSWERED, _LIBRARIES = "recorded/sample", "rows", "kinds", "answered", "libraries"
_TO_SAMPLE, _TO_ROWS = "to_sample/", "to_rows/"

Sample = Array | dict[str, Array]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an estimator answered in the environment in which it was fitted."""

    answers: dict[str, Array]
    """The answers to the first MAX_ANSWERED_ROWS rows of the sample, by method."""
    rows: Sample
    """The test rows, in the form of the sample."""
    kinds: Array
    """The kind of each of these rows, as text."""
    answered: Array
    """Whether the estimator answered each of these rows, as bool."""
    row_answers: dict[str, Array]
    """The answers to the answered rows, by method."""
    libraries: dict[str, str] = field(default_factory=dict)
    """Versions by name of the libraries that answered."""


def encode_recorded(sample: bytes, recorded: Recorded) -> bytes:
    """Returns one set of arrays that holds an encoded sample and its recorded answers."""
    arrays = {
        _SAMPLE: np.frombuffer(sample, dtype=np.uint8),
        _ROWS: np.frombuffer(encode_sample(recorded.rows), dtype=np.uint8),
        _KINDS: recorded.kinds.astype(np.str_),
        _ANSWERED: recorded.answered,
        _LIBRARIES: np.array([f"{name}={number}" for name, number in recorded.libraries.items()], dtype=np.str_),
    }
    arrays |= {_TO_SAMPLE + name: array for name, array in recorded.answers.items()}
    arrays |= {_TO_ROWS + name: array for name, array in recorded.row_answers.items()}
    return encode_tensors(arrays)


def decode_recorded(raw: bytes) -> tuple[Sample, Recorded | None]:
    """Returns (the sample, its recorded answers or None).

    BadInput `sample_missing` or `tensors_invalid`, as for a sample; also for answers that do not fit their rows.
    """
    arrays = decode_tensors(raw)
    if _SAMPLE not in arrays:
        return decode_sample(raw), None
    try:
        recorded = _read(arrays)
    except (KeyError, ValueError) as error:
        raise BadInput(Code.TENSORS_INVALID, f"recorded answers: {error}"[:200]) from None
    sample = decode_sample(arrays[_SAMPLE].tobytes())
    _check(sample, recorded)
    return sample, recorded


def _read(arrays: Mapping[str, Array]) -> Recorded:
    pairs = [text.split("=", 1) for text in arrays[_LIBRARIES].tolist()]
    return Recorded(
        answers=_named(arrays, _TO_SAMPLE),
        rows=decode_sample(arrays[_ROWS].tobytes()),
        kinds=arrays[_KINDS],
        answered=arrays[_ANSWERED].astype(bool),
        row_answers=_named(arrays, _TO_ROWS),
        libraries=dict(pairs),
    )


def _named(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check(sample: Sample, recorded: Recorded) -> None:
    rows, tried = min(_length(sample), MAX_ANSWERED_ROWS), _length(recorded.rows)
    wrong = [
        *(name for name, array in recorded.answers.items() if not array.ndim or len(array) != rows),
        *(name for name, array in recorded.row_answers.items() if len(array) != int(recorded.answered.sum())),
    ]
    if wrong or {len(recorded.kinds), len(recorded.answered)} != {tried}:
        raise BadInput(Code.TENSORS_INVALID, f"recorded answers do not fit their rows: {', '.join(wrong)}"[:200])


def _length(sample: Sample) -> int:
    return len(sample) if isinstance(sample, np.ndarray) else len(next(iter(sample.values())))
