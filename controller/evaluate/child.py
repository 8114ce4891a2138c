"""The evaluation child: ``python -I -m controller.evaluate.child DIRECTORY``, confined to that directory.

Answers held-out rows with the candidate and with the champion, measures one row on one thread, lists operators. A model
that cannot answer is reported as a fault in words, and the child continues.
"""

import mmap
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from confinement.bounds import Bounds
from confinement.process import confine
from confinement.surroundings import library_paths
from contract.errors import BadInput, Code
from contract.golden import split_golden
from contract.manifest import DATATYPES, Manifest
from contract.onnx_scan import scan_onnx
from contract.samples import decode_sample
from contract.tensors import Array, decode_tensors, encode_tensors
from contract.wire import decode, encode
from controller.convert.memory import is_memory_fault, memory_words
from controller.evaluate import request as files
from controller.evaluate.request import CANDIDATE, Evaluated, EvaluateRequest, read_rows

WARM_UPS, RUNS = 20, 200
"""Single rows that are answered before the measurement, and during it: 200 runs of a large model take 0.2 s."""
MAX_RUN_S = 2.0
"""Seconds after which no further run is measured."""
OWN_PACKAGES = ("confinement", "contract", "controller")


def main() -> None:
    """Evaluates the models in the directory that the command line names."""
    directory = Path(sys.argv[1])
    asked = decode((directory / files.REQUEST).read_bytes(), EvaluateRequest)
    bounds = Bounds(asked.memory_mb, cpu_s=asked.cpu_s, file_mb=asked.memory_mb)
    given = map(Path, (*asked.models.values(), *asked.goldens.values()))
    confine(bounds, [*given, *library_paths(*OWN_PACKAGES)], [directory])
    answers: dict[str, Array] = {}
    faults: dict[str, str] = {}
    measured: dict[str, Any] = {}
    for name, manifest in asked.manifests.items():
        model = Path(asked.models[name])
        try:
            with model.open("rb") as file:
                scan = scan_onnx(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
            session = _session(model)
            if (directory / files.ROWS).exists():
                inputs = feed(read_rows((directory / files.ROWS).read_bytes()).sample, manifest)
                answers[name] = _plain(session.run([manifest.outputs[0].name], inputs)[0])
            else:
                golden = decode_tensors(Path(asked.goldens[name]).read_bytes())
                inputs = split_golden(golden, manifest)[0]
            if name == CANDIDATE:
                measured = {**_latency(session, inputs), "operators": tuple(sorted(scan.operators))}
        except Exception as error:  # onnxruntime's exceptions share no base class; a fault is a result too
            short = is_memory_fault(error)
            words = memory_words(model.stat().st_size, asked.memory_mb) if short else f"{type(error).__name__}: {error}"
            faults[name] = words[:300]
    (directory / files.ANSWERS).write_bytes(encode_tensors(answers))
    (directory / files.ANSWER).write_bytes(encode(Evaluated(faults=faults, **measured)))


def feed(raw: bytes, manifest: Manifest) -> dict[str, Array]:
    """Returns the inputs of a model from rows, by name: one matrix, or one array of shape (rows, 1) for each column.

    BadInput `sample_missing` names columns that the rows lack.
    """
    if manifest.state is not None:
        words = "a model with state answers streams, and held-out rows stand alone: push it without held_out"
        raise BadInput(Code.SAMPLE_MISSING, words)
    sample = decode_sample(raw)
    inputs = manifest.inputs
    if len(inputs) == 1 and inputs[0].name not in manifest.columns:
        matrix = sample if isinstance(sample, np.ndarray) else _matrix(sample, manifest.columns)
        return {inputs[0].name: matrix.astype(DATATYPES[inputs[0].datatype])}
    if isinstance(sample, np.ndarray):
        raise BadInput(Code.SAMPLE_MISSING, f"the model takes columns by name: {', '.join(manifest.columns)}")
    _check_columns(sample, tuple(tensor.name for tensor in inputs))
    stand_ins = dict(manifest.missing_text)
    return {each.name: _column(sample[each.name], each.datatype, stand_ins.get(each.name, "")) for each in inputs}


def _matrix(sample: dict[str, Array], columns: tuple[str, ...]) -> Array:
    _check_columns(sample, columns)
    return np.column_stack([sample[name] for name in columns])


def _check_columns(sample: dict[str, Array], wanted: tuple[str, ...]) -> None:
    if missing := [name for name in wanted if name not in sample]:
        raise BadInput(Code.SAMPLE_MISSING, f"held-out rows lack the columns {', '.join(missing[:5])}")


def _column(column: Array, datatype: str, stand_in: str) -> Array:
    if datatype != "BYTES":
        return column.astype(DATATYPES[datatype]).reshape(-1, 1)
    texts = [stand_in if cell is None or cell != cell else str(cell) for cell in column.tolist()]  # noqa: PLR0124 - NaN
    made = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made.reshape(-1, 1)


def _latency(session: ort.InferenceSession, inputs: dict[str, Array]) -> dict[str, float]:
    one = {name: array[:1] for name, array in inputs.items()}
    began, took_us = time.perf_counter(), []
    for run in range(WARM_UPS + RUNS):
        at = time.perf_counter()
        session.run(None, one)
        if run >= WARM_UPS or at - began > MAX_RUN_S:
            took_us.append((time.perf_counter() - at) * 1e6)
        if at - began > MAX_RUN_S:
            break
    return {f"latency_us_p{percent}": float(np.percentile(took_us, percent)) for percent in (50, 95)}


def _plain(answers: Any) -> Array:
    """Returns the first output as an array of shape (rows,): labels, or numbers of a regression."""
    found = np.asarray(answers)
    return (found.astype(np.str_) if found.dtype == object else found).reshape(len(found), -1)[:, 0]


def _session(model: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
