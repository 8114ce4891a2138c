"""The parity gate: ONNX must answer as the estimator does, on sample rows and on rows at decision boundaries.

Overall accuracy hides rounding in float32 (a scaler before trees changes 14 % of the rows), so the gate counts rows.
"""

from contract.wire import Message
from controller.gates.verdict import GateVerdict

MAX_ROWS_BEYOND = 0.001
"""The fraction of sample rows that may differ: exact ties of votes in forests reach 0.02 %."""
MAX_BOUNDARY_ROWS_BEYOND = 0.01
"""The fraction of boundary rows that may differ: there a rounding error in the last bit may change a branch."""


class Compared(Message, frozen=True):
    """A comparison over one set of rows."""

    rows: int
    differing: int
    max_abs_difference: float

    @property
    def ratio_beyond(self) -> float:
        """The fraction of rows beyond tolerance."""
        return self.differing / self.rows if self.rows else 0.0


class WorstRow(Message, frozen=True):
    """A row that differs, for the error message."""

    row: str
    """`sample 17` or `boundary 3`."""
    inputs: dict[str, str]
    expected: dict[str, str]
    actual: dict[str, str]


class Parity(Message, frozen=True):
    """Evidence: the same inputs through both runtimes."""

    reference: str
    """The library that answered beside onnxruntime; `none` if the model was pushed as ONNX."""
    precision: str
    sample: Compared
    boundary: Compared
    worst: tuple[WorstRow, ...] = ()


def judge_parity(parity: Parity) -> GateVerdict:
    """Passes if the fractions of differing rows are within their limits and there is at least one sample row."""
    sample, boundary = parity.sample, parity.boundary
    passed = (
        sample.rows > 0 and sample.ratio_beyond <= MAX_ROWS_BEYOND and boundary.ratio_beyond <= MAX_BOUNDARY_ROWS_BEYOND
    )
    detail = (
        f"{sample.differing} of {sample.rows} sample rows and {boundary.differing} of {boundary.rows} boundary rows "
        f"differ from {parity.reference} in {parity.precision}; largest difference {sample.max_abs_difference:.2g}"
    )
    return GateVerdict(gate="parity", passed=passed, detail=detail)
