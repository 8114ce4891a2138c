"""The parity gate: ONNX must answer as the estimator does, on the sample and on rows that lie on decision boundaries.

Aggregate accuracy hides the float32 trap (a scaler before trees moves 14 % of rows): the gate looks at shares of rows.
"""

from contract.wire import Message
from controller.gates.verdict import GateVerdict

MAX_ROWS_BEYOND = 0.001
"""Share of sample rows that may differ: exact vote ties in forests reach 0.02 %."""
MAX_BOUNDARY_ROWS_BEYOND = 0.01
"""Boundary rows sit where a rounding error of the last bit may flip a branch."""


class Compared(Message, frozen=True):
    """A comparison over one set of rows."""

    rows: int
    differing: int
    max_abs_difference: float

    @property
    def ratio_beyond(self) -> float:
        """Share of rows beyond tolerance."""
        return self.differing / self.rows if self.rows else 0.0


class WorstRow(Message, frozen=True):
    """A row that differs most, for the error message."""

    row: str
    """`sample 17` or `boundary 3`."""
    inputs: dict[str, str]
    expected: dict[str, str]
    actual: dict[str, str]


class Parity(Message, frozen=True):
    """Evidence: the same inputs through both runtimes."""

    reference: str
    """What answered beside onnxruntime; `none` when the model came as ONNX."""
    precision: str
    sample: Compared
    boundary: Compared
    worst: tuple[WorstRow, ...] = ()


def judge_parity(parity: Parity) -> GateVerdict:
    """Pass if the shares of differing rows are within their limits and there were rows at all."""
    sample, boundary = parity.sample, parity.boundary
    passed = (
        sample.rows > 0 and sample.ratio_beyond <= MAX_ROWS_BEYOND and boundary.ratio_beyond <= MAX_BOUNDARY_ROWS_BEYOND
    )
    detail = (
        f"{sample.differing} of {sample.rows} sample rows and {boundary.differing} of {boundary.rows} boundary rows "
        f"differ from {parity.reference} in {parity.precision}; largest difference {sample.max_abs_difference:.2g}"
    )
    return GateVerdict(gate="parity", passed=passed, detail=detail)
