"""A large model is read in place, held once, and refused with the setting to raise if its memory ends."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from contract.errors import BadInput, Code, WorldError
from contract.model_size import refuse_large
from contract.protocol import MAX_MODEL_BYTES
from controller.convert import child, convert, runs
from controller.convert import request as files
from controller.convert.convert import ConversionLimits
from controller.convert.memory import MAX_MEMORY_MB, PER_MODEL, is_memory_fault, memory_for, memory_words
from controller.convert.model_file import scan_model
from controller.convert.request import Request
from controller.convert.under_way import STEP_FILE
from controller.health import FREE_BYTES_WANTED
from controller.registry import atomic_file
from controller.registry.blobs import BlobStore
from edgeward.encode import encode_rows
from tests.controller.conversions import convert_bytes, form_of

ROWS = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
SIDE = 1024


def network(layers: int) -> bytes:
    """A network of 4 MB for each layer."""
    values = np.random.default_rng(0).normal(0, SIDE**-0.5, (SIDE, SIDE)).astype(np.float32)
    weights = [helper.make_tensor("w", TensorProto.FLOAT, (16, SIDE), values[:16].tobytes(), raw=True)]
    nodes = [helper.make_node("MatMul", ["X", "w"], ["h0"])]
    for number in range(layers):
        name = f"w{number}"
        weights.append(helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.tobytes(), raw=True))
        nodes.append(helper.make_node("MatMul", [f"h{number}", name], [f"h{number + 1}"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("X", 16), (f"h{layers}", SIDE))
    ]
    graph = helper.make_graph(nodes, "model", ends[:1], ends[1:], weights)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    )


def test_a_pushed_file_is_opened_once_and_neither_copied_nor_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, scratch, opened = tmp_path / "m.onnx", tmp_path / "scratch", list[Any]()
    model.write_bytes(network(1))
    scratch.mkdir()
    (scratch / files.SAMPLE).write_bytes(encode_rows(ROWS))
    real = runs.ort.InferenceSession
    monkeypatch.setattr(
        runs.ort, "InferenceSession", lambda what, *a, **k: (opened.append(what), real(what, *a, **k))[1]
    )
    monkeypatch.setattr("onnx.load_from_string", None)
    answer = child._convert(Request(kind="onnx", model=str(model)), scratch)
    assert (answer.as_pushed, answer.form.ir, answer.form.opset) == (True, 8, 18)
    assert opened == [model]
    assert sorted(path.name for path in scratch.iterdir()) == [files.GOLDEN, files.SAMPLE, STEP_FILE]


def test_the_memory_of_a_conversion_grows_with_the_model_up_to_a_maximum() -> None:
    assert memory_for(2**20, 4096) == 4096
    assert memory_for(2**30, 4096) == PER_MODEL * 1024
    assert memory_for(2**33, 4096) == MAX_MEMORY_MB
    assert memory_for(2**33, 10 * MAX_MEMORY_MB) == 10 * MAX_MEMORY_MB


def test_a_conversion_out_of_memory_names_the_setting_to_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in the real child: the scan has passed, so the out-of-memory error is raised by onnxruntime."""
    monkeypatch.setattr(convert, "memory_for", lambda _, memory_mb: memory_mb)
    with pytest.raises(BadInput) as caught:
        asyncio.run(convert_bytes("onnx", network(16), encode_rows(ROWS), ConversionLimits(timeout_s=60, memory_mb=48)))
    assert caught.value.code == Code.CONVERSION_LIMIT
    assert "ran out of its memory, 48 MiB" in caught.value.detail
    assert "convert.memory_mb to 96" in caught.value.detail


def test_errors_of_protobuf_are_not_confused_with_those_of_a_limit(tmp_path: Path) -> None:
    """The bytes of the file fit into memory, but the objects of protobuf do not."""
    (tmp_path / "m.onnx").write_bytes(network(16))
    code = f"""
import resource
from pathlib import Path
from confinement.bounds import Bounds, apply_bounds
from controller.convert.model_file import parse_model
apply_bounds(Bounds(90, None))
try:
    parse_model(Path({str(tmp_path / "m.onnx")!r}))
except MemoryError:
    print("memory")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "memory\n", done.stderr[-500:]


def test_a_conversion_does_not_write_into_the_disk_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / files.SAMPLE).write_bytes(b"x" * 2**20)
    for free_mb, allowed_mb in ((100_000, 4098), (FREE_BYTES_WANTED // 2**20 + 7, 9), (1, 2)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free_mb=free_mb: SimpleNamespace(free=free_mb * 2**20))
        assert convert._allowed_mb(tmp_path, 4096) == allowed_mb


def test_out_of_memory_errors_of_different_libraries_are_recognised() -> None:
    assert is_memory_fault(MemoryError())
    assert is_memory_fault(OSError(12, "Cannot allocate memory"))
    assert is_memory_fault("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc")
    assert not is_memory_fault(ValueError("no such column: memory_mb"))
    assert "3.0 MiB" in memory_words(3 * 2**20, 64)


def test_a_model_above_the_limit_is_refused_with_the_limit_and_what_to_do(tmp_path: Path) -> None:
    refuse_large(MAX_MODEL_BYTES, "m.onnx")
    with pytest.raises(BadInput, match=r"m\.onnx has 2\.50 GiB, a model may have 1 .* fp16 or int8") as caught:
        refuse_large(5 * 2**29, "m.onnx")
    assert caught.value.code == Code.MESSAGE_TOO_LARGE


def test_a_file_becomes_a_blob_without_a_copy_and_is_copied_to_another_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, file = BlobStore(tmp_path / "blobs"), tmp_path / "file"
    file.write_bytes(b"model")
    for digest, linked in (("a" * 64, True), ("b" * 64, False)):
        if not linked:
            monkeypatch.setattr(atomic_file.os, "link", _refuse)
        blobs.take(file, digest)
        assert blobs.path(digest).samefile(file) is linked
        assert blobs.path(digest).read_bytes() == b"model"
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(WorldError):
        blobs.take(file, "c" * 64)
    assert not list((tmp_path / "blobs" / "cc").iterdir())


def _refuse(*_: object, **__: object) -> None:
    raise OSError(18, "Invalid cross-device link")


def test_a_blob_is_verified_before_it_is_opened(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    digest = blobs.put(b"model")
    with blobs.opened(digest) as file:
        assert file.read() == b"model"
    blobs.path(digest).write_bytes(b"mOdel")
    for damage, words in ((lambda: None, "damaged"), (blobs.path(digest).unlink, "missing")):
        damage()
        with pytest.raises(BadInput, match=words), blobs.opened(digest):
            pass


def test_a_scan_reads_the_format_and_all_operators(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(network(1))
    scan = scan_model(tmp_path / "m.onnx")
    assert (scan.ir, scan.opsets, scan.operators) == (8, {"": 18}, {"MatMul"})
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(BadInput):
        scan_model(tmp_path / "m.onnx")


def test_a_large_file_answers_like_the_same_model_with_embedded_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = network(2)
    packed = runs.open_session(raw).run(None, {"X": ROWS})[0]
    monkeypatch.setattr(runs, "LARGE_BYTES", 1)
    np.testing.assert_allclose(runs.open_session(raw).run(None, {"X": ROWS})[0], packed, rtol=1e-4, atol=1e-5)


@pytest.mark.soak
def test_a_model_of_a_quarter_gigabyte_converts_within_the_default_limit() -> None:
    raw = network(64)
    made = asyncio.run(convert_bytes("onnx", raw, encode_rows(ROWS), ConversionLimits(timeout_s=300, memory_mb=1024)))
    assert form_of(made)[0] == raw
