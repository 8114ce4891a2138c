"""The conversion child. Confined to a scratch directory, it converts, compares, and records the golden set.

`controller.convert.start` runs it. No input can damage the service that started it.
"""

import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
from msgspec.structs import replace as replace_fields

from confinement.bounds import Bounds
from confinement.process import FULL, confine
from confinement.surroundings import library_paths
from contract.answers.distinct import refuse_few
from contract.answers.recorded import Recorded, Sample, decode_recorded
from contract.answers.session_tensors import tensor_of
from contract.answers.tensor_sample import first_rows, golden_rows, match_sample
from contract.distributions import answers_of, columns_of, reference_of
from contract.errors import BadInput, Code, EdgewardError
from contract.golden import answers_in, by_run, join_golden, rows_differ, with_ties, with_tolerances
from contract.row_contract import allowed_of
from contract.stages import decode_stages
from contract.tensors import Array, decode_tensors, encode_tensors
from contract.wire import decode, encode
from controller.convert import request as files
from controller.convert.classes import certain, classes_of_estimator, classes_of_graph
from controller.convert.compare import no_reference
from controller.convert.estimator import load_estimator, told_parameters
from controller.convert.judge import judge_conversion, judge_pushed
from controller.convert.memory import is_memory_fault, memory_words
from controller.convert.missing import named
from controller.convert.model_file import Model, scan_model, size_of
from controller.convert.onnx_origin import as_devices_take, as_runs, fixed_rows, freed, takes_rows
from controller.convert.precision import Judged
from controller.convert.request import Conversion, ConvertedForm, Fault, Request
from controller.convert.runs import open_session, run_rows
from controller.convert.soundness import refuse_unsound
from controller.convert.staged import convert_stages
from controller.convert.summed import ties_of_model
from controller.convert.tensor_parity import answers_are_of, tensor_parity
from controller.convert.under_way import STEP_FILE, Step
from controller.convert.variants import make_variant
from controller.gates.parity import NOTHING, Compared, Parity
from controller.gates.variant import ATOL, RTOL, Shrunk, judge_variant

OWN_PACKAGES = ("confinement", "contract", "controller")
"""Packages that stay readable, because modules are imported while the conversion runs."""
LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "skops")


@dataclass(frozen=True, slots=True)
class Convertible:
    """A model that onnxruntime loads, and the arrays by which it is measured."""

    model: Model
    session: Any
    """A session of the model. It is opened once, because for large models this takes most of the time."""
    inputs: dict[str, Array]
    """The inputs by name, in the model's order; their first axis counts rows, or runs."""
    columns: tuple[str, ...]
    parity: Parity


def main() -> None:
    """Converts the model in the directory that the command line names."""
    directory = Path(sys.argv[1])
    try:
        request = decode((directory / files.REQUEST).read_bytes(), Request)
        sandbox = _confine(request, directory)
        model = Path(request.model)
        with joblib.parallel_config(backend="sequential"):  # an estimator's n_jobs would start processes
            answer = replace_fields(_convert(request, directory), sandbox=sandbox)
    except EdgewardError as error:
        (directory / files.FAULT).write_bytes(encode(Fault(code=error.code, detail=error.detail)))
    except Exception as error:  # libraries have no common exception for lack of memory
        if not is_memory_fault(error):
            raise
        fault = Fault(code=Code.CONVERSION_LIMIT, detail=memory_words(size_of(model), request.memory_mb))
        (directory / files.FAULT).write_bytes(encode(fault))
    else:
        (directory / files.ANSWER).write_bytes(encode(answer))


def _tell(directory: Path, step: Step) -> None:
    """Reports the present step of the conversion to the controller."""
    (directory / STEP_FILE).write_text(step)


def _convert(request: Request, directory: Path) -> Conversion:
    model = Path(request.model)
    _tell(directory, "convert")
    sample, recorded = decode_recorded((directory / files.SAMPLE).read_bytes())
    if request.kind == "stages":
        return _two(request, directory, sample)
    if request.kind == "onnx":
        taken = as_devices_take(model)
        if not request.rows_waived:
            refuse_few(sample)
        session = open_session(taken)
        of_network = recorded if recorded is not None and answers_are_of(recorded, session) else None
        compared = None if of_network is not None else recorded
        beside = None if compared is None else judge_pushed(taken, session, sample, compared)
        if beside is None:
            return _finish(request, directory, _as_pushed(taken, session, sample, of_network))
        if beside.model is not taken:
            session = None  # before the next is opened
        return _finish(request, directory, _judged(beside, session), **_lacking(beside))
    estimator = load_estimator(model.read_bytes(), request.trusted_types)
    judged = judge_conversion(estimator, sample, recorded, budget_s=request.precision_s, waived=request.rows_waived)
    described: dict[str, Any] = {
        "estimator": type(estimator).__name__,
        "params": told_parameters(estimator),
        **_lacking(judged),
    }
    described["classes"] = classes_of_estimator(estimator)
    del estimator
    return _finish(request, directory, _judged(judged), **described)


def _two(request: Request, directory: Path, sample: Sample) -> Conversion:
    """Converts two models in a row into one."""
    if not request.rows_waived:
        refuse_few(sample)
    stages = decode_stages(Path(request.model).read_bytes())
    made = convert_stages(
        stages, sample, request.trusted_types, budget_s=request.precision_s, waived=request.rows_waived
    )
    converted = Convertible(made.model, made.session, made.inputs, made.columns, made.parity)
    estimator = f"ONNX, then {stages.head.names[1] if stages.head.second == 'skops' else 'ONNX'}"
    described: dict[str, Any] = {"estimator": estimator, "params": made.params, "classes": made.classes}
    return _finish(request, directory, converted, stages=made.stages, **described)


def _judged(judged: Judged, session: Any = None) -> Convertible:
    session = open_session(judged.model) if session is None else session
    return Convertible(judged.model, session, judged.rows.arrays(judged.real), judged.rows.columns, judged.parity)


def _lacking(judged: Judged) -> dict[str, Any]:
    """Returns what rows may lack, in the terms of the manifest."""
    return {
        "nan": "refuse" if judged.required is None else "accept",
        "required": judged.required or (),
        "missing_text": named(judged.rows.stand_ins, judged.rows.columns),
    }


def _as_pushed(raw: Model, session: Any, sample: Sample, recorded: Recorded | None) -> Convertible:
    """Returns a pushed ONNX model with its sample. Of large rows only as many are kept as a golden set may hold.

    `recorded`: the answers of the network that it was exported from, by output.
    """
    tensors = [tensor_of(entry) for entry in session.get_inputs()]
    matched = match_sample(sample, tensors)
    every, rows = matched.arrays, max(len(array) for array in matched.arrays.values() if array.ndim)
    inputs = first_rows(every, golden_rows(every)) if any(array.ndim > 2 for array in every.values()) else every
    raw, session = freed(raw, session, inputs)
    size = None
    if takes_rows(session, inputs):
        size = fixed_rows(session)
        if size is not None and rows >= 2 * size:  # it depends on the batch size: devices send such a batch
            inputs, matched = as_runs(inputs, size), replace(matched, columns=())
    parity = no_reference(rows)
    if recorded is not None:
        alone = _task(session) == "regression"
        parity = tensor_parity(session, every, recorded, lambda rows: match_sample(rows, tensors).arrays, alone=alone)
    return Convertible(raw, session, inputs, matched.columns, replace_fields(parity, rows_at_once=size or 0))


def _finish(request: Request, directory: Path, converted: Convertible, **described: Any) -> Conversion:
    session = converted.session
    _tell(directory, "golden")
    answered = refuse_unsound(converted.model, session, converted.inputs)
    variants, shrunk = _variants(request, directory, converted)
    form, task = _write_form(directory, "", converted, answered), _task(session)
    classes = described.pop("classes", ())
    if task == "classification":
        classes = certain(classes or classes_of_graph(converted.model), _golden_answers(directory, session))
    return Conversion(
        task=task,
        classes=classes if task == "classification" else (),
        inputs=tuple(tensor_of(entry) for entry in session.get_inputs()),
        outputs=tuple(tensor_of(entry) for entry in session.get_outputs()),
        columns=converted.columns,
        form=form,
        as_pushed=isinstance(converted.model, Path),
        parity=converted.parity,
        variants=variants,
        shrunk=shrunk,
        libraries={name: version(name) for name in LIBRARIES},
        **described,
    )


def _golden_answers(directory: Path, session: Any) -> Array:
    """Returns the first output of the golden set."""
    golden = decode_tensors((directory / files.form_files("")[1]).read_bytes())
    return answers_in(golden, session.get_outputs()[0].name)


def _variants(
    request: Request, directory: Path, full: Convertible
) -> tuple[dict[str, ConvertedForm], tuple[Shrunk, ...]]:
    """Returns (the smaller forms that pass their gate, evidence about all forms that were requested)."""
    made: dict[str, ConvertedForm] = {}
    shrunk = []
    for name in request.variants:
        model = make_variant(full.model, name)
        if model is None:
            words = "saves nothing: the model has no large weights"
            shrunk.append(Shrunk(name=name, size_bytes=size_of(full.model), compared=NOTHING, note=words))
            continue
        smaller = replace(full, model=model, session=open_session(model))
        evidence = Shrunk(name=name, size_bytes=len(model), compared=_beside(full, smaller))
        shrunk.append(evidence)
        if judge_variant(evidence).passed:
            made[name] = _write_form(directory, name, smaller)
    return made, tuple(shrunk)


def _beside(full: Convertible, smaller: Convertible) -> Compared:
    """Compares the answers of a smaller form with the full form's, on the sample.

    The first output is compared: labels, or numbers of a regression.
    """
    name = full.session.get_outputs()[0].name
    want, got = (np.atleast_1d(run_rows(each.session, [name], full.inputs)[0]) for each in (full, smaller))
    differing = int(rows_differ(want, got, rtol=RTOL, atol=ATOL).sum())
    numbers = want.dtype.kind == "f" and want.size
    largest = float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max()) if numbers else 0.0
    return Compared(rows=len(want), differing=differing, max_abs_difference=largest)


def _write_form(
    directory: Path, name: str, converted: Convertible, answered: list[Array] | None = None
) -> ConvertedForm:
    """Writes the golden set, and the model unless it is the pushed file, into the scratch directory.

    Returns what the manifest says about them. `answered`: the answers to all rows, where they are known.
    """
    model_file, golden_file = (directory / file for file in files.form_files(name))
    session, every = converted.session, converted.inputs
    names = [output.name for output in session.get_outputs()]
    any_length = all(not entry.shape or not isinstance(entry.shape[0], int) for entry in session.get_inputs())
    inputs = first_rows(every, golden_rows(every)) if any_length or _by_run(session, every) else every
    outputs = run_rows(session, names, inputs)
    measured_by = outputs
    if any_length:
        measured_by = run_rows(session, names, every) if answered is None else answered
    if not _counts_rows(outputs, inputs):  # arrays without rows cannot be compared by rows: they are one run
        inputs, outputs = ({name: array[None] for name, array in inputs.items()}, [array[None] for array in outputs])
        measured_by = outputs
    if isinstance(converted.model, bytes):
        model_file.write_bytes(converted.model)
    counted = every if any_length else inputs
    reference = _reference(session, counted, measured_by, converted.columns) if converted.columns else {}
    allowed = with_tolerances(dict(zip(names, measured_by, strict=True)), alone=_task(session) == "regression")
    answered_by = dict(zip(names, outputs, strict=True))
    ties = ties_of_model(converted.model, dict(zip(names, measured_by, strict=True)))
    golden = join_golden(inputs, answered_by) | allowed | with_ties(answered_by, ties) | reference
    golden_file.write_bytes(encode_tensors(golden))
    scan = scan_model(converted.model)
    return ConvertedForm(
        golden_rows=len(outputs[0]),
        ir=scan.ir,
        opset=scan.opsets.get("", 1),
        ml_opset=scan.opsets.get("ai.onnx.ml", 1),
    )


def _by_run(session: Any, inputs: dict[str, Array]) -> bool:
    return by_run(inputs, {entry.name: len(entry.shape) for entry in session.get_inputs()})


def _counts_rows(outputs: list[Array], inputs: dict[str, Array]) -> bool:
    """Whether the first axis of every output has the same meaning as that of the inputs."""
    lengths = {len(array) if array.ndim else -1 for array in (*outputs, *inputs.values())}
    return len(lengths) == 1


def _task(session: Any) -> Literal["classification", "regression", "other"]:
    first = session.get_outputs()[0]
    if first.type in ("tensor(int64)", "tensor(string)", "tensor(bool)", "tensor(int32)"):
        return "classification"
    single = len(first.shape) == 1 or (len(first.shape) == 2 and first.shape[1] == 1)
    return "regression" if single else "other"


def _reference(
    session: Any, inputs: dict[str, Array], outputs: list[Array], columns: tuple[str, ...]
) -> dict[str, Array]:
    """Returns histograms of the sample's columns and of the model's answers, whose edges devices use for counting, and
    what cells of each column may be.
    """
    regression = _task(session) == "regression"
    found = columns_of(columns, list(inputs.values()))
    reference = reference_of(found, answers_of(outputs, regression=regression), regression=regression)
    return reference | allowed_of(found)


def _confine(request: Request, directory: Path) -> str:
    """Confines this process. Returns the degree; BadInput `sandbox_missing` if the request requires more."""
    bounds = Bounds(request.memory_mb, cpu_s=request.cpu_s, file_mb=request.memory_mb)
    sandbox = confine(bounds, [Path(request.model), *library_paths(*OWN_PACKAGES)], [directory])
    if sandbox != FULL and request.require_sandbox:
        words = f"a conversion cannot be confined here ({sandbox}): another kernel, or convert.require_sandbox = false"
        raise BadInput(Code.SANDBOX_MISSING, words)
    return sandbox
