"""Measures time and memory of loading a model and of answering its golden set, in a confined process.

Trees take ten times the size of their file, networks twice, and the intermediate arrays of pictures more than either.
Run as ``python -I -m controller.convert.measure MODEL GOLDEN MEMORY_MB SECONDS``. The file of the conversion child is
scanned as on a device before anything parses it. Prints the JSON of `request.Measured`. The module `request` is not
imported, because its import takes longer than most models take to load.
"""

import json
import mmap
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime as ort

from confinement.bounds import Bounds
from confinement.process import confine
from confinement.surroundings import library_paths
from contract.errors import BadInput
from contract.golden import answers, inputs_of
from contract.onnx_scan import scan_onnx
from contract.tensors import decode_tensors
from controller.convert.memory import is_memory_fault, memory_words


def main() -> None:
    """Scans and loads the model that the command line names, and prints the result."""
    (model, golden), (memory_mb, cpu_s) = map(Path, sys.argv[1:3]), map(int, sys.argv[3:5])
    confine(Bounds(memory_mb, cpu_s), [model, golden, *library_paths()])
    json.dump(_measure(model, golden, memory_mb), sys.stdout)


def _measure(model: Path, golden: Path, memory_mb: int) -> dict[str, Any]:
    try:
        with model.open("rb") as file:
            scan_onnx(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
    except (BadInput, ValueError, OSError) as error:
        return {"fault": _words(error, model, memory_mb)}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    before_mb, began = _mapped_mb("VmSize"), time.perf_counter()
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        _answer(session, decode_tensors(golden.read_bytes()))
    except Exception as error:  # onnxruntime's exceptions share no base class
        return {"fault": _words(error, model, memory_mb)}
    measured = {"load_s": time.perf_counter() - began, "load_mb": _mapped_mb("VmPeak") - before_mb}
    del session
    return measured


def _words(error: Exception, model: Path, memory_mb: int) -> str:
    words = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
    return memory_words(model.stat().st_size, memory_mb) if is_memory_fault(error) else words[:300]


def _answer(session: ort.InferenceSession, golden: dict[str, Any]) -> None:
    """Runs the golden inputs as a device's probe will."""
    ranks = {entry.name: len(entry.shape) for entry in session.get_inputs()}
    given = inputs_of(golden, ranks)
    texts = {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in given.items()}
    answers(lambda inputs: list(session.run(None, inputs)), texts, ranks)


def _mapped_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
