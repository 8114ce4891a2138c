"""The real probe child: onnxruntime, its own process, and limits."""

import io
import json
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from agent.adapters.runtime import probe_child
from agent.adapters.runtime.onnx_runtime import OnnxRuntime
from agent.adapters.runtime.probe import run_probe
from agent.core.model import Assignment
from contract.blobs import describe
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from contract.golden import join_golden
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor
from contract.tensors import encode_tensors
from contract.wire import encode

X = np.arange(8, dtype=np.float32).reshape(4, 2)


def graph(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> bytes:
    takes = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])
    gives = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, None])
    made = helper.make_graph(list(nodes), "model", [takes], [gives], initializer=list(initializers))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def doubling() -> bytes:
    return graph(helper.make_node("Add", ["X", "X"], ["Y"]))


def assignment(model: bytes, golden: bytes, *, memory_mb: int = 64, load_s: int = 5) -> Assignment:
    manifest = Manifest(
        release=1,
        artifact=describe(model, 65536),
        golden=Golden(
            blob=describe(golden, 65536),
            rows=4,
            rtol=Decimal("1e-4"),
            atol=Decimal("1e-4"),
            max_row_mismatch_ratio=Decimal("0.25"),
        ),
        task="regression",
        inputs=(Tensor(name="X", datatype="FP32", shape=(-1, 2)),),
        outputs=(Tensor(name="Y", datatype="FP32", shape=(-1, -1)),),
        columns=("a", "b"),
        hardware=("x86_64",),
        runtime=Runtime(ir=8, opset=18, ml_opset=3),
        limits=ModelLimits(memory_mb=memory_mb, load_s=load_s),
    )
    return Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy())


def probe(tmp_path: Path, model: bytes, answers: np.ndarray = X * 2, **limits: int) -> tuple[str, str]:
    golden = encode_tensors(join_golden({"X": X}, {"Y": answers}))
    (tmp_path / "model").write_bytes(model)
    (tmp_path / "golden").write_bytes(golden)
    report = run_probe(assignment(model, golden, **limits), str(tmp_path / "model"), str(tmp_path / "golden"))
    return report.code, report.detail


def test_a_model_with_the_recorded_answers_is_ready(tmp_path: Path) -> None:
    assert probe(tmp_path, doubling()) == ("", "")


def test_different_golden_answers_are_a_mismatch_with_numbers(tmp_path: Path) -> None:
    code, detail = probe(tmp_path, doubling(), X * 3)
    assert (code, "4 of 4" in detail or "3 of 4" in detail) == (Code.PROBE_MISMATCH, True)


def test_a_share_of_rows_within_the_tolerance_of_the_manifest_may_differ(tmp_path: Path) -> None:
    answers = X * 2
    answers[0] += 1
    assert probe(tmp_path, doubling(), answers) == ("", "")


def test_bytes_that_are_not_a_model_do_not_load(tmp_path: Path) -> None:
    assert probe(tmp_path, b"not a model")[0] == Code.MODEL_REFUSED


def test_a_memory_bomb_ends_only_the_child_process(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [40_000, 40_000])
    bomb = graph(
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["X", "sum"], ["Y"]),
        initializers=(shape,),
    )
    code, _ = probe(tmp_path, bomb)
    assert code in (Code.MODEL_LOAD_FAILED, Code.PROBE_FAILED)


def test_a_cpu_bomb_ends_at_its_limit(tmp_path: Path) -> None:
    count = helper.make_tensor("count", TensorProto.INT64, [], [2**62])
    always = helper.make_tensor("always", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Add", ["v", "v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    bomb = graph(helper.make_node("Loop", ["count", "always", "X"], ["Y"], body=body), initializers=(count, always))
    code, detail = probe(tmp_path, bomb, load_s=1)
    assert code == Code.PROBE_FAILED, detail


def test_a_loaded_session_runs_and_a_broken_file_is_a_coded_error(tmp_path: Path) -> None:
    runtime = OnnxRuntime()
    (tmp_path / "model").write_bytes(doubling())
    manifest = assignment(doubling(), b"golden").manifest
    session = runtime.load(str(tmp_path / "model"), manifest, TrialPolicy())
    assert (session.run({"X": X})[0] == 2 * X).all()
    (tmp_path / "model").write_bytes(doubling()[:-20])
    with pytest.raises(WorldError) as caught:
        runtime.load(str(tmp_path / "model"), manifest, TrialPolicy())
    assert caught.value.code == Code.MODEL_LOAD_FAILED
    assert runtime.usage().rss_mb > 10
    assert runtime.usage().cpu_s > 0
    assert msgspec.to_builtins(runtime.hardware())["onnxruntime"]


@pytest.mark.parametrize(("required", "code"), [(True, Code.SANDBOX_MISSING), (False, "")])
def test_the_policy_decides_whether_a_reduced_sandbox_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool, code: str
) -> None:
    """A child on a kernel without landlock: refused if the policy requires it, otherwise probed."""
    golden = encode_tensors(join_golden({"X": X}, {"Y": X * 2}))
    (tmp_path / "model").write_bytes(doubling())
    (tmp_path / "golden").write_bytes(golden)
    manifest = json.loads(encode(assignment(doubling(), golden).manifest))
    request = {"artifact": str(tmp_path / "model"), "golden": str(tmp_path / "golden"), "manifest": manifest}
    monkeypatch.setattr(probe_child, "confine", lambda bounds, readable: "reduced: no landlock")
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**request, "require_sandbox": required})))
    said = io.StringIO()
    monkeypatch.setattr("sys.stdout", said)
    probe_child.main()
    answer = json.loads(said.getvalue())
    assert (answer.get("code", ""), answer["sandbox"]) == (code, "reduced: no landlock")


@pytest.mark.parametrize(
    ("said", "degrees"), [("48500\n", 48.5), ("-12000", -12.0), ("999999", None), ("hot", None), (None, None)]
)
def test_an_absurd_value_of_a_thermal_zone_is_ignored(tmp_path: Path, said: str | None, degrees: float | None) -> None:
    zone = tmp_path / "temp"
    if said is not None:
        zone.write_text(said)
    runtime = OnnxRuntime()
    runtime._zones = [zone]
    assert runtime.usage().temperature_c == degrees
