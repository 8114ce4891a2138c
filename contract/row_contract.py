"""The data contract: what cells of each column may be, compiled from the sample at conversion, signed with the model.

Decides what counts as a breach: missing, out of range, an unseen category, a stuck sensor. Refuses to know how many
breaches are too many: devices count them, and the controller judges the rate.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from contract.protocol import MAX_FEATURES
from contract.tensors import Array

BREACHES = ("missing", "out_of_range", "unseen", "stuck")
"""The kinds, in the order in which a message counts them."""
RANGE_MARGIN = 0.5
"""How far outside the sample's range a number may lie, as a fraction of the distance between them: 1,000 rows do
not hold the extremes of years. On three hourly series of five to nine years (`benchmarks/drift_streams.py`) at most
one later cell in 7,000 lies outside; without a margin one in 400 does."""
STUCK_TIMES = 10
"""A sensor is stuck when it repeats a number ten times as often as the longest run of it in the sample."""
MIN_STUCK_ROWS = 64
"""Equal readings in a row that are always allowed: a room at constant temperature at ten readings a second."""
MIN_DISTINCT = 16
"""A column with fewer distinct numbers holds states or switches, which may stay the same."""

_ALLOWED = "allowed/"


class Allowed(msgspec.Struct, frozen=True):
    """The allowed cells of one column."""

    may_miss: bool
    """Whether cells of the column may be missing, because some are missing in the sample."""
    low: float
    high: float
    """The smallest and the largest number; of text and of a column without numbers -inf and inf."""
    stuck_rows: int
    """Equal numbers in a row after which further ones are breaches; 0: never."""


def allowed_of(columns: Mapping[str, Array]) -> dict[str, Array]:
    """Returns arrays for the golden set, float64 of shape (4,), from a sample by column, each of shape (rows,)."""
    return {_ALLOWED + name: _compiled(values) for name, values in columns.items()}


def read_allowed(arrays: Mapping[str, Array], columns: Sequence[str]) -> dict[str, Allowed]:
    """Returns the data contract in a golden set, by column; empty for an older golden set."""
    found = {}
    for name in columns[:MAX_FEATURES]:
        array = arrays.get(_ALLOWED + name)
        if array is not None and array.shape == (4,) and array.dtype.kind == "f":
            may_miss, low, high, stuck = array.tolist()
            found[name] = Allowed(bool(may_miss), low, high, max(0, int(stuck)))
    return found


class Breaches:
    """Counts the breaches of one column over many calls: a run of equal numbers continues from one call to the next."""

    def __init__(self, allowed: Allowed, categories: frozenset[str] | None) -> None:
        self._allowed = allowed
        self._categories = categories
        self._last = np.nan
        self._run = 0

    def count(self, values: Array) -> tuple[int, int, int, int]:
        """Returns breaches by kind among cells of shape (rows,). ValueError, TypeError for cells that are no numbers if
        the sample had numbers.
        """
        if values.dtype.kind in "OUS":
            unseen = 0 if self._categories is None else sum(str(each) not in self._categories for each in values)
            return 0, 0, unseen, 0
        numbers = values.astype(np.float64)
        missing = int(np.isnan(numbers).sum())
        beyond = int(((numbers < self._allowed.low) | (numbers > self._allowed.high)).sum())
        return 0 if self._allowed.may_miss else missing, beyond, 0, self._stuck(numbers)

    def _stuck(self, numbers: Array) -> int:
        limit = self._allowed.stuck_rows
        if not limit or not len(numbers):
            return 0
        lengths = _runs(numbers)
        before = self._run if numbers[0] == self._last else 0
        lengths[0] += before
        self._last, self._run = float(numbers[-1]), int(lengths[-1])
        return int(np.maximum(0, lengths - limit).sum()) - max(0, before - limit)


def _compiled(values: Array) -> Array:
    if values.dtype.kind in "OUS":
        return np.array([0.0, -np.inf, np.inf, 0.0])
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    may_miss = float(len(finite) < len(numbers))
    if not finite.size:
        return np.array([1.0, -np.inf, np.inf, 0.0])
    low, high = float(finite.min()), float(finite.max())
    margin = RANGE_MARGIN * (high - low)
    if margin == 0.0:
        low, high = -np.inf, np.inf  # a sample whose numbers do not vary shows no range
    distinct = len(np.unique(finite))
    stuck = max(MIN_STUCK_ROWS, STUCK_TIMES * int(_runs(finite).max())) if distinct >= MIN_DISTINCT else 0
    return np.array([may_miss, low - margin, high + margin, float(stuck)])


def _runs(numbers: Array) -> Array:
    """Lengths of the runs of equal numbers, in order; each NaN is its own run."""
    ends = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    return np.diff(np.concatenate([[0], ends, [len(numbers)]]))
