"""The time that a request to a version takes, estimated while it is unparsed: to read its JSON, a fixed part, and a
part for each row.

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
READ_BYTES = 64 * 1024
"""Shorter JSON is read in less than 0.4 ms, which is not estimated."""
SAMPLED_BYTES = 16 * 1024
"""Bytes in the middle of long JSON whose commas are counted: to count all took a tenth of the time of the answer."""
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
        self._byte_s: float | None = None
        """Seconds for a byte of long JSON; None before the first."""
        self._learned = False

    def expected_s(self, body: bytes, json_length: int | None) -> float:
        """Returns the expected seconds of a request; infinity before the first inference, and for long JSON before the
        first long JSON was read.

        Rows are estimated from commas in JSON, a sample of them if it is long, and from bytes in raw data.
        """
        if not self._learned:
            return math.inf
        json_bytes = len(body) if json_length is None else min(json_length, len(body))
        if json_bytes > READ_BYTES:
            if self._byte_s is None:
                return math.inf
            return json_bytes * self._byte_s + self._run_s(_long_commas(body, json_bytes), len(body) - json_bytes)
        return self._run_s(body.count(b",", 0, json_bytes), len(body) - json_bytes)

    def _run_s(self, commas: int, raw_bytes: int) -> float:
        rows = commas // self._values + raw_bytes // self._bytes
        if rows <= 1:
            return self._fixed_s
        return self._fixed_s + rows * (self._fixed_s if self._row_s is None else self._row_s)

    def learn(self, inputs: Mapping[str, Array], seconds: float, json_bytes: int = 0, read_s: float = 0.0) -> None:
        """Learns from an inference: the fixed part from one row, the part per row from many; and from the time in which
        long JSON was read.
        """
        if json_bytes > READ_BYTES:
            byte_s, known = read_s / json_bytes, self._byte_s
            self._byte_s = byte_s if known is None else known + NEWEST * (byte_s - known)
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


def _long_commas(body: bytes, json_bytes: int) -> int:
    """Estimates the commas of long JSON from those in its middle."""
    begin = (json_bytes - SAMPLED_BYTES) // 2
    return body.count(b",", begin, begin + SAMPLED_BYTES) * json_bytes // SAMPLED_BYTES


def _bytes_of(datatype: str) -> int:
    return _TEXT_BYTES if datatype == "BYTES" else np.dtype(DATATYPES[datatype]).itemsize
