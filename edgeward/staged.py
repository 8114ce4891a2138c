"""Two models in a row for a push: they run here one after the other, and their answers are the reference.

Decides which kinds each may be, and checks that they match before anything is sent. Refuses to know how they become
one model. Needs onnxruntime, which the client does not install by itself.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from contract.answers.distinct import refuse_few
from contract.answers.session_tensors import tensor_of
from contract.answers.tensor_sample import match_sample
from contract.errors import BadInput, Code
from contract.golden import answers, by_run
from contract.manifest import Tensor
from contract.samples import decode_sample
from contract.stages import MATRIX, MAX_NAME_CHARS, Stages, StagesHead, encode_stages, match_matrix, match_stages
from contract.tensors import Array
from edgeward.encode import encode_model, encode_rows

Arrays = dict[str, Array]


def pipeline_of(models: Sequence[Any], feeds: Mapping[str, str]) -> Any:
    """Returns two live estimators as one scikit-learn Pipeline, which is judged as a whole; None for other models.

    BadInput `request_invalid` where the first gives no features, and for `feeds`: it gives one matrix.
    """
    if len(models) != 2 or not all(hasattr(each, "get_params") for each in models):
        return None
    first, second = models
    if feeds:
        words = "feeds: two estimators need none, as the second takes the matrix that the first transforms to"
        raise BadInput(Code.REQUEST_INVALID, words)
    if not hasattr(first, "transform"):
        words = f"the first of two estimators, a {type(first).__name__}, has no transform: it gives the second nothing"
        raise BadInput(Code.REQUEST_INVALID, words)
    from sklearn.pipeline import Pipeline  # whoever has two estimators has it

    return Pipeline([("first", first), ("second", second)])


def encode_two(
    models: Sequence[Any], sample: Any, feeds: Mapping[str, str], *, waived: bool
) -> tuple[str, bytes, bytes]:
    """(kind, models, rows) of two models, each as `push` takes one; the first is ONNX.

    `feeds`: the output of the first by input of the second. BadInput `request_invalid` for other models, and where the
    second does not take what the first gives, with both sides; as a push of each alone. Two live estimators are
    `pipeline_of`'s.
    """
    if len(models) != 2:
        raise BadInput(Code.REQUEST_INVALID, f"{len(models)} models in a row: two are taken, the first as ONNX")
    (first_kind, first), (second_kind, second) = map(encode_model, models)
    if first_kind != "onnx":
        words = "the first of two models is an estimator and the second is none that lives here: "
        words += "pass the first as ONNX, or both as fitted estimators"
        raise BadInput(Code.REQUEST_INVALID, words)
    if sample is None:
        raise BadInput(Code.SAMPLE_MISSING, "parity needs rows as devices will see them: pass sample=")
    rows = encode_rows(sample)
    plain = decode_sample(rows)
    if not waived:
        refuse_few(plain)
    session = _open(first, "first")
    given = _run(session, match_sample(plain, _tensors(session.get_inputs())).arrays)
    outputs = _tensors(session.get_outputs())
    head = StagesHead(
        names=(_name(models[0]), _name(models[1])),
        second=second_kind,
        feeds=dict(feeds),
        answered_by=f"onnxruntime {version('onnxruntime')}",
    )
    if second_kind == "onnx":
        other = _open(second, "second")
        matched = match_stages(outputs, _tensors(other.get_inputs()), feeds)
        told = _run(other, {name: given[output] for name, output in matched.items()})
        stages = Stages(head=head, first=first, second=second, answers=told)
    else:
        features = given[match_matrix(outputs, feeds)[MATRIX]]
        recorded = _recorded(models[1], features.reshape(-1, features.shape[-1]), waived=waived)
        stages = Stages(head=head, first=first, second=second, recorded=recorded)
    return "stages", encode_stages(stages), rows


def _recorded(estimator: Any, features: Array, *, waived: bool) -> bytes:
    """Returns the outputs of the first model with a live estimator's answers to them; nothing for a file, which
    cannot be run here.
    """
    if not hasattr(estimator, "get_params"):
        return b""
    from edgeward.recording import with_answers

    return with_answers(estimator, features, encode_rows(features), waived=waived)


def _name(model: Any) -> str:
    if isinstance(model, str | Path):
        return Path(model).name[:MAX_NAME_CHARS]
    return type(model).__name__[:MAX_NAME_CHARS] if hasattr(model, "get_params") else "ONNX"


def _tensors(entries: Sequence[Any]) -> list[Tensor]:
    return [tensor_of(entry) for entry in entries]


def _open(raw: bytes, which: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        words = "two models in a row are run here, so that their answers are the reference: pip install onnxruntime"
        raise BadInput(Code.REQUEST_INVALID, words) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        words = f"onnxruntime refuses the {which} model: {type(error).__name__}: {error}"
        raise BadInput(Code.REQUEST_INVALID, words[:400]) from None


def _run(session: Any, inputs: Arrays) -> Arrays:
    """Outputs by name for all rows or runs; a model for a fixed number of rows gets them batch by batch."""
    names = [entry.name for entry in session.get_outputs()]
    ranks = {entry.name: len(entry.shape) for entry in session.get_inputs()}
    sizes = {entry.shape[0] if entry.shape else None for entry in session.get_inputs()}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    try:
        if isinstance(size, int) and not by_run(inputs, ranks):
            return _in_batches(session, names, inputs, size)
        found = answers(lambda given: list(session.run(names, given)), inputs, ranks)
    except Exception as error:  # as above
        raise BadInput(Code.SAMPLE_REFUSED, f"the sample does not run: {type(error).__name__}: {error}"[:400]) from None
    return dict(zip(names, found, strict=True))


def _in_batches(session: Any, names: list[str], inputs: Arrays, size: int) -> Arrays:
    """Outputs by name for all rows, `size` at a time; the last batch is filled up with rows of the sample."""
    count = min(map(len, inputs.values()))
    whole = -(-count // size) * size
    filled = {name: np.resize(array[:count], (whole, *array.shape[1:])) for name, array in inputs.items()}
    parts = [
        session.run(names, {name: array[start : start + size] for name, array in filled.items()})
        for start in range(0, whole, size)
    ]
    joined = zip(names, zip(*parts, strict=True), strict=True)
    return {name: np.concatenate(arrays)[:count] for name, arrays in joined}
