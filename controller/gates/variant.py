"""The variant gate: a smaller form must give the answers of the full one, except for a few rows near a boundary.

The numbers of int8 never meet the tolerance of parity, which says nothing about labels. So labels are counted, and
numbers have their own tolerance. Measured: int8 changes the answers of 0.2 to 0.6 % of the rows, fp16 weights of
none.
"""

from contract.wire import Message
from controller.gates.parity import Compared
from controller.gates.verdict import GateVerdict

MAX_ROWS_BEYOND = 0.01
"""The fraction of sample rows that may have another label or, for a regression, another number."""
RTOL = ATOL = 0.02
"""The tolerance for the numbers of a regression."""


class Shrunk(Message, frozen=True):
    """Evidence about one form, compared with the full model."""

    name: str
    size_bytes: int
    compared: Compared
    note: str = ""
    """The reason why the form was not made; empty: it was made."""


def judge_variant(shrunk: Shrunk) -> GateVerdict:
    """Passes if enough rows keep their answer."""
    compared = shrunk.compared
    passed = not shrunk.note and compared.rows > 0 and compared.ratio_beyond <= MAX_ROWS_BEYOND
    detail = shrunk.note or (
        f"{compared.differing} of {compared.rows} sample rows get another answer than from the full model; "
        f"largest difference {compared.max_abs_difference:.2g}"
    )
    return GateVerdict(gate=f"variant {shrunk.name}", passed=passed, detail=detail)
