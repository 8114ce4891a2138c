"""The variant gate: a smaller form must give the answers of the full one, but for a few rows near a boundary.

Tighter tolerances than the numbers of int8 can meet say nothing about labels: labels are counted, and numbers have a
tolerance of their own. Measured: int8 answers 0.2 to 0.6 % of rows otherwise, half-precision weights none.
"""

from contract.wire import Message
from controller.gates.parity import Compared
from controller.gates.verdict import GateVerdict

MAX_ROWS_BEYOND = 0.01
"""Share of sample rows with another label, or for a regression another number."""
RTOL = ATOL = 0.02
"""The tolerance for the numbers of a regression."""


class Shrunk(Message, frozen=True):
    """Evidence about one form, beside the full model."""

    name: str
    size_bytes: int
    compared: Compared
    note: str = ""
    """Why the form was not made; empty: it was."""


def judge_variant(shrunk: Shrunk) -> GateVerdict:
    """Pass if enough rows keep their answer."""
    compared = shrunk.compared
    passed = not shrunk.note and compared.rows > 0 and compared.ratio_beyond <= MAX_ROWS_BEYOND
    detail = shrunk.note or (
        f"{compared.differing} of {compared.rows} sample rows answer otherwise than the full model; "
        f"largest difference {compared.max_abs_difference:.2g}"
    )
    return GateVerdict(gate=f"variant {shrunk.name}", passed=passed, detail=detail)
