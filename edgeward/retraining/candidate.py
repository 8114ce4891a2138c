"""The output of a retraining pipeline: a fitted model, rows for its conversion, and held-out rows for its gate.

Decides what belongs to a candidate. Refuses to know how it was trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from edgeward.held_out import HeldOut
from edgeward.retraining.warm import Start


@dataclass(frozen=True)
class Candidate:
    """The output of the step `candidate` of a retraining pipeline.

    `model` and `sample` as in `Client.push`; `held_out` are the newest rows, with their times, on which it must beat
    the champion: rows that the model has not learned, or those of a `backtest`. `data` are the rows it was trained on,
    of which only a digest is sent.
    """

    model: Any
    sample: Any
    held_out: HeldOut
    data: Any = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    start: Start | None = None
    """How the training began, as `fit_from` has said."""


def with_never_forget(newest: HeldOut, rows: Any, labels: Any) -> HeldOut:
    """`newest` with the fixed set that no version may forget: `rows` as its rows, `labels` (rows,).

    BadInput `sample_missing` if both kinds of rows have different columns or shapes, or if `newest` has groups.
    """
    if newest.groups:
        raise BadInput(Code.SAMPLE_MISSING, "rows with groups take no fixed set: give the fixed rows those groups too")
    if hasattr(newest.rows, "columns"):
        import pandas as pd

        if list(newest.rows.columns) != list(rows.columns):
            raise BadInput(Code.SAMPLE_MISSING, "the fixed rows have other columns than the newest ones")
        both = pd.concat([newest.rows, rows], ignore_index=True)
    else:
        both = np.concatenate([np.asarray(newest.rows), np.asarray(rows)])
    fixed = np.concatenate([np.zeros(len(newest.rows), dtype=bool), np.ones(len(rows), dtype=bool)])
    times = None
    if newest.times is not None:
        first = np.asarray(newest.times)
        times = np.concatenate([first, np.repeat(first[-1:], len(rows))])
    answers, fitted_until = (
        None if each is None else np.concatenate([np.asarray(each), np.repeat(np.asarray(each)[-1:], len(rows))])
        for each in (newest.answers, newest.fitted_until)
    )
    return HeldOut(
        both, np.concatenate([np.asarray(newest.labels), np.asarray(labels)]), times, newest.trained_until,
        never_forget=fixed, answers=answers, fitted_until=fitted_until,
    )  # fmt: skip
