"""The time that an inference of a version takes, estimated from its unparsed request: a fixed part and a part per
row.

Decides how rows are estimated from unparsed bytes, and what is learned from each inference. Refuses to know what
follows: by the estimate the server decides which thread runs the next one.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from agent.ports import Array
from contract.manifest import DATATYPES, Tensor

NEWEST = 0.05
"""The weight of the newest inference in an estimate."""
_TEXT_BYTES = 5
"""Bytes of the shortest text: four bytes of length and one of text."""


class Cost:
    """The seconds of one version's inferences. A row is the content of the inputs if all dynamic dimensions are 1."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        values = [(math.prod(max(size, 1) for size in tensor.shape[1:]), tensor.datatype) for tensor in inputs]
        self._values = max(1, sum(count for count, _ in values))
        self._bytes = max(1, sum(count * _bytes_of(datatype) for count, datatype in values))
        self._fixed_s = 0.0
        self._row_s: float | None = None
        self._learned = False

    def expected_s(self, body: bytes, json_length: int | None) -> float:
        """Returns the expected seconds of a request's inference; infinity before the first one.

        Rows are estimated from commas in JSON, and from bytes in raw data.
        """
        if not self._learned:
            return math.inf
        if json_length is None:
            rows = body.count(b",") // self._values
        else:
            rows = body.count(b",", 0, json_length) // self._values + (len(body) - json_length) // self._bytes
        if rows <= 1:
            return self._fixed_s
        return self._fixed_s + rows * (self._fixed_s if self._row_s is None else self._row_s)

    def learn(self, inputs: Mapping[str, Array], seconds: float) -> None:
        """Learns from an inference: the fixed part from one row, the part per row from many."""
        size = 0
        for array in inputs.values():
            size += array.size
        rows = size // self._values
        if rows <= 1:
            self._fixed_s += (NEWEST if self._fixed_s else 1.0) * (seconds - self._fixed_s)
        else:
            each, before = max(0.0, seconds - self._fixed_s) / rows, self._row_s
            self._row_s = each if before is None else before + NEWEST * (each - before)
        self._learned = True


def _bytes_of(datatype: str) -> int:
    return _TEXT_BYTES if datatype == "BYTES" else np.dtype(DATATYPES[datatype]).itemsize
