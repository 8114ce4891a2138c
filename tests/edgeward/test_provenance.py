"""A version's chain in a folder: a person with only the root checks it and finds each changed link."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.captured import Captured, CapturedRow, sign_row
from contract.errors import BadInput, Code
from contract.keys import signer_of
from contract.lineage import SignedLineage, signed_bytes
from contract.trust.documents import role_name
from controller.config import Config, StorageConfig
from controller.registry.credentials import Credential
from controller.registry.version import DataDigest, SourceCode, Told
from controller.state import State, open_state
from edgeward.answers.models import VersionDetail
from edgeward.cli.main import cli
from edgeward.exports.exported import collect
from edgeward.provenance.folder import write_provenance
from tests.controller.registry_worlds import pushed, threshold_model
from tests.controller.test_api import call

Tamper = Callable[[Path], None]
ROW = CapturedRow(at=1.0, model="m", release=1, why="sampled", inputs={"a": 1.0}, value=1.0, id="order-7", label=2.0)
KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)  # fmt: skip
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
).decode()  # fmt: skip


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A controller with one signed version and one captured row."""
    from controller.verbs import push as push_verb

    directory = tmp_path_factory.mktemp("controller")
    made = open_state(Config(storage=StorageConfig(data_dir=str(directory / "data"))))

    async def run_conversion(*_: object, **__: object) -> Any:
        return threshold_model((1.0, 1.0, 1.0))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(push_verb, "run_conversion", run_conversion)
        patched.setattr(made.deliveries, "begin", lambda model, manifest: None)
        data, code = DataDigest(sha256="a" * 64, rows=100), SourceCode("c0ffee", dirty=False)
        pushed(made, directory, told=Told(data=data, code=code, run="20261127-1", params={"d": 3}))
    made.credentials.add_certificate(Credential(7, "oslo-1", PUBLIC, expires=2.0, revoked=None))
    keep(made, 1, sign_row(ROW, signer_of(PRIVATE)))
    yield made
    made.close()


def keep(state: State, seq: int, row: CapturedRow) -> None:
    state.captures.keep([("oslo-1", Captured(protocol=1, device="oslo-1", boot=1, seq=seq, rows=(row,)))])


@pytest.fixture(scope="module")
def written(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the folder of the version, with one prediction, and the root."""
    status, answer = call(state, "GET", "/v1/models/m/versions/1/statement?prediction=order-7")
    assert status == 200, answer
    version = VersionDetail.read(call(state, "GET", "/v1/models/m/versions/1")[1])
    made = tmp_path_factory.mktemp("written")
    signed, files = msgspec.convert(answer, SignedLineage), state.trust_metadata.files
    write_provenance(collect(version, state.blobs.get), signed, files, made / "out", f"{role_name('m')}.json")
    (made / "root.json").write_text(files["1.root.json"])
    return made


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """Returns a copy of the folder that the test may change; the root is beside it."""
    return shutil.copytree(written, tmp_path / "copy") / "out"


def checked(folder: Path) -> tuple[int, dict[str, str]]:
    """Returns (exit code, verdict by edge) of the command."""
    arguments = ["lineage", "verify", str(folder), "--root", str(folder.parent / "root.json"), "--json"]
    done = CliRunner().invoke(cli, arguments)
    edges = json.loads(done.output)["edges"]
    return done.exit_code, {each["edge"]: each["verdict"] for each in edges}


def test_every_link_is_valid_from_the_prediction_to_the_data(folder: Path) -> None:
    code, edges = checked(folder)
    assert code == 0
    assert set(edges.values()) == {"holds", "not stated"}
    assert [name for name, verdict in edges.items() if verdict == "not stated"] == ["version -> parent"]


def described(change: Callable[[dict[str, Any]], None]) -> Tamper:
    def tamper(folder: Path) -> None:
        path = folder / "edgeward.json"
        plain = json.loads(path.read_bytes())
        change(plain)
        path.write_text(json.dumps(plain))

    return tamper


def statement(change: Callable[[dict[str, Any]], None]) -> Tamper:
    def tamper(folder: Path) -> None:
        path = folder / "lineage.json"
        signed = json.loads(path.read_bytes())
        inner = json.loads(signed["statement"])
        change(inner)
        path.write_text(json.dumps(signed | {"statement": json.dumps(inner)}))

    return tamper


def metadata(name: str, old: str, new: str) -> Tamper:
    def tamper(folder: Path) -> None:
        path = folder / "metadata.json"
        files = json.loads(path.read_bytes())
        assert old in files[name]
        path.write_text(json.dumps(files | {name: files[name].replace(old, new, 1)}))

    return tamper


def flipped(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / name).write_bytes(raw)

    return tamper


def other_signature(folder: Path) -> None:
    path = folder / "lineage.json"
    signed = json.loads(path.read_bytes())
    path.write_text(json.dumps(signed | {"signature": "00" * 64}))


def lineage_of(**fields: Any) -> Tamper:
    return described(lambda plain: plain["lineage"].update(fields))


TAMPERED: dict[str, tuple[Tamper, str]] = {
    "the model's bytes": (flipped("model.onnx"), "manifest -> artifact"),
    "the golden set": (flipped("golden.npz"), "manifest -> golden set"),
    "the manifest": (described(lambda plain: plain["manifest"].update(nan="both")), "role -> manifest"),
    "the number of the version": (described(lambda plain: plain.update(release=2)), "role -> manifest"),
    "the signed role": (metadata("models-m.json", '"x-min-release":0', '"x-min-release":1'), "metadata -> role"),
    "who the director is": (metadata("targets.json", '"version":', '"version": 9'), "root -> metadata"),
    "the snapshot": (metadata("snapshot.json", '"expires":"2', '"expires":"3'), "root -> metadata"),
    "the prediction": (
        statement(lambda inner: inner["prediction"]["row"].update(value=0.0)), "director -> statement"
    ),
    "the device": (statement(lambda inner: inner["prediction"].update(device="rome-9")), "director -> statement"),
    "the statement's signature": (other_signature, "director -> statement"),
    "the run": (lineage_of(run="another"), "version -> run"),
    "the data digest": (lineage_of(data={"sha256": "b" * 64, "rows": 100, "columns": []}), "version -> data"),
    "the code": (lineage_of(code={"revision": "beef", "dirty": False}), "version -> code"),
    "the parent": (lineage_of(parent=7), "version -> parent"),
    "who pushed it": (lineage_of(created_by="eve"), "version -> lineage"),
    "the metrics for people": (described(lambda plain: plain.update(metrics={"accuracy": 1.0})), "version -> summary"),
    "a gate": (described(lambda plain: plain["gates"][0].update(detail="fine")), "version -> gates"),
    "the evidence": (described(lambda plain: plain["evidence"].update(sandbox="full")), "version -> evidence"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_link_is_found_and_named(folder: Path, what: str) -> None:
    tamper, edge = TAMPERED[what]
    tamper(folder)
    code, edges = checked(folder)
    assert code == 1
    assert edges[edge] == "broken"


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"row": {"value": 0.0}}, "broken"),
        ({"row": {"inputs": {"a": 2.0}}}, "broken"),
        ({"row": {"label": 0.0}}, "holds"),
        ({"row": {"signature": ""}}, "not stated"),
        ({"device_key": ""}, "broken"),
        ({"device_key": "none"}, "broken"),
    ],
    ids=["the answer", "the inputs", "a label that came later", "no signature", "no key", "a key that is none"],
)
def test_a_false_director_cannot_change_the_answers_of_a_device(
    state: State, folder: Path, changed: dict[str, Any], verdict: str
) -> None:
    path = folder / "lineage.json"
    inner = json.loads(json.loads(path.read_bytes())["statement"])
    row = inner["prediction"]["row"] | changed.get("row", {})
    inner["prediction"] |= changed | {"row": row}
    text, director = json.dumps(inner), state.trust_metadata.director
    signed = director.sign(signed_bytes(text))
    path.write_text(json.dumps({"statement": text, "keyid": signed.keyid, "signature": signed.signature}))
    code, edges = checked(folder)
    assert (edges["director -> statement"], edges["device -> prediction"]) == ("holds", verdict)
    assert code == (verdict == "broken")


def test_the_chain_of_another_fleet_is_not_valid_under_this_root(folder: Path, tmp_path: Path) -> None:
    other = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "other"))))
    (folder.parent / "root.json").write_text(other.trust_metadata.files["1.root.json"])
    other.close()
    code, edges = checked(folder)
    assert code == 1
    assert edges["root -> metadata"] == edges["director -> statement"] == "broken"


def test_a_statement_is_refused_for_an_unsigned_or_a_foreign_prediction(state: State) -> None:
    status, body = call(state, "GET", "/v1/models/m/versions/1/statement?prediction=nobody")
    assert (status, body["code"]) == (422, "request_invalid")
    assert "model captured" in body["detail"]
    row = CapturedRow(at=1.0, model="m", release=2, why="sampled", inputs={}, value=1.0, id="of-two")
    keep(state, 2, row)
    status, body = call(state, "GET", "/v1/models/m/versions/1/statement?prediction=of-two")
    assert "v2 made" in body["detail"]


def test_a_folder_without_a_statement_is_reported_with_the_command_that_writes_one(tmp_path: Path) -> None:
    from edgeward.provenance.folder import read_provenance

    with pytest.raises(BadInput, match="edgeward lineage export") as refused:
        read_provenance(tmp_path)
    assert refused.value.code is Code.REQUEST_INVALID
