"""Reads rows from a CSV file, which does not state types.

Decides that a column with a cell such as 007 is text: as a number the code would lose its zeros. Refuses to know what
the rows are for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code

CODE = r"[+-]?0\d+"
"""A number with a leading zero: a code such as a postcode, an article or a station."""


def read_csv(path: Path | str, texts: Sequence[str] = ()) -> Any:
    """Returns a DataFrame of the file, with columns of codes and those named in `texts` as text.

    BadInput `request_invalid` for a name that the file does not have. Raises what pandas raises.
    """
    import pandas as pd  # 300 ms, and most commands read no rows

    rows = pd.read_csv(path)
    if absent := [name for name in texts if name not in rows.columns]:
        known = ", ".join(map(str, rows.columns))
        raise BadInput(Code.REQUEST_INVALID, f"{path} has no column {', '.join(absent)}; it has {known}")
    numbers = [name for name in rows.columns if pd.api.types.is_numeric_dtype(rows[name])]
    numbers = [name for name in numbers if rows[name].dtype != bool]
    if not numbers:
        return rows
    written = pd.read_csv(path, usecols=numbers, dtype=str)
    for name in numbers:
        if name in texts or written[name].str.fullmatch(CODE).any():
            rows[name] = written[name].astype(object)
    return rows
