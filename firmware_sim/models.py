"""Models of a simulated world: bytes, a signed manifest, and how the model behaves on the device.

Decides behaviour by digest. Refuses to know when a model is run.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import numpy as np

from agent.core.limits import ENCODINGS
from agent.core.model import Assignment
from agent.ports import Array, Inputs, ProbeReport, Session, Stop, Usage
from contract.blobs import describe
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor
from contract.messages import Hardware
from firmware_sim.power import ProcessKilled

Behaviour = Literal[
    "good",
    "wrong",
    "worse",
    "raises",
    "slow",
    "slower",
    "breaks_probe",
    "fails_to_load",
    "crashes_on_load",
    "leaks_memory",
]
CHUNK_BYTES = 1024
QUICK_S = 0.0005
SLOW_S = 0.5
SLOWER_S = 3 * QUICK_S
"""Seconds that one inference takes on the device's own clock, which virtual time does not include."""
WORSE_ONE_IN = 16
"""One in this many rows gets the other label from a worse model: a loss of five points if nine of ten answers are
right."""
LEAK_MB = 64.0
"""MB that one inference of a leaking model keeps."""
MEMORY_MB = 512
AGENT_MB = 40.0
_ANSWERS = (np.array([0]), np.array([1]))


def _no_time(_: float) -> None:
    """Spends no time: the default for tests without times."""


@dataclass(frozen=True, slots=True)
class SimModel:
    """One version of a simulated model."""

    release: int
    behaviour: Behaviour
    artifact: bytes
    golden: bytes
    manifest: Manifest

    def behaving(self, behaviour: Behaviour) -> "SimModel":
        """The same bytes, with another behaviour on some devices."""
        return replace(self, behaviour=behaviour)


def make_model(
    release: int, behaviour: Behaviour, size_bytes: int = 5000, *, artifact: bytes | None = None
) -> SimModel:
    """A version whose bytes, and so its digest, follow from its release number unless they are given."""
    artifact = artifact or (f"model {release} {behaviour} " * size_bytes).encode()[:size_bytes]
    golden = f"golden {release}".encode()
    manifest = Manifest(
        release=release,
        artifact=describe(artifact, CHUNK_BYTES),
        golden=Golden(
            blob=describe(golden, CHUNK_BYTES),
            rows=1,
            rtol=Decimal("0.001"),
            atol=Decimal("0.001"),
            max_row_mismatch_ratio=Decimal(0),
        ),
        task="classification",
        inputs=(Tensor(name="X", datatype="FP32", shape=(-1, 1)),),
        outputs=(Tensor(name="label", datatype="INT64", shape=(-1,)),),
        columns=("x",),
        hardware=("sim",),
        runtime=Runtime(ir=8, opset=18, ml_opset=3),
        limits=ModelLimits(memory_mb=64, load_s=10),
    )
    return SimModel(release, behaviour, artifact, golden, manifest)


class SimSession:
    """Answers by behaviour: `good` says whether x is positive."""

    def __init__(
        self, behaviour: Behaviour, spend: Callable[[float], None], leak: Callable[[], None] | None = None
    ) -> None:
        self._spend = spend
        self._leak = leak if behaviour == "leaks_memory" else None
        self._latency_s = {"slow": SLOW_S, "slower": SLOWER_S}.get(behaviour, QUICK_S)
        self._raises = behaviour == "raises"
        self._wrong = behaviour == "wrong"
        self._worse = behaviour == "worse"

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        """Returns one label for one row, shape (1,)."""
        self._spend(self._latency_s)
        if self._raises:
            raise RuntimeError("simulated fault")
        if self._leak is not None:
            self._leak()
        x = inputs["X"][0, 0]
        wrong = self._wrong or (self._worse and int(abs(float(x)) * 1e6) % WORSE_ONE_IN == 0)
        return [_ANSWERS[bool(x > 0) != wrong]]


class _Worker:
    """A model's own process: it leaks only its own memory, and the kernel ends only this process."""

    def __init__(self) -> None:
        self._mb = AGENT_MB

    def leak(self) -> None:
        """Leaks `LEAK_MB`. A worker without memory left is replaced by a new one."""
        self._mb += LEAK_MB
        if self._mb > MEMORY_MB:
            self._mb = AGENT_MB
            raise WorldError(Code.WORKER_FAILED, "simulated: it has ended")


class SimRuntime:
    """The Runtime port by behaviour; `read` opens files of the simulated flash."""

    def __init__(
        self, models: tuple[SimModel, ...], read: Callable[[str], bytes], spend: Callable[[float], None] = _no_time
    ) -> None:
        self._by_artifact = {model.artifact: model for model in models}
        self.read = read
        self._spend = spend
        self._rss_mb = AGENT_MB

    def hardware(self) -> Hardware:
        """The facts about the simulated machine."""
        return Hardware(
            machine="sim",
            cpus=1,
            memory_mb=MEMORY_MB,
            python="3.11",
            onnxruntime="1.32.0",
            agent="0.1.0",
            encodings=ENCODINGS,
        )

    def probe(self, assignment: Assignment, artifact: str, golden: str, done: Callable[[ProbeReport], None]) -> None:
        """Returns the answer at once; the caller queues it."""
        model = self._by_artifact.get(self.read(artifact))
        broken = model is None or model.behaviour == "breaks_probe"
        done(ProbeReport(assignment.digest, Code.PROBE_FAILED if broken else "", "simulated" if broken else ""))

    def load(self, artifact: str, manifest: Manifest, policy: TrialPolicy) -> Session:
        """A session; WorldError `model_load_failed` for bytes that are no model of this world."""
        model = self._by_artifact.get(self.read(artifact))
        if model is None or model.behaviour == "fails_to_load":
            raise WorldError(Code.MODEL_LOAD_FAILED, "simulated")
        if model.behaviour == "crashes_on_load":
            if policy.isolated:
                raise WorldError(Code.MODEL_LOAD_FAILED, "simulated: the worker did not start")
            raise ProcessKilled
        return SimSession(model.behaviour, self._spend, _Worker().leak if policy.isolated else self.leak)

    def leak(self) -> None:
        """Leaks `LEAK_MB` for the life of the process. The kernel ends a process without memory left."""
        self._rss_mb += LEAK_MB
        if self._rss_mb > MEMORY_MB:
            raise ProcessKilled

    def answer_golden(self, session: Session, manifest: Manifest, golden: bytes) -> Generator[None, None, int]:
        """Misses its one row unless the bytes are the version's golden set."""
        yield
        return int(golden != f"golden {manifest.release}".encode())

    def free_mb(self) -> float:
        """The free memory of the simulated machine."""
        return MEMORY_MB - self._rss_mb

    def usage(self) -> Usage:
        """The memory of the process, leaks included. CPU is not simulated."""
        return Usage(self._rss_mb, 0.0)

    def trim(self) -> None:
        """Does nothing: there is no heap to trim."""
