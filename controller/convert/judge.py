"""Converts a fitted estimator with its sample to the ONNX form with the same answers, with the evidence.

Decides the order: refuse estimators that convert wrongly, find the reference answers, search the precision. Refuses
to know files and processes, so that tests convert in their own process.
"""

from dataclasses import replace
from typing import Any

from sklearn import __version__

from contract.answers.distinct import refuse_few
from contract.answers.recorded import Recorded, Sample
from controller.convert.compare import AS_PUSHED
from controller.convert.estimator import addresses_columns, refuse_wrong, takes_texts
from controller.convert.graph_names import with_input_names
from controller.convert.model_file import Model, bytes_of, parse_model
from controller.convert.precision import Judged, best_precision, judge_form
from controller.convert.reference_answers import own_answers, recorded_answers
from controller.convert.runs import open_session
from controller.convert.sample_frame import MATRIX_INPUT, read_sample


def judge_pushed(model: Model, session: Any, sample: Sample, recorded: Recorded) -> Judged | None:
    """Returns a pushed ONNX model, compared with the recorded answers of the framework that made it.

    `session` is one of `model`. None unless the model takes one matrix of real numbers, for which such answers are
    recorded.
    """
    given = session.get_inputs()
    if len(given) != 1 or given[0].type not in _REALS or len(given[0].shape) != 2:
        return None
    rows = read_sample(sample, named=False)
    if not rows.as_matrix:
        return None
    if given[0].name != MATRIX_INPUT:
        model = bytes_of(with_input_names(parse_model(model), [MATRIX_INPUT]))
        session = open_session(model)
    reference = recorded_answers(recorded, rows, named=False)
    return judge_form(model, session, reference, AS_PUSHED, _REALS[given[0].type])


_REALS = {"tensor(float)": "float32", "tensor(double)": "float64"}


def judge_conversion(
    estimator: Any, sample: Sample, recorded: Recorded | None, *, budget_s: float, waived: bool = False
) -> Judged:
    """Returns the best form of an estimator.

    `recorded`: the answers of the user's own estimator, if they came with the push. `budget_s`: the time of each
    precision. `waived`: few distinct rows are accepted. BadInput `estimator_unsupported`, `conversion_failed`,
    `conversion_limit`, `sample_refused`, `sample_too_small`.
    """
    refuse_wrong(estimator)
    named = addresses_columns(estimator)
    rows = read_sample(sample, named=named)  # which refuses arrays of other ranks
    rows = replace(rows, texts_alone=takes_texts(estimator) and rows.text_columns == list(rows.columns[:1]))
    if not waived:
        refuse_few(sample)
    if recorded is None:
        reference = own_answers(estimator, rows, sample, __version__, named=named)
    else:
        reference = recorded_answers(recorded, rows, named=named)
    return best_precision(estimator, reference, budget_s)
