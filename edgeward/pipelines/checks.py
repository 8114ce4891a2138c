"""Checks of rows between two steps: a pandera schema, labels that contradict each other, times that go backwards.

Decides the error for rows that break a rule: column, rule, how many, the first of them. Refuses to know where rows come
from.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from contract.errors import BadInput, Code

if TYPE_CHECKING:
    import pandas as pd

MAX_NAMED = 5
"""The most rows or rules that a message names; it counts the others."""


def validate(rows: "pd.DataFrame", schema: Any) -> "pd.DataFrame":
    """Returns the rows as a pandera schema or model gives them back.

    BadInput `data_invalid` names each column, rule and the first rows; `config_invalid` without pandera.
    """
    try:
        from pandera.errors import SchemaErrors
    except ImportError:
        raise BadInput(Code.CONFIG_INVALID, "validation needs pandera: pip install 'edgeward[pipelines]'") from None
    try:
        checked: pd.DataFrame = schema.validate(rows, lazy=True)
    except SchemaErrors as error:
        raise BadInput(Code.DATA_INVALID, _broken_rules(error.failure_cases)) from None
    return checked


def check_labels(rows: "pd.DataFrame", label: str, *, inputs: Sequence[str] = ()) -> "pd.DataFrame":
    """Returns the rows unchanged. BadInput `data_invalid` if equal inputs have different labels.

    `inputs` are the columns that a model sees (default: all others).
    """
    columns = list(inputs) or [name for name in rows.columns if name != label]
    _check_columns(rows, [*columns, label])
    counts = rows.groupby(columns, dropna=False, sort=False)[label].transform("nunique")
    wrong = rows.index[counts > 1]
    if len(wrong):
        words = f"{len(wrong)} rows have equal inputs and different labels in {label}: {_named(wrong)}"
        raise BadInput(
            Code.DATA_INVALID, f"{words}; decide which label is true, or give the model what tells them apart"
        )
    return rows


def check_time(rows: "pd.DataFrame", time: str, *, by: Sequence[str] = ()) -> "pd.DataFrame":
    """Returns the rows unchanged. BadInput `data_invalid` if a time is missing or before the one above it.

    `by`: columns within whose equal values times must not go backwards, such as the device.
    """
    _check_columns(rows, [time, *by])
    if rows[time].isna().any():
        raise BadInput(Code.DATA_INVALID, f"{int(rows[time].isna().sum())} rows have no {time}")
    steps = rows.groupby(list(by), dropna=False)[time].diff() if by else rows[time].diff()
    zero = steps.dropna().iloc[:1] * 0
    wrong = rows.index[steps < (zero.iloc[0] if len(zero) else 0)]
    if len(wrong):
        within = f" within equal {', '.join(by)}" if by else ""
        words = f"time goes backwards in {len(wrong)} rows of {time}{within}: {_named(wrong)}"
        raise BadInput(Code.DATA_INVALID, f"{words}; sort the rows, or find the device with the wrong clock")
    return rows


def _broken_rules(cases: Any) -> str:
    """One sentence for each column and rule of pandera's failure cases."""
    words = []
    for (column, rule), found in cases.astype({"column": str, "check": str}).groupby(["column", "check"], sort=False):
        rows = found["index"].dropna()
        which = f" in {len(rows)} rows: {_named(rows)}" if len(rows) else ""
        example = f", as {found['failure_case'].iloc[0]}" if len(found) else ""
        words.append(f"{column} breaks {rule}{which}{example}")
    more = f"; and {len(words) - MAX_NAMED} more rules" if len(words) > MAX_NAMED else ""
    return "; ".join(words[:MAX_NAMED]) + more


def _named(rows: Any) -> str:
    return ", ".join(str(each) for each in list(rows)[:MAX_NAMED]) + (", ..." if len(rows) > MAX_NAMED else "")


def _check_columns(rows: "pd.DataFrame", wanted: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in rows.columns]:
        raise BadInput(Code.DATA_INVALID, f"there is no column {', '.join(missing)}")
