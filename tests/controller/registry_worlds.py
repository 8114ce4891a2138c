"""Versions and conversions for tests of the registry: made here, so that no child has to convert anything."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.blobs import describe
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Tensor
from controller.convert.convert import Converted
from controller.convert.request import Conversion, ConvertedForm
from controller.gates.parity import Compared, Parity
from controller.gates.verdict import GateVerdict
from controller.registry.version import DataDigest, Lineage, Version
from controller.state import State
from controller.verbs import push as push_verb

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


def converted(model: bytes = b"onnx", *, differing: int = 0, **changes: Any) -> Converted:
    """What a conversion gives: `differing` of its 200 sample rows answer otherwise than the estimator."""
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
    return Converted(forms={"": (model, b"golden set of " + model)}, answer=replace(answer, **changes))


@pytest.fixture
def plant(state: State, monkeypatch: pytest.MonkeyPatch) -> Callable[[Converted], None]:
    """Lets every push find this conversion, without a child; nothing is encoded for devices."""
    monkeypatch.setattr(state.deliveries, "begin", lambda model, manifest: None)

    def planted(found: Converted) -> None:
        async def run_conversion(*_: object) -> Converted:
            return found

        monkeypatch.setattr(push_verb, "run_conversion", run_conversion)

    return planted


def pushed(state: State, directory: Path, model: str = "m", **options: Any) -> push_verb.Pushed:
    """Pushes what is planted."""
    import asyncio

    for name in ("raw", "sample"):
        (directory / name).write_bytes(name.encode())
    options = {"actor": "ada", "tags": {}, **options}
    return asyncio.run(push_verb.push(state, model, "onnx", directory / "raw", directory / "sample", **options))
