"""The files in one scratch directory that go into the evaluation child and come out of it; held-out rows as arrays.

Decides how held-out rows are written. Refuses to know what is judged by them.
"""

from dataclasses import dataclass, field

import numpy as np

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.samples import decode_sample
from contract.tensors import Array, decode_tensors
from contract.wire import Message

REQUEST, ROWS, ANSWER, ANSWERS = "evaluate.json", "rows.npz", "evaluated.json", "answers.npz"
CANDIDATE, CHAMPION = "candidate", "champion"
_SAMPLE, _LABELS, _TIMES, _UNTIL, _GROUP = "sample", "labels", "times", "trained_until", "group/"


class EvaluateRequest(Message, frozen=True):
    """The task of the child: the manifests of the models that lie beside it, by name."""

    manifests: dict[str, Manifest]
    memory_mb: int
    cpu_s: int


class Evaluated(Message, frozen=True):
    """What the child has measured; the answers are arrays in a file beside it."""

    latency_us_p50: float | None = None
    latency_us_p95: float | None = None
    operators: tuple[str, ...] = ()
    faults: dict[str, str] = {}
    """By name of a model, why it could not answer."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Held-out rows as they were pushed. Arrays have the shape (rows,)."""

    sample: bytes
    """The rows as `contract.samples` writes them."""
    labels: Array
    times: Array | None = None
    trained_until: float | None = None
    groups: dict[str, Array] = field(default_factory=dict)


def read_rows(raw: bytes) -> Rows:
    """Held-out rows from npz. BadInput `tensors_invalid`, `sample_missing` for anything that is none."""
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
    times = arrays.get(_TIMES)
    columns = {"labels": labels, **groups, **({"times": times} if times is not None else {})}
    for name, column in columns.items():
        if column.shape != (rows,):
            words = f"held-out rows: {name} have the shape {column.shape}, there are {rows} rows"
            raise BadInput(Code.TENSORS_INVALID, words)
    until = arrays.get(_UNTIL)
    return Rows(sample, labels, times, float(until.reshape(-1)[0]) if until is not None else None, groups)
