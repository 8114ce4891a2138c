"""Conversions in the test's own process: a push from the client's side to the verdict, without children."""

from typing import Any

import numpy as np

from contract.answers.recorded import decode_recorded
from contract.tensors import Array
from controller.convert.judge import judge_conversion
from controller.convert.precision import Judged, asks
from controller.convert.runs import open_session
from controller.gates.parity import judge_parity
from edgeward.encode import encode_rows
from edgeward.recording import with_answers

BUDGET_S = 60.0


def judged(model: Any, sample: Any, *, live: bool = True) -> Judged:
    """Returns a push of a live estimator, or of its file alone; then the answers are those of the estimator here."""
    rows = encode_rows(sample)
    plain, recorded = decode_recorded(with_answers(model, sample, rows, waived=False) if live else rows)
    return judge_conversion(model, plain, recorded, budget_s=BUDGET_S)


def passes(found: Judged) -> bool:
    """Returns whether the parity gate passes it."""
    return judge_parity(found.parity).passed


def answers(found: Judged, rows: Array) -> dict[str, Array]:
    """Returns the answers of the converted model to a matrix of other rows."""
    ask, names = asks(open_session(found.model), found.real)
    given = ask(found.rows.__class__(np.asarray(rows), found.rows.columns, as_matrix=True))
    return {name: given[name] for name in names}
