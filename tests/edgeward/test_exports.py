"""Versions as folders: each is read back by the tool that it is for, and pushed again as the same model.

The tools are heavy and live in their own environment: `make export-tools` makes it, and without it those tests
are skipped. Skopeo is a package of the system.
"""

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract.errors import BadInput, Code, WorldError
from contract.manifest import Stage, StateRules, StateTensor, Tensor
from contract.recurrent import StateAsked, state_of
from contract.samples import decode_sample
from contract.tensors import decode_tensors, encode_tensors
from controller.config import Config, StorageConfig
from controller.registry.version import Told
from controller.state import open_state
from edgeward.answers.models import VersionDetail
from edgeward.cli.main import cli
from edgeward.client import Client
from edgeward.encode import encode_model_and_rows
from edgeward.exports.bom import bom
from edgeward.exports.card import metadata
from edgeward.exports.exported import Exported, collect
from edgeward.exports.folders import WRITERS, read_folder, told_in, write_folder
from edgeward.exports.signing import read_key
from edgeward.recurrent import RecurrentState
from tests.controller.registry_worlds import plant, pushed, threshold_model
from tests.controller.test_api import call

__all__ = ["plant"]
ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv" / "tools" / "bin"
needs_tools = pytest.mark.skipif(
    not TOOLS.exists(), reason="no MLflow, Hugging Face and OpenSSF here: make export-tools"
)
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH: apt install skopeo")


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    from controller.verbs import push as push_verb

    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))

    async def run_conversion(*_: object, **__: object) -> Any:
        return threshold_model((1.0, 1.0, 1.0))

    monkeypatch.setattr(push_verb, "run_conversion", run_conversion)
    monkeypatch.setattr(state.deliveries, "begin", lambda model, manifest: None)
    told = Told(metrics={"accuracy": 0.93}, licence="Apache-2.0", params={"depth": "3 | 4"})
    pushed(state, tmp_path, told=told, tags={"site": "oslo"})
    call(state, "PUT", "/v1/models/m/versions/1/note", json={"text": "for the *winter*"})
    version = VersionDetail.read(call(state, "GET", "/v1/models/m/versions/1")[1])
    found = collect(version, state.blobs.get)
    state.close()
    return found


def told_by(script: str, *arguments: Path) -> Any:
    """Returns the JSON output of a script in the environment of the tools."""
    done = subprocess.run(
        [TOOLS / "python", "-W", "ignore", "-c", script, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(exported: Exported) -> tuple[Any, list[int]]:
    from contract.golden import split_golden
    from contract.tensors import decode_tensors

    inputs, outputs = split_golden(decode_tensors(exported.files["golden.npz"]), exported.manifest)
    return inputs["X"], outputs[0].tolist()


@needs_tools
def test_mlflow_loads_and_scores_an_export(exported: Exported, tmp_path: Path) -> None:
    write_folder(exported, tmp_path / "out", "mlflow")
    script = """
import sys, json, numpy, mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = numpy.load(sys.argv[1] + "/golden.npz")["in/X"]
found = model.predict({"X": rows})
inputs = model.metadata.get_input_schema().input_names()
answers = [int(each) for each in found["label"]]
print(json.dumps({"answers": answers, "inputs": inputs, "metadata": model.metadata.metadata}))
"""
    found = told_by(script, tmp_path / "out")
    assert found["answers"] == rows_of(exported)[1]
    assert found["inputs"] == ["X"]
    assert found["metadata"]["edgeward_semver"] == "1.0.0"


@needs_tools
def test_hugging_face_reads_the_card_of_an_export(exported: Exported, tmp_path: Path) -> None:
    write_folder(exported, tmp_path / "out", "huggingface")
    script = """
import sys, json
from huggingface_hub import ModelCard
card = ModelCard.load(sys.argv[1] + "/README.md")
result = card.data.eval_results[0]
print(json.dumps({"license": card.data.license, "library": card.data.library_name, "task": card.data.pipeline_tag,
                  "tags": card.data.tags, "metric": [result.metric_type, result.metric_value], "text": card.text}))
"""
    found = told_by(script, tmp_path / "out")
    assert (found["license"], found["library"], found["task"]) == ("apache-2.0", "onnx", "tabular-classification")
    assert found["metric"] == ["accuracy", 0.93]
    assert "site:oslo" in found["tags"]
    for words in ("for the *winter*", "| depth=3 \\| 4 |", "| training data | unknown |"):
        assert words in found["text"]


@needs_skopeo
def test_skopeo_copies_an_export_and_finds_every_layer(exported: Exported, tmp_path: Path) -> None:
    write_folder(exported, tmp_path / "out", "oci")
    done = subprocess.run(
        ["skopeo", "copy", "--insecure-policy", f"oci:{tmp_path / 'out'}:1.0.0", f"oci:{tmp_path / 'copy'}:1.0.0"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{tmp_path / 'copy'}:1.0.0"], capture_output=True, text=True, timeout=60
    )
    layers = json.loads(raw.stdout)["layers"]
    titles = [each["annotations"]["org.opencontainers.image.title"] for each in layers]
    assert titles == ["model.onnx", "golden.npz", "edgeward.json"]
    assert read_folder(tmp_path / "copy").model == exported.files["model.onnx"]


@needs_tools
@pytest.mark.parametrize("form", WRITERS)
def test_the_openssf_tool_verifies_a_signed_export_and_refuses_a_changed_one(
    exported: Exported, tmp_path: Path, form: Any
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(tmp_path / "key.pem", key)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    write_folder(exported, tmp_path / "out", form, tmp_path / "key.pem")

    def verified() -> bool:
        command = [TOOLS / "model_signing", "verify", "key", tmp_path / "out", "--signature",
                   tmp_path / "out" / "model.sig", "--public_key", tmp_path / "public.pem"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode == 0

    assert verified()
    with next(path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "model.sig").open(
        "ab"
    ) as file:
        file.write(b"x")
    assert not verified()


def _write_key(path: Path, key: Any) -> None:
    none = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none))


@pytest.mark.parametrize("form", WRITERS)
def test_an_exported_folder_is_pushed_as_the_same_bytes_with_its_own_rows(
    exported: Exported, tmp_path: Path, form: Any
) -> None:
    written = write_folder(exported, tmp_path / "out", form)
    assert written == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    kind, model, sample = encode_model_and_rows(tmp_path / "out", None)
    assert (kind, model) == ("onnx", exported.files["model.onnx"])
    assert np.array_equal(decode_sample(sample), rows_of(exported)[0])
    with pytest.raises(BadInput, match="is not empty"):
        write_folder(exported, tmp_path / "out", form)


@pytest.mark.parametrize("form", WRITERS)
def test_an_imported_folder_has_licence_metrics_parameters_and_tags(
    exported: Exported, tmp_path: Path, form: Any
) -> None:
    write_folder(exported, tmp_path / "out", form)
    told = told_in(tmp_path / "out")
    assert (told["licence"], told["metrics"], told["tags"]) == ("Apache-2.0", {"accuracy": 0.93}, {"site": "oslo"})
    assert told["params"] == {"depth": "3 | 4"}
    sent: dict[str, Any] = {}
    client = Client("http://127.0.0.1:1", "t")
    client._transport.push = lambda path, request, parts, _: sent.update(request) or _pushed(exported)  # type: ignore[method-assign]
    client.push(tmp_path / "out", name="m", licence="MIT", tags={"room": "7"}, waive_rows="golden rows")
    assert (sent["told"]["licence"], sent["told"]["metrics"]) == ("MIT", {"accuracy": 0.93})
    assert sent["tags"] == {"site": "oslo", "room": "7"}
    assert told_in(tmp_path) == {}


@pytest.mark.parametrize("form", WRITERS)
def test_a_folder_that_comes_back_keeps_the_state_of_streams_and_the_two_models_it_was_made_of(
    exported: Exported, tmp_path: Path, form: Any
) -> None:
    begins = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    state = StateTensor(input="h_in", output="h_out", datatype="FP32", shape=(1, 2, 3), begins=begins.tobytes())
    rules = StateRules(tensors=(state,), reset_after_s=Decimal(30), max_keys=7)
    stages = (Stage(name="a.onnx", sha256="1" * 64), Stage(name="b.onnx", sha256="2" * 64, feeds=(("X", "y"),)))
    manifest = msgspec.structs.replace(exported.manifest, state=rules, stages=stages, columns=())
    arrays = decode_tensors(exported.files["golden.npz"])
    rows = len(arrays["in/X"])
    arrays |= {"in/h_in": np.ones((rows, 2, 3), np.float32), "out/h_out": np.ones((rows, 2, 3), np.float32)}
    version = VersionDetail.read({**exported.version.plain, "manifest": msgspec.to_builtins(manifest)})
    files = {**exported.files, "golden.npz": encode_tensors(arrays)}
    write_folder(Exported(version, manifest, files), tmp_path / "out", form)

    sent: dict[str, Any] = {}
    client = Client("http://127.0.0.1:1", "t")
    client._transport.push = lambda path, request, parts, _: sent.update(request | parts) or _pushed(exported)  # type: ignore[method-assign]
    client.push(tmp_path / "out", name="m", waive_rows="golden rows")
    asked = msgspec.convert(sent["recurrent"], StateAsked)
    hidden = [Tensor(name=name, datatype="FP32", shape=(1, 2, 3)) for name in ("h_in", "h_out")]
    kept, _, _ = state_of(asked, (*manifest.inputs, hidden[0]), (*manifest.outputs, hidden[1]))
    assert kept == rules
    assert msgspec.convert(sent["told"], Told).stages == stages
    assert decode_sample(sent["sample"])["h_in"].shape == (rows, 2, 3)
    client.push(tmp_path / "out", name="m", waive_rows="x", state=RecurrentState({"h_in": "h_out"}, max_keys=1))
    assert (sent["recurrent"]["max_keys"], sent["recurrent"]["arrays"]) == (1, "")


def _pushed(exported: Exported) -> dict[str, Any]:
    return {**exported.version.plain, "new": True}


def test_devices_get_no_openssf_signature_and_the_card_says_so(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("a key")
    words = ["model", "export", "m", "--out", str(tmp_path / "out"), "--sign-with", str(tmp_path / "key.pem")]
    said = CliRunner().invoke(cli, words, env={"EDGEWARD_URL": "http://127.0.0.1:1", "EDGEWARD_TOKEN": "t"})
    assert "devices check the release signer's word" in str(said.exception)


def test_an_mlflow_folder_with_a_pickle_is_refused_and_one_with_skops_is_accepted(tmp_path: Path) -> None:
    flavour = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavour, "python_function": {}}}))
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="a pickle is not taken"):
        read_folder(tmp_path)
    flavour = {"pickled_model": "model.skops", "serialization_format": "skops"}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"sklearn": flavour}}))
    (tmp_path / "model.skops").write_bytes(b"PK")
    assert (read_folder(tmp_path).kind, read_folder(tmp_path).model) == ("skops", b"PK")
    with pytest.raises(BadInput) as refused:
        encode_model_and_rows(tmp_path, None)
    assert refused.value.code == Code.SAMPLE_MISSING


@pytest.mark.parametrize(
    ("flavour", "told", "remedy"),
    [
        ("catboost", {"data": "model.cb"}, "mlflow.catboost.load_model"),
        ("pytorch", {"model_data": "data"}, "mlflow.pytorch.load_model where you trust it"),
        ("keras", {"data": "data"}, "mlflow.keras.load_model where you trust it"),
        ("tensorflow", {"data": "data"}, "tf2onnx"),
        ("xgboost", {"data": "model.pkl"}, "model_format="),
        ("lightgbm", {"data": "model.pkl"}, "log its booster_"),
        ("spacy", {"data": "model.spacy"}, "mlflow.onnx"),
    ],
)
def test_other_flavours_of_mlflow_are_refused_by_name_with_what_to_do(
    tmp_path: Path, flavour: str, told: dict[str, str], remedy: str
) -> None:
    document = {"flavors": {"python_function": {"loader_module": f"mlflow.{flavour}"}, flavour: told}}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(document))
    with pytest.raises(BadInput, match=flavour) as refused:
        read_folder(tmp_path)
    assert remedy in refused.value.detail.partition("Remedy: ")[2]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "expected an MLflow model"),
        ({"MLmodel": b"{"}, "MLmodel cannot be read"),
        ({"MLmodel": b"flavors:\n  onnx:\n    data: ../../etc/passwd\n"}, "has no ../../etc/passwd"),
        ({"oci-layout": b"{}", "index.json": b"[]"}, "no OCI image layout"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests": []}'}, "names 0 manifests"),
        ({"model.onnx": b"x", "golden.npz": b"x", "edgeward.json": b'{"manifest": 1}'}, "edgeward.json"),
    ],
)
def test_a_folder_that_is_not_an_export_is_refused_in_words(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=words.replace(".", r"\.")) as refused:
        read_folder(tmp_path)
    assert refused.value.code == Code.REQUEST_INVALID


def test_a_damaged_layer_of_a_layout_is_noticed(exported: Exported, tmp_path: Path) -> None:
    write_folder(exported, tmp_path / "out", "oci")
    largest = max((tmp_path / "out" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"x" + largest.read_bytes()[1:])
    with pytest.raises(BadInput) as refused:
        read_folder(tmp_path / "out")
    assert refused.value.code == Code.DIGEST_MISMATCH
    with pytest.raises(WorldError):
        collect(exported.version, lambda digest: b"damaged")


def test_a_key_that_openssf_does_not_support_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    _write_key(tmp_path / "key.pem", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(BadInput, match="openssl ecparam"):
        read_key(tmp_path / "key.pem")


def test_a_card_names_missing_information(exported: Exported) -> None:
    from msgspec.structs import replace

    bare = replace(exported.version, licence="", metrics={}, tags={})
    found = metadata(Exported(bare, exported.manifest, {}))
    assert (found["license"], "model-index" in found) == ("unknown", False)
    own = replace(exported.version, licence="Acme Internal")
    assert metadata(Exported(own, exported.manifest, {}))["license_name"] == "Acme Internal"


def test_a_bill_of_materials_names_model_digest_licence_and_libraries(exported: Exported) -> None:
    found = bom(exported)
    model = found["metadata"]["component"]
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert model["hashes"] == [{"alg": "SHA-256", "content": exported.version.digest}]
    assert model["licenses"] == [{"expression": "Apache-2.0"}]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "accuracy", "value": "0.93"}]
    assert model["modelCard"]["considerations"] == {"useCases": ["for the *winter*"]}
    assert {each["ref"] for each in found["dependencies"]} == {
        "model", *(each["bom-ref"] for each in found["components"])
    }  # fmt: skip
    assert bom(exported) == found


def test_a_bill_of_materials_follows_the_schema_of_cyclonedx(exported: Exported) -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="no CycloneDX here: pip install 'cyclonedx-python-lib[json-validation]'"
    )
    from cyclonedx.schema import SchemaVersion

    from edgeward.answers.models import DataDigest, Environment

    data = DataDigest(sha256="a" * 64, rows=9)
    known = msgspec.structs.replace(
        exported.version,
        lineage=msgspec.structs.replace(exported.version.lineage, data=data),
        environment=Environment(python="3.11", platform="Linux x86_64", packages={"scikit_learn": "1.9.1"}),
    )
    found = bom(Exported(known, exported.manifest, exported.files))
    assert [each["type"] for each in found["components"]] == ["data", "library"]
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is None
