"""Attack table: malicious ONNX. The scan refuses it before any parser runs, and the confined child cannot use it."""

import contextlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from confinement.process import FULL, confinable
from contract.errors import BadInput, Code
from contract.onnx_scan import MAX_NESTING, MAX_NODES, scan_onnx
from firmware_sim.real_models import onnx_bytes

HONEST = onnx_bytes(1, "good")
X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)


def saved(graph: onnx.GraphProto, *opsets: onnx.OperatorSetIdProto, **parts: object) -> bytes:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=9, **parts)
    return made.SerializeToString()


def external(location: str) -> bytes:
    tensor = TensorProto(name="W", data_type=TensorProto.UINT8, dims=[32], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "32")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    gives = helper.make_tensor_value_info("y", TensorProto.UINT8, None)
    return saved(helper.make_graph([helper.make_node("Identity", ["W"], ["y"])], "g", [], [gives], [tensor]))


def nested(depth: int) -> bytes:
    def constant(name: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(True)))

    gives = helper.make_tensor_value_info("o", TensorProto.BOOL, None)
    graph = helper.make_graph([constant("o")], "leaf", [], [gives])
    for _ in range(depth):
        inner = helper.make_node("If", ["c"], ["o"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([constant("c"), inner], "g", [], [gives])
    return saved(graph)


def deep_bytes(levels: int) -> bytes:
    """Raw protobuf, nested deeper than any parser's stack."""

    def number(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    def inside(field: int, body: bytes) -> bytes:
        return number(field << 3 | 2) + number(len(body)) + body

    graph = b""
    for _ in range(levels):
        graph = inside(1, inside(4, b"If") + inside(5, inside(1, b"t") + b"\xa0\x01\x05" + inside(6, graph)))
    return b"\x08\x09" + inside(7, graph) + inside(8, b"\x10\x11")


def relus(count: int) -> bytes:
    names = ["x", *(f"r{number}" for number in range(count - 1)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    return saved(helper.make_graph(nodes, "g", [X], [Y]))


def foreign() -> bytes:
    node = helper.make_node("Evil", ["x"], ["y"], domain="evil.ops")
    return saved(helper.make_graph([node], "g", [X], [Y]), helper.make_opsetid("evil.ops", 1))


def functions() -> bytes:
    body = [helper.make_node("Identity", ["a"], ["b"])]
    function = helper.make_function("", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    return saved(helper.make_graph([helper.make_node("F", ["x"], ["y"])], "g", [X], [Y]), functions=[function])


def wide() -> bytes:
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[2**40, 2**20])
    return saved(helper.make_graph([helper.make_node("Add", ["x", "W"], ["y"])], "g", [X], [Y], [tensor]))


HOSTILE = {
    "external data beside it": (external("side.bin"), "external"),
    "external data up the tree": (external("../secret.bin"), "external"),
    "external data anywhere": (external("/etc/shadow"), "external"),
    "memory addresses": (external("*/_ORT_MEM_ADDR_/*"), "external"),
    "foreign operators": (foreign(), "evil.ops"),
    "local functions": (functions(), "functions"),
    "too many nodes": (relus(MAX_NODES + 1), "nodes"),
    "nested graphs": (nested(MAX_NESTING), "nested"),
    "nested five thousand deep": (deep_bytes(5_000), "nested"),
    "impossible shapes": (wide(), "shape"),
    "a length that lies": (b"\x08\x09\x3a\xff\xff\xff\xff\x0f" + b"A" * 100, "longer"),
    "truncated": (HONEST[:-20], ""),
    "empty": (b"", "no ONNX"),
    "random": (bytes(np.random.default_rng(1).integers(0, 256, 10_000, dtype=np.uint8)), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_malicious_onnx_is_refused_before_it_is_parsed(name: str) -> None:
    raw, said = HOSTILE[name]
    with pytest.raises(BadInput) as caught:
        scan_onnx(raw)
    assert caught.value.code == Code.MODEL_REFUSED
    assert said in caught.value.detail


def test_valid_models_pass_the_scan() -> None:
    scan = scan_onnx(HONEST)
    assert (scan.nodes, scan.opsets) == (2, {"": 18})
    assert scan_onnx(relus(1_000)).nodes == 1_000
    assert scan_onnx(nested(MAX_NESTING - 1)).nodes > MAX_NESTING


@given(st.data())
def test_no_changed_model_crashes_the_scan(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([HONEST, external("x"), foreign(), nested(3)])))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadInput):  # anything else is a crash
        scan_onnx(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


ESCAPES = {
    "read a secret": "open('/etc/passwd').read(1)",
    "read the device's own state": "open(sys.argv[1] + '/secret').read(1)",
    "write beside the model": "open(sys.argv[1] + '/w', 'w').write('x')",
    "write to /tmp": "open('/tmp/edgeward-escape', 'w').write('x')",
    "delete the model": "os.unlink(sys.argv[1] + '/model')",
    "open a socket": "socket.socket()",
    "run a program": "subprocess.run(['/bin/true'], check=True)",
    "fork": "os.fork()",
    "kill its parent": "os.kill(os.getppid(), 9)",
    "change the mode of the model": "os.chmod(sys.argv[1] + '/model', 0o777)",
    "limit its parent": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)",
    "raise its own limits": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "slow its parent down": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)",
    "pin its parent": "os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0))",
    "share memory by a key": "assert ctypes.CDLL(None).shmget(77, 4096, 0o1666) != -1",
    "trace its parent": "assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) != -1",
    "read its parent's environment": "open(f'/proc/{os.getppid()}/environ').read(1)",
}
CHILD = """
import ctypes, json, os, resource, socket, subprocess, sys
from pathlib import Path
import onnxruntime
from confinement.bounds import Bounds
from confinement.process import confine
from confinement.surroundings import library_paths
model = Path(sys.argv[1]) / "model"
found = {"sandbox": confine(Bounds(memory_mb=256, cpu_s=20), [model, *library_paths()])}
for name, escape in json.loads(sys.argv[2]).items():
    try:
        exec(escape)
        found[name] = "ESCAPED"
    except Exception as error:
        found[name] = "denied"
found["read the model"] = len(model.read_bytes())
session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
found["threads still work"] = len(session.get_outputs())
print(json.dumps(found))
"""


@pytest.mark.skipif(confinable() != FULL, reason=f"this kernel confines less: {confinable()}")
def test_a_confined_child_can_read_its_model_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(HONEST)
    (tmp_path / "secret").write_text("k")
    command = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(ESCAPES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    assert found == {
        "sandbox": FULL,
        **dict.fromkeys(ESCAPES, "denied"),
        "read the model": len(HONEST),
        "threads still work": 1,
    }
