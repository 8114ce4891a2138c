"""The outcome of one drawn pipeline: right on new rows, refused with a remedy, or wrong."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from contract.answers.asked import ask, ask_each
from contract.answers.recorded import decode_recorded
from contract.errors import BadInput, Code
from controller.convert.compare import by_output, differing_rows
from controller.convert.precision import Judged, asks
from controller.convert.runs import open_session
from controller.convert.sample_frame import SampleFrame, read_sample
from controller.gates.parity import MAX_BOUNDARY_ROWS_BEYOND, judge_parity
from edgeward.encode import encode_rows
from tests.controller.judged import judged, passes

Outcome = Literal["right", "refused", "parity", "unclear", "wrong"]


@dataclass(frozen=True)
class Fuzzed:
    outcome: Outcome
    words: str


def fuzz(model: Any, sample: Any, fresh: Any, *, live: bool) -> Fuzzed:
    """Pushes a model without a service, and compares it on fresh rows with the estimator."""
    with threadpool_limits(1):
        try:
            found = judged(model, sample, live=live)
        except BadInput as error:
            clear = "Remedy: " in error.detail or error.code not in (Code.CONVERSION_FAILED, Code.PARITY_FAILED)
            return Fuzzed("refused" if clear else "unclear", f"{error.code}: {error.detail}")
        except Exception as error:
            return Fuzzed("unclear", f"{type(error).__name__}: {error}")
        if not passes(found):
            return Fuzzed("parity", judge_parity(found.parity).detail)
        differing = _differing(model, found, fresh)
    return Fuzzed("wrong" if differing > MAX_BOUNDARY_ROWS_BEYOND else "right", f"{differing:.1%} of fresh rows differ")


def _differing(model: Any, found: Judged, fresh: Any) -> float:
    plain, _ = decode_recorded(encode_rows(fresh))
    rows = replace(found.rows, frame=read_sample(plain, named=not found.rows.as_matrix).frame)
    taken = _taken_by_devices(found, rows)
    ask_model, names = asks(open_session(found.model), found.real)
    given, rows = fresh[taken], rows.part(taken)
    try:
        answers, answered = ask(model, given), np.ones(len(given), dtype=bool)
    except Exception:  # it refuses some rows: one by one
        each = [[(row, row + 1)] for row in range(len(given))]
        answers, answered = ask_each(lambda start, stop: ask(model, given[start:stop]), each, len(given))
    if not answered.any():
        return 0.0
    return float(differing_rows(by_output(names, answers), ask_model(rows.part(answered)), found.allowed).mean())


def _taken_by_devices(found: Judged, rows: SampleFrame) -> Any:
    """Returns rows that a device does not refuse for a missing number."""
    real = [name for name in rows.columns if rows.is_real(name)]
    required = real if found.required is None else found.required
    return ~np.logical_or.reduce([np.zeros(len(rows), dtype=bool), *(rows.missing(name) for name in required)])
