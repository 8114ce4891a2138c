"""What loading a model costs, measured in a process of its own: trees take ten times their file, dense nets twice."""

import json
import subprocess
import sys
import time
from pathlib import Path

from contract.errors import BadInput, Code

TIMEOUT_S = 120


def measure_load(model: Path) -> tuple[float, float]:
    """(seconds, MB of address space) that loading `model` took; BadInput `conversion_limit` when it does not end."""
    command = [sys.executable, "-I", "-m", "controller.convert.measure", str(model)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)  # noqa: S603 - our own module
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise BadInput(Code.CONVERSION_LIMIT, f"the converted model does not load: {error}"[:300]) from None
    load_s, load_mb = json.loads(child.stdout)
    return load_s, load_mb


def _mapped_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _main() -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    before_mb = _mapped_mb("VmSize")
    began = time.perf_counter()
    session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    json.dump([time.perf_counter() - began, _mapped_mb("VmPeak") - before_mb], sys.stdout)
    del session


if __name__ == "__main__":
    _main()
