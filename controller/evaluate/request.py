"""The input and output files of the evaluation child in one scratch directory; held-out rows as arrays.

Decides how held-out rows are written. Refuses to know how they are judged.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.samples import decode_sample, encode_sample
from contract.tensors import Array, decode_tensors, encode_tensors
from contract.wire import Message

REQUEST, ROWS, ANSWER, ANSWERS = "evaluate.json", "rows.npz", "evaluated.json", "answers.npz"
CANDIDATE, CHAMPION = "candidate", "champion"
_SAMPLE, _LABELS, _TIMES, _UNTIL, _GROUP = "sample", "labels", "times", "trained_until", "group/"
_NEVER_FORGET, _ANSWERS, _FITTED_UNTIL = "never_forget", "answers", "fitted_until"


class EvaluateRequest(Message, frozen=True):
    """The task of the child: models by name. It may read their files but not write them."""

    manifests: dict[str, Manifest]
    models: dict[str, str]
    """The paths of the models."""
    goldens: dict[str, str]
    """The paths of their golden sets: rows for the measurement if there are no held-out rows."""
    memory_mb: int
    cpu_s: int


class Evaluated(Message, frozen=True):
    """The measurements of the child; the answers are arrays in their own file."""

    latency_us_p50: float | None = None
    latency_us_p95: float | None = None
    operators: tuple[str, ...] = ()
    faults: dict[str, str] = {}
    """The reason why a model could not answer, by name of the model."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Held-out rows as they were pushed. Arrays have the shape (rows,)."""

    sample: bytes
    """The rows in the format of `contract.samples`."""
    labels: Array
    times: Array | None = None
    trained_until: float | None = None
    groups: dict[str, Array] = field(default_factory=dict)
    never_forget: Array | None = None
    """Which rows belong to the fixed set that no version may forget, bool; None: no row does."""
    answers: Array | None = None
    """The answers of a backtest; None: the version itself answers."""
    fitted_until: Array | None = None
    """The time in seconds of the newest row that the fit behind each of these answers had learned."""

    def never_forget_sha256(self) -> str:
        """The digest of the fixed set: its rows and their labels, in order; empty without one."""
        if self.never_forget is None:
            return ""
        found, digest = decode_sample(self.sample), hashlib.sha256()
        columns = {"": found} if isinstance(found, np.ndarray) else found
        for name, cells in sorted(columns.items()):
            kept = np.ascontiguousarray(cells[self.never_forget])
            digest.update(name.encode() + str(kept.dtype).encode() + repr(kept.tolist()).encode())
        digest.update(repr(self.labels[self.never_forget].tolist()).encode())
        return digest.hexdigest()


def encode_rows(matrix: Array) -> bytes:
    """Encodes rows of shape (rows, columns) without labels, for `read_rows`: only the model's answers are needed."""
    sample = np.frombuffer(encode_sample(matrix), dtype=np.uint8)
    return encode_tensors({_SAMPLE: sample, _LABELS: np.zeros(len(matrix), np.float32)})


def read_rows(raw: bytes) -> Rows:
    """Reads held-out rows from npz. BadInput `tensors_invalid`, `sample_missing` for anything else."""
    arrays = decode_tensors(raw)
    try:
        sample, labels = arrays[_SAMPLE].tobytes(), arrays[_LABELS]
    except KeyError as error:
        raise BadInput(Code.TENSORS_INVALID, f"held-out rows lack {error}: they are a sample with labels") from None
    found = decode_sample(sample)
    rows = len(found) if isinstance(found, np.ndarray) else len(next(iter(found.values())))
    groups = {
        name.removeprefix(_GROUP): each.astype(np.str_) for name, each in arrays.items() if name.startswith(_GROUP)
    }
    fixed = arrays.get(_NEVER_FORGET)
    by_row = {name: arrays[name] for name in (_TIMES, _NEVER_FORGET, _ANSWERS, _FITTED_UNTIL) if name in arrays}
    columns = {"labels": labels, **groups, **by_row}
    for name, column in columns.items():
        if column.shape != (rows,):
            words = f"held-out rows: {name} have the shape {column.shape}, there are {rows} rows"
            raise BadInput(Code.TENSORS_INVALID, words)
    until = arrays.get(_UNTIL)
    trained_until = float(until.reshape(-1)[0]) if until is not None else None
    if (_ANSWERS in by_row) != (_FITTED_UNTIL in by_row):
        raise BadInput(
            Code.TENSORS_INVALID, f"held-out rows: {_ANSWERS} and {_FITTED_UNTIL} come together or not at all"
        )
    return Rows(
        sample,
        labels,
        by_row.get(_TIMES),
        trained_until,
        groups,
        None if fixed is None else fixed.astype(np.bool_),
        by_row.get(_ANSWERS),
        by_row.get(_FITTED_UNTIL),
    )
