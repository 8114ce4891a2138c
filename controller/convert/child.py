"""The conversion child. Confined to a scratch directory, it converts, compares, and records the golden set.

Run as ``python -I -m controller.convert.child DIRECTORY``. No input can harm the service that started it.
"""

import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import onnx
import onnxruntime as ort
from msgspec.structs import replace as replace_fields

from confinement.bounds import Bounds
from confinement.process import FULL, confine
from confinement.surroundings import library_paths
from contract.distributions import answers_of, columns_of, reference_of
from contract.errors import BadInput, Code, EdgewardError
from contract.golden import answers, by_run, join_golden, rows_differ
from contract.manifest import Tensor
from contract.onnx_scan import scan_onnx
from contract.samples import decode_sample
from contract.tensors import Array, encode_tensors
from contract.wire import decode, encode
from controller.convert import request as files
from controller.convert.compare import compare, estimator_outputs, no_reference
from controller.convert.estimator import addresses_columns, load_estimator, refuse_wrong
from controller.convert.missing import Ask, named, required_columns, stand_ins_of
from controller.convert.request import Conversion, ConvertedForm, Fault, Request
from controller.convert.sample_frame import SampleFrame, boundary_rows, read_sample
from controller.convert.tensor_sample import first_rows, golden_rows, match_sample
from controller.convert.variants import make_variant
from controller.gates.parity import Compared, Parity, judge_parity
from controller.gates.variant import ATOL, RTOL, Shrunk, judge_variant

OWN_PACKAGES = ("confinement", "contract", "controller")
"""Packages that stay readable, because modules are imported while the conversion runs."""
LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "skops")
_DATATYPE_OF = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
}


@dataclass(frozen=True, slots=True)
class Convertible:
    """A model that onnxruntime loads, and the arrays by which it is measured."""

    model: bytes
    inputs: dict[str, Array]
    """By input name, in the model's order; their first axis counts rows, or runs."""
    columns: tuple[str, ...]
    parity: Parity


def main() -> None:
    """Converts the model in the directory that the command line names."""
    directory = Path(sys.argv[1])
    try:
        request = decode((directory / files.REQUEST).read_bytes(), Request)
        sandbox = _confine(request, directory)
        with joblib.parallel_config(backend="sequential"):  # an estimator's n_jobs would ask for processes
            answer = replace_fields(_convert(request, directory), sandbox=sandbox)
    except EdgewardError as error:
        (directory / files.FAULT).write_bytes(encode(Fault(code=error.code, detail=error.detail)))
    except MemoryError:
        fault = Fault(code=Code.CONVERSION_LIMIT, detail="conversion ran out of its memory limit")
        (directory / files.FAULT).write_bytes(encode(fault))
    else:
        (directory / files.ANSWER).write_bytes(encode(answer))


def _convert(request: Request, directory: Path) -> Conversion:
    raw = (directory / files.MODEL_IN).read_bytes()
    sample = decode_sample((directory / files.SAMPLE).read_bytes())
    if request.kind == "onnx":
        scan_onnx(raw)
        return _finish(request, directory, _as_pushed(raw, sample))
    estimator = load_estimator(raw, request.trusted_types)
    refuse_wrong(estimator)
    rows = read_sample(sample, named=addresses_columns(estimator))
    model, parity, real, rows = _best_precision(estimator, rows)
    described: dict[str, Any] = {
        "estimator": type(estimator).__name__,
        "params": {name: repr(value)[:200] for name, value in sorted(estimator.get_params(deep=False).items())},
    }
    required = required_columns(estimator, rows, _asks(model, real))
    described["nan"] = "accept" if required is not None else "refuse"
    described["required"] = required or ()
    described["missing_text"] = named(dict(rows.stand_ins), rows.columns)
    converted = Convertible(model, rows.arrays(real), rows.columns, parity)
    return _finish(request, directory, converted, **described)


def _as_pushed(raw: bytes, sample: Array | dict[str, Array]) -> Convertible:
    """Returns a pushed ONNX model with its sample. Of large rows only as many are kept as a golden set may hold."""
    tensors = [_tensor(entry) for entry in _session(raw).get_inputs()]
    matched = match_sample(sample, tensors)
    inputs, rows = matched.arrays, max(len(array) for array in matched.arrays.values() if array.ndim)
    if any(array.ndim > 2 for array in inputs.values()):
        inputs = first_rows(inputs, golden_rows(inputs))
    return Convertible(raw, inputs, matched.columns, no_reference(rows))


def _best_precision(estimator: Any, rows: SampleFrame) -> tuple[bytes, Parity, str, SampleFrame]:
    """The first precision whose parity passes; if none does, the first one that could be judged, to be refused.

    (the model, its parity, the dtype of real inputs, the rows with what stands for missing texts in this model).
    """
    from controller.convert.sklearn import convert, precisions_for, real_dtype

    judged: tuple[bytes, Parity, str, SampleFrame] | None = None
    fault: BadInput | None = None
    for precision in precisions_for(estimator):
        try:
            model = convert(estimator, rows, precision)
            real = real_dtype(precision)
            given = replace(rows, stand_ins=stand_ins_of(estimator, rows, _asks(model, real)))
            parity = _parity(estimator, model, given, precision, real)
        except BadInput as error:
            fault = fault or error
            continue
        judged = judged or (model, parity, real, given)
        if judge_parity(parity).passed:
            return model, parity, real, given
    if judged is None:
        raise fault or BadInput(Code.CONVERSION_FAILED, "no precision could be tried")
    return judged


def _parity(estimator: Any, model: bytes, rows: SampleFrame, precision: str, real: str) -> Parity:
    session = _session(model)
    names = [output.name for output in session.get_outputs()]
    compared, worst = {}, []
    for kind, frame in (("sample", rows), ("boundary", boundary_rows(rows))):
        expected = estimator_outputs(estimator, frame, names)
        actual = dict(zip(names, session.run(names, frame.arrays(real)), strict=True))
        compared[kind], rows_found = compare(frame, expected, actual, kind)
        worst += rows_found
    return Parity(reference="scikit-learn", precision=precision, worst=tuple(worst[:5]), **compared)


def _asks(model: bytes, real: str) -> Ask:
    """How the converted model is asked about other rows."""
    session = _session(model)
    names = [output.name for output in session.get_outputs()]
    return lambda rows: dict(zip(names, _run(session, names, rows.arrays(real)), strict=True))


def _finish(request: Request, directory: Path, converted: Convertible, **described: Any) -> Conversion:
    session = _session(converted.model)
    variants, shrunk = _variants(request, directory, converted)
    return Conversion(
        task=_task(session),
        inputs=tuple(_tensor(entry) for entry in session.get_inputs()),
        outputs=tuple(_tensor(entry) for entry in session.get_outputs()),
        columns=converted.columns,
        form=_write_form(directory, "", converted),
        parity=converted.parity,
        variants=variants,
        shrunk=shrunk,
        libraries={name: version(name) for name in LIBRARIES},
        **described,
    )


def _variants(
    request: Request, directory: Path, full: Convertible
) -> tuple[dict[str, ConvertedForm], tuple[Shrunk, ...]]:
    """Returns (the smaller forms that pass their gate, evidence about all forms that were requested)."""
    made: dict[str, ConvertedForm] = {}
    shrunk = []
    for name in request.variants:
        model = make_variant(full.model, name)
        if model is None:
            nothing = Compared(rows=0, differing=0, max_abs_difference=0.0)
            words = "saves nothing: the model has no large weights"
            shrunk.append(Shrunk(name=name, size_bytes=len(full.model), compared=nothing, note=words))
            continue
        evidence = Shrunk(name=name, size_bytes=len(model), compared=_beside(full, model))
        shrunk.append(evidence)
        if judge_variant(evidence).passed:
            made[name] = _write_form(directory, name, replace(full, model=model))
    return made, tuple(shrunk)


def _beside(full: Convertible, model: bytes) -> Compared:
    """Compares the answers of a smaller form on the sample.

    The first output is compared: labels, or numbers of a regression.
    """
    before, after = _session(full.model), _session(model)
    name = before.get_outputs()[0].name
    want, got = (np.atleast_1d(_run(session, [name], full.inputs)[0]) for session in (before, after))
    differing = int(rows_differ(want, got, rtol=RTOL, atol=ATOL).sum())
    numbers = want.dtype.kind == "f" and want.size
    largest = float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max()) if numbers else 0.0
    return Compared(rows=len(want), differing=differing, max_abs_difference=largest)


def _write_form(directory: Path, name: str, converted: Convertible) -> ConvertedForm:
    """Writes the model and its golden set into the scratch directory. Returns what the manifest says about them."""
    model_file, golden_file = (directory / file for file in files.form_files(name))
    session, every = _session(converted.model), converted.inputs
    names = [output.name for output in session.get_outputs()]
    any_length = all(not entry.shape or not isinstance(entry.shape[0], int) for entry in session.get_inputs())
    inputs = first_rows(every, golden_rows(every)) if any_length or _by_run(session, every) else every
    outputs = _run(session, names, inputs)
    if not _counts_rows(outputs, inputs):  # what is not rows cannot be compared by rows: it is one run
        inputs, outputs = ({name: array[None] for name, array in inputs.items()}, [array[None] for array in outputs])
    model_file.write_bytes(converted.model)
    reference = _reference(session, every if any_length else inputs, converted.columns) if converted.columns else {}
    golden_file.write_bytes(encode_tensors(join_golden(inputs, dict(zip(names, outputs, strict=True))) | reference))
    proto = onnx.load_from_string(converted.model)
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    return ConvertedForm(
        golden_rows=len(outputs[0]),
        ir=proto.ir_version,
        opset=opsets.get("", 1),
        ml_opset=opsets.get("ai.onnx.ml", 1),
    )


def _by_run(session: ort.InferenceSession, inputs: dict[str, Array]) -> bool:
    return by_run(inputs, {entry.name: len(entry.shape) for entry in session.get_inputs()})


def _counts_rows(outputs: list[Array], inputs: dict[str, Array]) -> bool:
    """Whether the first axis of every output counts what that of the inputs counts."""
    lengths = {len(array) if array.ndim else -1 for array in (*outputs, *inputs.values())}
    return len(lengths) == 1


def _run(session: ort.InferenceSession, names: list[str], inputs: dict[str, Array]) -> list[Array]:
    ranks = {entry.name: len(entry.shape) for entry in session.get_inputs()}
    try:
        outputs = answers(lambda given: list(session.run(names, given)), inputs, ranks)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BadInput(
            Code.CONVERSION_FAILED, f"the sample does not run: {type(error).__name__}: {error}"[:400]
        ) from None
    if not all(isinstance(output, np.ndarray) for output in outputs):
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, "an output is a map or a sequence: convert with zipmap=False")
    return outputs


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadInput(Code.CONVERSION_FAILED, f"onnxruntime refuses the model: {error}"[:400]) from None


def _tensor(entry: Any) -> Tensor:
    if entry.type not in _DATATYPE_OF:
        raise BadInput(Code.ESTIMATOR_UNSUPPORTED, f"{entry.name} has type {entry.type}, which no device can be fed")
    shape = tuple(size if isinstance(size, int) and size > 0 else -1 for size in entry.shape)
    names = tuple(size[:64] if isinstance(size, str) else "" for size in entry.shape)
    dimensions = names if any(names) else ()
    return Tensor(name=entry.name, datatype=_DATATYPE_OF[entry.type], shape=shape, dimensions=dimensions)


def _task(session: ort.InferenceSession) -> Literal["classification", "regression", "other"]:
    first = session.get_outputs()[0]
    if first.type in ("tensor(int64)", "tensor(string)", "tensor(bool)", "tensor(int32)"):
        return "classification"
    single = len(first.shape) == 1 or (len(first.shape) == 2 and first.shape[1] == 1)
    return "regression" if single else "other"


def _reference(session: ort.InferenceSession, inputs: dict[str, Array], columns: tuple[str, ...]) -> dict[str, Array]:
    """Returns histograms of the sample's columns and of the model's answers. Devices count with the same bin edges."""
    outputs = _run(session, [output.name for output in session.get_outputs()], inputs)
    regression = _task(session) == "regression"
    found = columns_of(columns, list(inputs.values()))
    return reference_of(found, answers_of(outputs, regression=regression), regression=regression)


def _confine(request: Request, directory: Path) -> str:
    """Confines this process. Returns how far; BadInput `sandbox_missing` if the request requires more."""
    bounds = Bounds(request.memory_mb, cpu_s=request.cpu_s, file_mb=request.memory_mb)
    sandbox = confine(bounds, library_paths(*OWN_PACKAGES), [directory])
    if sandbox != FULL and request.require_sandbox:
        words = f"a conversion cannot be confined here ({sandbox}): another kernel, or convert.require_sandbox = false"
        raise BadInput(Code.SANDBOX_MISSING, words)
    return sandbox


if __name__ == "__main__":
    main()
