"""The parity gate: ONNX must answer as the user's estimator did, on sample rows and on test rows.

Overall accuracy hides rounding in float32 (a scaler before trees changes 14 % of the rows), so the gate counts rows.
For a model without an estimator it says what could not be compared.
"""

from msgspec import structs

from contract.wire import Message
from controller.gates.verdict import GateVerdict

MAX_ROWS_BEYOND = 0.001
"""The fraction of sample rows that may differ: exact ties of votes in forests reach 0.02 %."""
MAX_BOUNDARY_ROWS_BEYOND = 0.01
"""The fraction of rows at boundaries, or of another kind of test rows, that may differ: there a rounding error in the
last bit may change a branch. For 64 rows this allows none."""
NO_REFERENCE = "none"


class Compared(Message, frozen=True):
    """A comparison over one set of rows."""

    rows: int
    differing: int
    max_abs_difference: float
    max_spreads: float = 0.0
    """The largest difference in units of how much its output varies over the sample."""
    ties: int = 0
    """The number of rows, not counted in `differing`, that get the label of another class that is equally likely."""

    @property
    def ratio_beyond(self) -> float:
        """The fraction of rows beyond tolerance."""
        return self.differing / self.rows if self.rows else 0.0

    @property
    def strict(self) -> "Compared":
        """The comparison in which each row with another label differs."""
        return structs.replace(self, differing=self.differing + self.ties, ties=0)


NOTHING = Compared(rows=0, differing=0, max_abs_difference=0.0)
"""The comparison where there was nothing to compare."""


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
    """The libraries that answered beside onnxruntime, and where; `none`: the model was pushed as ONNX."""
    precision: str
    sample: Compared
    boundary: Compared
    others: dict[str, Compared] = {}
    """The comparisons over rows of other kinds, by kind: thresholds, unknown texts, numbers far from the mean."""
    refused: dict[str, int] = {}
    """The number of rows that the estimator itself refuses, by kind. ONNX cannot be compared with a missing answer."""
    witness: Compared | None = None
    """The reference compared with the same estimator in the controller, whose library versions may answer
    differently."""
    witness_by: str = ""
    """The library of the second comparison, or why there is none."""
    untried: tuple[str, ...] = ()
    """Precisions that were not judged, each with the reason."""
    worst: tuple[WorstRow, ...] = ()
    rows_at_once: int = 0
    """The number of rows that a pushed model takes, because it depends on it; 0: any number."""

    @property
    def kinds(self) -> dict[str, Compared]:
        """Returns the comparisons over test rows, by kind; kinds without rows are left out."""
        every = {"boundary": self.boundary, **self.others}
        return {kind: compared for kind, compared in every.items() if compared.rows}

    @property
    def ties(self) -> int:
        """The number of rows that get the label of another class that is equally likely."""
        return sum(each.ties for each in (self.sample, *self.kinds.values()))

    @property
    def differing(self) -> int:
        """The number of rows that differ, of all kinds, without ties."""
        return sum(each.differing for each in (self.sample, *self.kinds.values()))


def answers_strictly(parity: Parity) -> bool:
    """Whether the fractions of differing rows are within their limits where ties count as differing."""
    kinds = {kind: each.strict for kind, each in parity.kinds.items()}
    return parity.sample.rows > 0 and parity.sample.strict.ratio_beyond <= MAX_ROWS_BEYOND and not _over(kinds)


def _over(kinds: dict[str, Compared]) -> list[str]:
    return [kind for kind, each in kinds.items() if each.ratio_beyond > MAX_BOUNDARY_ROWS_BEYOND]


def judge_parity(parity: Parity) -> GateVerdict:
    """Passes if the fractions of differing rows are within their limits and there is at least one sample row.

    Ties count as differing rows. Where these are too many, the model passes only if no other row differs at all.
    """
    if parity.reference == NO_REFERENCE:
        words = (
            f"{parity.sample.rows} sample rows ran; nothing could be compared: the model came as ONNX, without the "
            "estimator that it was made from"
        )
        return GateVerdict(gate="parity", passed=parity.sample.rows > 0, detail=words + _batch_words(parity))
    only_ties = parity.sample.rows > 0 and not parity.differing
    passed = only_ties or answers_strictly(parity)
    return GateVerdict(gate="parity", passed=passed, detail=_words(parity, _over(parity.kinds)))


def _words(parity: Parity, over: list[str]) -> str:
    sample, kinds = parity.sample, parity.kinds
    tried = sum(each.rows for each in kinds.values())
    differing = sum(each.differing for each in kinds.values())
    words = (
        f"{sample.differing} of {sample.rows} sample rows and {differing} of {tried} rows that try the model "
        f"differ from {parity.reference} in {parity.precision}; largest difference {_largest(parity)}"
    )
    if parity.ties:
        words += f"; {_tie_words(parity.ties)}"
    if over:
        words += "; most on rows of kind " + ", ".join(
            f"{kind} ({kinds[kind].differing} of {kinds[kind].rows})" for kind in over
        )
    if parity.witness is not None and parity.witness.differing:
        witness = parity.witness
        words += f"; {witness.differing} of {witness.rows} rows are answered otherwise by {parity.witness_by}"
    return words + _batch_words(parity)


def _tie_words(ties: int) -> str:
    rows = "1 more row has" if ties == 1 else f"{ties} more rows have"
    get = "gets" if ties == 1 else "get"
    return f"{rows} equally likely classes, up to rounding, and {get} the label of another one of these"


def _batch_words(parity: Parity) -> str:
    if not parity.rows_at_once:
        return ""
    rows = f"{parity.rows_at_once} row{'s' if parity.rows_at_once > 1 else ''}"
    return (
        f"; it takes {rows} at a time, because its graph needs this number: devices send as many "
        "in each request. To take any number, export it with a dynamic first axis"
    )


def _largest(parity: Parity) -> str:
    """The largest difference over all rows, absolute and in units of spread."""
    every = (parity.sample, *parity.kinds.values())
    largest, spreads = max(each.max_abs_difference for each in every), max(each.max_spreads for each in every)
    return f"{largest:.2g}" + (f" ({spreads:.2g} of the spread of its output)" if spreads else "")
