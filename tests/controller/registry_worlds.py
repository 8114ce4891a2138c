"""Versions and conversions for tests of the registry. They are made here, so that no child process has to convert."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from contract.blobs import describe
from contract.golden import join_golden
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor
from contract.tensors import encode_tensors
from controller.convert.convert import Converted, MadeFile
from controller.convert.request import Conversion, ConvertedForm
from controller.gates.parity import Compared, Parity
from controller.gates.verdict import GateVerdict
from controller.registry.version import DataDigest, Lineage, Version
from controller.state import State
from controller.verbs import push as push_verb
from tests.controller.conversions import made_file

INPUT = Tensor(name="X", datatype="FP32", shape=(-1, 3))
LABEL = Tensor(name="label", datatype="INT64", shape=(-1,))
CHUNK_BYTES = 1024
PASSED = GateVerdict(gate="parity", passed=True, detail="0 of 200 sample rows differ")


def manifest(release: int = 1, data: bytes = b"model", **changes: Any) -> Manifest:
    blob = describe(data, CHUNK_BYTES)
    tolerance = Decimal("0.0001")
    golden = Golden(blob=blob, rows=8, rtol=tolerance, atol=tolerance, max_row_mismatch_ratio=Decimal("0.02"))
    made = Manifest(
        release=release, artifact=blob, golden=golden, task="classification", inputs=(INPUT,), outputs=(LABEL,),
        columns=("a", "b", "c"), hardware=("x86_64",), runtime=Runtime(ir=8, opset=18, ml_opset=3),
        limits=ModelLimits(memory_mb=64, load_s=10),
    )  # fmt: skip
    return replace(made, **changes)


def version(release: int = 1, model: str = "m", artifact: bytes = b"model", **changes: Any) -> Version:
    """A version that has passed; `changes` are fields of it, of its lineage or of its manifest."""
    lineage = Lineage(created_at="2026-01-02T03:04:05+00:00", created_by="ada", source="onnx", source_sha256="00")
    made = Version(
        model=model, release=release, manifest=manifest(release, artifact), lineage=lineage, evidence={},
        gates=(PASSED,), semver=f"1.{release}.0",
    )  # fmt: skip
    for name, value in changes.items():
        if name in Version.__struct_fields__:
            made = replace(made, **{name: value})
        elif name in Lineage.__struct_fields__:
            made = replace(made, lineage=replace(made.lineage, **{name: value}))
        else:
            made = replace(made, manifest=replace(made.manifest, **{name: value}))
    return made


def data_digest(letter: str) -> DataDigest:
    return DataDigest(sha256=letter * 64, rows=100, columns=("a", "b", "c"))


def files_of(model: bytes, golden: bytes) -> tuple[MadeFile, MadeFile]:
    return made_file(model), made_file(golden)


def converted(model: bytes = b"onnx", *, differing: int = 0, **changes: Any) -> Converted:
    """A conversion; `differing` of its 200 sample rows have another answer than the estimator gives."""
    nothing = Compared(rows=0, differing=0, max_abs_difference=0.0)
    parity = Parity(
        reference="scikit-learn",
        precision="float32",
        sample=Compared(rows=200, differing=differing, max_abs_difference=0.0),
        boundary=nothing,
    )
    answer = Conversion(
        task="classification",
        inputs=(INPUT,),
        outputs=(LABEL,),
        columns=("a", "b", "c"),
        form=ConvertedForm(golden_rows=8, ir=8, opset=18, ml_opset=3, load_s=0.01, load_mb=1.0),
        parity=parity,
        estimator="Planted",
    )
    return Converted(forms={"": files_of(model, b"golden set of " + model)}, answer=replace(answer, **changes))


def threshold_model(weights: tuple[float, float, float]) -> Converted:
    """A real model: the label is 1 where the weighted sum of the three columns is above 0."""
    wanted = numpy_helper.from_array(np.array(weights, dtype=np.float32).reshape(3, 1), "w")
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.float32), "zero")
    flat = numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat")
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["sum"]),
        helper.make_node("Greater", ["sum", "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["number", "flat"], ["label"]),
    ]
    takes = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])
    gives = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    graph = helper.make_graph(nodes, "model", [takes], [gives], [wanted, zero, flat])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    rows = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    answers = (rows @ np.array(weights, dtype=np.float32) > 0).astype(np.int64)
    golden = encode_tensors(join_golden({"X": rows}, {"label": answers}))
    return Converted(forms={"": files_of(made.SerializeToString(), golden)}, answer=converted().answer)


@pytest.fixture
def plant(state: State, monkeypatch: pytest.MonkeyPatch) -> Callable[[Converted], None]:
    """Makes every push use a given conversion, without a child process; nothing is encoded for devices."""
    monkeypatch.setattr(state.deliveries, "begin", lambda model, manifest: None)

    def planted(found: Converted) -> None:
        async def run_conversion(*_: object, **__: object) -> Converted:
            return found

        monkeypatch.setattr(push_verb, "run_conversion", run_conversion)

    return planted


def pushed(state: State, directory: Path, model: str = "m", **options: Any) -> push_verb.Pushed:
    """Pushes the planted conversion."""
    import asyncio

    for name in ("raw", "sample"):
        (directory / name).write_bytes(name.encode())
    options = {"actor": "ada", "tags": {}, **options}
    return asyncio.run(push_verb.push(state, model, "onnx", directory / "raw", directory / "sample", **options))
