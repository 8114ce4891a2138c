"""Releases as real ONNX models in real onnxruntime sessions, for scenarios with `runtime = "onnxruntime"`.

Only behaviours that a model's graph can have are possible: good, wrong, raises. onnxruntime itself loads, runs and
fails.
"""

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, TensorProto, helper

from agent.adapters.runtime.onnx_runtime import OnnxSession
from agent.core.model import Assignment
from agent.ports import ProbeReport, Session
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Manifest
from firmware_sim.models import Behaviour, SimModel, SimRuntime, make_model

GRAPHS: tuple[Behaviour, ...] = ("good", "wrong", "raises")
_ROW = {"X": np.array([[0.0]], dtype=np.float32)}


def make_real_model(release: int, behaviour: Behaviour) -> SimModel:
    """Returns a version whose artifact is ONNX. BadInput `config_invalid` for behaviours that no graph can have."""
    if behaviour not in GRAPHS:
        words = ", ".join(GRAPHS)
        raise BadInput(Code.CONFIG_INVALID, f"behaviour {behaviour!r} with runtime onnxruntime: there are {words}")
    return make_model(release, behaviour, artifact=onnx_bytes(release, behaviour))


def onnx_bytes(release: int, behaviour: Behaviour) -> bytes:
    """Returns ONNX that tells whether x is positive; `wrong`: the opposite; `raises`: an error for x above zero."""
    compare = "LessOrEqual" if behaviour == "wrong" else "Greater"
    nodes = [helper.make_node(compare, ["X", "zero"], ["answer"])]
    nodes += _raising() if behaviour == "raises" else [_cast("answer", "label")]
    graph = helper.make_graph(
        nodes,
        f"release-{release}",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, [None, 1])],
        initializer=[
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("answers", TensorProto.INT64, [1], [1]),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    raw: bytes = made.SerializeToString()
    return raw


def _raising() -> list[NodeProto]:
    """Returns nodes whose index is out of range for a positive x: the probe passes, but rows of the sensor fail."""
    return [_cast("answer", "index"), helper.make_node("Gather", ["answers", "index"], ["label"])]


def _cast(source: str, target: str) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=TensorProto.INT64)


class RealRuntime(SimRuntime):
    """Sessions of onnxruntime from bytes on simulated flash. The probe runs one row in this process."""

    def probe(self, assignment: Assignment, artifact: str, golden: str, done: Callable[[ProbeReport], None]) -> None:
        """Loads the model and runs one row. Calls `done` with the report."""
        try:
            self.load(artifact, assignment.manifest, assignment.policy).run(_ROW)
        except Exception as error:  # onnxruntime's exceptions share no base class
            done(ProbeReport(assignment.digest, Code.PROBE_FAILED, str(error)[:200]))
            return
        done(ProbeReport(assignment.digest))

    def load(self, artifact: str, manifest: Manifest, policy: TrialPolicy) -> Session:
        """Returns a real session. WorldError `model_load_failed` with onnxruntime's own words."""
        try:
            return OnnxSession(self.read(artifact), manifest)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise WorldError(Code.MODEL_LOAD_FAILED, f"{type(error).__name__}: {error}"[:200]) from error
