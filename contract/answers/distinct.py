"""How many rows of a sample are distinct: few rows prove nothing, because a wrong conversion is right in some rows.

Decides how many are enough. The client checks before anything is sent, and the controller checks again.
"""

import numpy as np

from contract.answers.recorded import Sample
from contract.errors import BadInput, Code

MIN_DISTINCT_ROWS = 50
"""A conversion that is wrong in a tenth of the rows passes 50 of them once in 200 times."""


def distinct_rows(sample: Sample) -> int:
    """Returns the number of rows that differ from each other, counting ends at MIN_DISTINCT_ROWS."""
    arrays = [sample] if isinstance(sample, np.ndarray) else list(sample.values())
    found: set[tuple[object, ...]] = set()
    for row in zip(*(array for array in arrays if array.ndim), strict=True):
        found.add(tuple(cell.tobytes() if isinstance(cell, np.ndarray) else str(cell) for cell in row))
        if len(found) == MIN_DISTINCT_ROWS:
            break
    return len(found)


def refuse_few(sample: Sample) -> None:
    """Raises BadInput `sample_too_small` for a sample with fewer than MIN_DISTINCT_ROWS distinct rows."""
    count = distinct_rows(sample)
    if count < MIN_DISTINCT_ROWS:
        raise BadInput(
            Code.SAMPLE_TOO_SMALL,
            f"the sample has {count} distinct rows, parity needs {MIN_DISTINCT_ROWS}: pass more, or say with "
            "waive_rows why these are all there are",
        )
