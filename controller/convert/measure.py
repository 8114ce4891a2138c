"""What loading a model costs, measured in a confined process of its own: trees take ten times their file, nets twice.

Run as ``python -I -m controller.convert.measure MODEL MEMORY_MB SECONDS``. What the conversion child left is scanned
as a device will scan it, before anything parses it. Prints the JSON of `request.Measured`, whose module
would take longer to import than most models to load.
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
from contract.onnx_scan import scan_onnx


def main() -> None:
    """Scan and load the model that is named on the command line."""
    model, memory_mb, cpu_s = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    confine(Bounds(memory_mb, cpu_s), [model, *library_paths()])
    json.dump(_measure(model), sys.stdout)


def _measure(model: Path) -> dict[str, Any]:
    try:
        with model.open("rb") as file:
            scan_onnx(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
    except (BadInput, ValueError, OSError) as error:
        return {"fault": str(error)[:300]}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    before_mb, began = _mapped_mb("VmSize"), time.perf_counter()
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        return {"fault": f"{type(error).__name__}: {error}"[:300]}
    measured = {"load_s": time.perf_counter() - began, "load_mb": _mapped_mb("VmPeak") - before_mb}
    del session
    return measured


def _mapped_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
