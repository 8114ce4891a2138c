"""ONNX files from public Python packages are pushed, tried and served, with the same answers as onnxruntime.

Inputs of rank 0 to 4, a recurrent state, three outputs, whole numbers. The packages are fetched from the package
index; without it these tests are skipped.
"""

import json
import subprocess
import sys
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from agent import Predictor
from contract.errors import BadInput, Code
from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.client import Client
from edgeward.demo.processes import Site, wait_for
from edgeward.recurrent import RecurrentState

pytestmark = [pytest.mark.soak, pytest.mark.broker, pytest.mark.timeout(400)]
RNG = np.random.default_rng(7)
SOUND = np.sin(np.arange(8 * 512, dtype=np.float32) / 9).reshape(8, 1, 512)


@dataclass(frozen=True)
class Real:
    """A model in a package, and a sample whose first axis counts rows or, with one axis more, runs."""

    package: str
    file: str
    sample: dict[str, Any]
    runs: bool = False

    def fetched(self, directory: Path) -> bytes:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(directory), self.package]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if found.returncode:
            pytest.skip(f"{self.package} cannot be fetched: {found.stderr.strip().splitlines()[-1][:120]}")
        wheel = next(directory.glob(f"{self.package.partition('=')[0].replace('-', '_')}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(self.file)

    def one(self, row: int) -> dict[str, Any]:
        """The inputs of one run."""
        if self.runs:
            return {name: np.asarray(array[row] if array.ndim else array) for name, array in self.sample.items()}
        return {name: array[row : row + 1] for name, array in self.sample.items()}


def network(weights: Any) -> bytes:
    """A model with the output tanh(x W) and a second output."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["embedding"]),
        helper.make_node("Neg", ["a"], ["beside"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 5]) for name in ("embedding", "beside")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return bytes(model.SerializeToString())


REAL = {
    "speech": Real(  # three inputs, a state of rank 3, a rate of rank 0
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad.onnx",
        {
            "state": RNG.normal(size=(8, 2, 1, 128)).astype(np.float32),
            "sr": np.array(16_000),
            "input": SOUND,
        },
        runs=True,
    ),
    "words": Real(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        {"x": RNG.normal(size=(4, 3, 64, 96)).astype(np.float32)},
    ),
    "notes": Real(
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        {"serving_default_input_2:0": RNG.normal(size=(2, 43_844, 1)).astype(np.float32)},
    ),
    "files": Real(
        "magika==1.0.3",
        "magika/models/standard_v3_3/model.onnx",
        {"bytes": RNG.integers(0, 257, size=(6, 2048)).astype(np.int64)},
    ),
}


PARTS = RNG.normal(size=(80, 8)).astype(np.float32)
NETWORK = network(RNG.normal(size=(8, 5)).astype(np.float32))
FEATURES = onnxruntime.InferenceSession(NETWORK).run(None, {"x": PARTS})[0]
CLASSIFIER = LogisticRegression().fit(FEATURES, np.where(FEATURES[:, 0] > 0, "good", "scrap"))
"""Two models in a row that one version holds."""


MICROPHONE = """\
[[sensor]]
kind = "sound"
model = "vad"
path = "{directory}/sounds"
rate_hz = 16000
clip_s = 0.032
input = "input"
rate_input = "sr"
look_s = 0.1
[sensor.sink]
kind = "file"
path = "{directory}/heard.jsonl"
"""


class Bare:
    """onnxruntime alone."""

    def __init__(self, raw: bytes) -> None:
        self.session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.types = {entry.name: entry.type for entry in self.session.get_inputs()}

    def __call__(self, inputs: dict[str, Any]) -> list[Any]:
        kinds = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
        typed = {name: np.asarray(array, kinds[self.types[name]]) for name, array in inputs.items()}
        return list(self.session.run(self.names, typed))


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("wheels")
    return {name: real.fetched(directory) for name, real in REAL.items()}


@pytest.fixture(scope="module")
def site(raws: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client, int]]:
    """A controller and a device that serves all of them."""
    directory, port = tmp_path_factory.mktemp("site"), free_port()
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), directory / "broker")
    (directory / "sounds").mkdir()
    listen, microphone = f'[serving]\nlisten = "127.0.0.1:{port}"\n', MICROPHONE.format(directory=directory)
    site = Site(directory, broker=broker.url, agent_tables=listen, rows_of=lambda _: microphone)
    try:
        client = site.start_controller()
        site.start_agent(1)
        wait_for("the device", lambda: client.devices() or None)
        for name, real in REAL.items():
            client.push(raws[name], name=name, sample=real.sample, waive_rows="pictures and sounds")
            client.rollout(name, strategy="all_at_once")
        speech, state = REAL["speech"], RecurrentState({"state": "stateN"}, reset_after_s=600.0)
        client.push(raws["speech"], name="vad", sample=speech.sample, state=state, waive_rows="sounds")
        client.rollout("vad", strategy="all_at_once")
        client.push([NETWORK, CLASSIFIER], name="parts", sample=PARTS, feeds={"X": "embedding"})
        client.rollout("parts", strategy="all_at_once")
        yield site, client, port
    finally:
        site.stop()
        broker.stop()


def asked(client: triton.InferenceServerClient, name: str, inputs: dict[str, Any]) -> Any:
    given = []
    for tensor in client.get_model_metadata(name)["inputs"]:
        kind = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}[tensor["datatype"]]
        array = np.asarray(inputs[tensor["name"]], kind)
        made = triton.InferInput(tensor["name"], list(array.shape), tensor["datatype"])
        given.append(made.set_data_from_numpy(array))
    return client.infer(name, list(reversed(given)))  # in another order than the model's: names count


def test_models_from_public_packages_are_served_with_the_answers_of_onnxruntime(
    site: tuple[Site, Client, int], raws: dict[str, bytes]
) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{site[2]}", network_timeout=60)
    for name, real in REAL.items():
        bare = Bare(raws[name])
        wait_for(name, lambda name=name: client.is_model_ready(name) or None)
        for row in range(2):
            inputs = real.one(row)
            found = asked(client, name, inputs)
            for output, want in zip(bare.names, bare(inputs), strict=True):
                np.testing.assert_allclose(found.as_numpy(output), want, rtol=1e-4, atol=1e-5, err_msg=name)
    client.close()


def test_two_models_in_a_row_give_the_same_answers_on_a_device_as_in_python(site: tuple[Site, Client, int]) -> None:
    _, controller, port = site
    client = triton.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=60)
    wait_for("parts", lambda: client.is_model_ready("parts") or None)
    found = asked(client, "parts", {"x": PARTS})
    assert found.as_numpy("label").astype(str).tolist() == CLASSIFIER.predict(FEATURES).tolist()
    np.testing.assert_allclose(found.as_numpy("probabilities"), CLASSIFIER.predict_proba(FEATURES), atol=1e-5)
    client.close()
    version = controller.version("parts", 1)
    assert version.estimator == "ONNX, then LogisticRegression"
    assert [stage["feeds"] for stage in version.manifest["stages"]] == [[], [["X", "embedding"]]]
    assert "0 of 80 sample rows" in next(gate.detail for gate in version.gates if gate.gate == "parity")


def test_a_state_passed_by_the_client_gives_the_answers_of_one_long_recording(
    site: tuple[Site, Client, int], raws: dict[str, bytes]
) -> None:
    client, bare = triton.InferenceServerClient(f"127.0.0.1:{site[2]}"), Bare(raws["speech"])
    wait_for("speech", lambda: client.is_model_ready("speech") or None)
    ours = theirs = np.zeros((2, 1, 128), np.float32)
    for part in SOUND:
        found = asked(client, "speech", {"input": part, "state": ours, "sr": 16_000})
        want, theirs = bare({"input": part, "state": theirs, "sr": 16_000})
        ours = found.as_numpy("stateN")
        np.testing.assert_allclose(found.as_numpy("output"), want, atol=1e-5)
    client.close()


def chained(raw: bytes, sound: Any) -> list[float]:
    """Returns the answers of speech detection in Python for clips of one sound, shape (clips, 512)."""
    bare, state, found = Bare(raw), np.zeros((2, 1, 128), np.float32), []
    for part in sound:
        answer, state = bare({"input": part[None], "state": state, "sr": 16_000})
        found.append(float(answer.item()))
    return found


def test_a_state_kept_by_the_device_gives_the_answers_of_one_long_recording(
    site: tuple[Site, Client, int], raws: dict[str, bytes]
) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{site[2]}", network_timeout=60)
    wait_for("vad", lambda: client.is_model_ready("vad") or None)
    assert [each["name"] for each in client.get_model_metadata("vad")["inputs"]] == ["input", "sr"]
    assert [each["name"] for each in client.get_model_metadata("vad")["outputs"]] == ["output"]
    found = []
    for number, part in enumerate(SOUND):
        sound = triton.InferInput("input", [1, 512], "FP32").set_data_from_numpy(part)
        rate = triton.InferInput("sr", [], "INT64").set_data_from_numpy(np.array(16_000))
        told = client.infer("vad", [sound, rate], sequence_id=7, sequence_start=not number)
        found.append(float(told.as_numpy("output").item()))
    client.close()
    np.testing.assert_allclose(found, chained(raws["speech"], SOUND[:, 0]), atol=1e-5)
    state = site[1].version("vad", 1).manifest["state"]
    assert state["tensors"][0]["shape"] == [2, 1, 128]


def test_a_sound_sensor_runs_speech_detection_as_python_does(
    site: tuple[Site, Client, int], raws: dict[str, bytes]
) -> None:
    directory = site[0].directory
    client = triton.InferenceServerClient(f"127.0.0.1:{site[2]}", network_timeout=60)
    wait_for("vad", lambda: client.is_model_ready("vad") or None)
    client.close()
    samples = (SOUND.reshape(-1) * 20_000).astype("<i2")
    for name in ("hall.wav", "door.wav"):
        with wave.open(str(directory / name), "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(samples.tobytes())
        (directory / name).rename(directory / "sounds" / name)
    heard = directory / "heard.jsonl"
    lines = wait_for("16 clips", lambda: heard.exists() and len(found := heard.read_text().splitlines()) > 15 and found)
    want = chained(raws["speech"], (samples / np.float32(32768)).reshape(8, 512).astype(np.float32))
    for name in ("hall.wav", "door.wav"):
        told = [each for each in map(json.loads, lines) if each["file"] == name]
        assert [each["offset_s"] for each in told] == [number * 0.032 for number in range(8)]
        np.testing.assert_allclose([each["value"] for each in told], want, atol=1e-5)


def test_models_from_public_packages_answer_in_an_application(
    site: tuple[Site, Client, int], raws: dict[str, bytes]
) -> None:
    found, _, port = site
    ready = triton.InferenceServerClient(f"127.0.0.1:{port}")
    for name in REAL:
        wait_for(name, lambda name=name: ready.is_model_ready(name) or None)
    ready.close()
    found.agents["device-1"].stop()
    with Predictor(found.directory / "device-1" / "agent.toml") as predictor:
        for name, real in REAL.items():
            bare, model = Bare(raws[name]), predictor.model(name)
            model.wait(60)
            inputs = real.one(1)
            kinds = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
            typed = {key: np.asarray(array, kinds[bare.types[key]]) for key, array in inputs.items()}
            for got, want in zip(model.run(typed), bare(inputs), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=name)
            assert model.predict({key: array.tolist() for key, array in inputs.items()}).release == 1


def test_a_sample_with_other_names_than_the_model_is_refused_with_both_lists(
    site: tuple[Site, Client, int], raws: dict[str, bytes]
) -> None:
    sample = {"sound": SOUND, "state": REAL["speech"].sample["state"], "sr": np.array(16_000)}
    with pytest.raises(BadInput) as caught:
        site[1].push(raws["speech"], name="speech", sample=sample, waive_rows="sounds")
    assert caught.value.code == Code.SAMPLE_INVALID
    assert "takes input, state, sr; the sample has sound, state, sr" in caught.value.detail
