"""The Runtime port on onnxruntime: sessions that use little CPU while idle, and probes in a child process.

Decides session settings (measured: docs/adr/0003). Refuses to know when a model is loaded or why.
"""

import math
import os
import platform
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from agent.adapters.runtime import heap
from agent.adapters.runtime.session_settings import PLAIN, SMALLEST, Budget, SessionSettings
from agent.core.limits import ENCODINGS
from agent.core.model import Assignment
from agent.ports import Array, Inputs, ProbeReport, Session, Stop, Usage
from confinement.process import confinable
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from contract.manifest import Manifest
from contract.messages import Hardware
from contract.protocol import VERSION

MAX_ZONES = 16
_GROUP = Path("/sys/fs/cgroup")


def session_options(threads: int = 1) -> ort.SessionOptions:
    """Returns options: no spinning, one thread: idle CPU 52 % -> 6 % at 10 Hz, no worse latency on small models."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # errors are raised and counted: a bad model must not fill the log
    return options


class OnnxSession:
    """A loaded model."""

    def __init__(self, artifact: str | bytes, manifest: Manifest, settings: SessionSettings = PLAIN) -> None:
        # Without `providers` onnxruntime retries on failure and prints to stdout.
        options, providers = session_options(settings.threads), list(settings.providers)
        self._session = ort.InferenceSession(artifact, options, providers=providers)
        self._outputs = [output.name for output in manifest.session_outputs]

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        """Returns an array for each of the manifest's outputs, in order; shapes and dtypes as in the Session port."""
        outputs: list[Array] = self._session.run(self._outputs, inputs, None if stop is None else _ended_by(stop))
        return outputs


class OnnxRuntime:
    """Loads models in this process, probes them in another one. `memory_mb` limits the whole agent; 0 means what the
    device has.

    `worker_deadline_s` is the time limit for one request to a model in its own process; `budget` limits all
    sessions.
    """

    def __init__(self, memory_mb: int = 0, worker_deadline_s: float = 5.0, budget: Budget = SMALLEST) -> None:
        self._memory_mb = memory_mb
        self._worker_deadline_s = worker_deadline_s
        self._budget, self._providers = budget, ort.get_available_providers()
        self._hardware = _hardware()
        self._zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp"))[:MAX_ZONES]
        heap.tune()

    def hardware(self) -> Hardware:
        """Returns the device's machine, memory and versions."""
        return self._hardware

    def load(self, artifact: str, manifest: Manifest, policy: TrialPolicy) -> Session:
        """Loads a model. WorldError `model_load_failed` with onnxruntime's own message."""
        settings = self._budget.settings(policy, self._providers)
        if policy.isolated:
            from agent.adapters.runtime.worker import WorkerSession

            return WorkerSession(artifact, manifest, settings, deadline_s=self._worker_deadline_s)
        try:
            session = OnnxSession(artifact, manifest, settings)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise WorldError(Code.MODEL_LOAD_FAILED, f"{type(error).__name__}: {error}") from error
        self.trim()
        return session

    def probe(self, assignment: Assignment, artifact: str, golden: str, done: Callable[[ProbeReport], None]) -> None:
        """Probes in a child; a thread waits for it."""
        from agent.adapters.runtime.probe import run_probe

        arguments = (assignment, artifact, golden, self._budget.settings(assignment.policy, self._providers))
        thread = threading.Thread(target=lambda: done(run_probe(*arguments)), name="probe", daemon=True)
        thread.start()

    def trim(self) -> None:
        """Returns freed memory to the kernel."""
        heap.trim()

    def answer_golden(self, session: Session, manifest: Manifest, golden: bytes) -> Generator[None, None, int]:
        """Answers a golden set run by run; see the Runtime port."""
        from contract.golden import missed_in_steps, split_golden  # imported here: it is needed once per boot
        from contract.tensors import decode_tensors

        arrays = decode_tensors(golden)
        inputs = to_runtime_inputs(split_golden(arrays, manifest)[0])
        return (yield from missed_in_steps(session.run, inputs, arrays, manifest))

    def free_mb(self) -> float:
        """Returns MB that the kernel can give without swapping, within the control group's and the configured limit."""
        free = [_available_mb()]
        if (used_mb := _group_mb("memory.current")) is not None and (most_mb := _group_mb("memory.max")) is not None:
            free.append(most_mb - used_mb)
        if self._memory_mb:
            free.append(self._memory_mb - self.usage().rss_mb)
        return max(0.0, min(free))

    def usage(self) -> Usage:
        """Returns memory and CPU of this process, and the device's temperature where a sensor exists."""
        resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        degrees = [found for zone in self._zones if (found := _temperature_c(zone)) is not None]
        rss_mb = resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return Usage(rss_mb, time.process_time(), max(degrees, default=None))


def _ended_by(stop: Stop) -> ort.RunOptions:
    """Returns options by which onnxruntime ends between two operators, once `stop` is set."""
    options = ort.RunOptions()

    def end() -> None:
        options.terminate = True

    stop.ends_by(end)
    return options


def _hardware() -> Hardware:
    return Hardware(
        machine=platform.machine(),
        cpus=os.cpu_count() or 1,
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6,
        python=platform.python_version(),
        onnxruntime=ort.__version__,
        agent=VERSION,
        sandbox=confinable(),
        encodings=ENCODINGS,
    )


def _available_mb() -> float:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("MemAvailable:")), math.inf)


def _group_mb(name: str) -> float | None:
    """Returns a figure of the agent's control group (version 2) in MB; None without a group or a limit."""
    try:
        return int((_GROUP / name).read_text(encoding="ascii")) / 1e6
    except (OSError, ValueError):
        return None


def _temperature_c(zone: Path) -> float | None:
    """Returns a thermal zone's degrees Celsius; None if it cannot be read or is out of range."""
    try:
        degrees = int(zone.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None
    return degrees if -60.0 < degrees < 200.0 else None


def to_runtime_inputs(arrays: dict[str, Array]) -> dict[str, Array]:
    """Converts arrays of any shape to dtypes that onnxruntime takes: text (U) to object, others unchanged."""
    return {
        name: array.astype(object) if array.dtype.kind == "U" else np.asarray(array) for name, array in arrays.items()
    }
