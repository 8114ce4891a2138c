"""The commands about versions, over the client and the API of a controller in the same process."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import FormData
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from contract.errors import BadInput, Code
from contract.manifest import ModelLimits, Runtime
from contract.messages import Heartbeat
from controller.config import Config, StorageConfig
from controller.convert.convert import Converted
from controller.registry.version import SourceCode
from controller.state import State, open_state
from controller.verbs import push as push_verb
from edgeward.cli.main import cli
from edgeward.cli.named import split_name, split_version
from edgeward.lineage import data_digest, parameters, source_code, told_of
from edgeward.transport import Transport
from tests.controller.heard import hear
from tests.controller.registry_worlds import converted, version
from tests.controller.registry_worlds import data_digest as digest_of
from tests.controller.test_api import HARDWARE, call, meet


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    yield made
    made.close()


@pytest.fixture
def edgeward(state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a command against the controller and returns its output."""

    def answered(method: str, path: str, **options: Any) -> Any:
        status, body = call(state, method, path, **options)
        if status >= 400:
            raise BadInput(Code(body["code"]), body["detail"])
        return body

    def pushed(self: Transport, path: str, request: dict[str, Any], parts: Mapping[str, bytes], _: Any = None) -> Any:
        form = FormData()
        for name, content in {"request": json.dumps(request).encode(), **parts}.items():
            form.add_field(name, content, filename=name)
        return answered("POST", path, data=form)

    monkeypatch.setattr(Transport, "get", lambda self, path, also=(): answered("GET", path))
    monkeypatch.setattr(Transport, "post", lambda self, path, body=None: answered("POST", path, json=body or {}))
    monkeypatch.setattr(Transport, "put", lambda self, path, body: answered("PUT", path, json=body))
    monkeypatch.setattr(Transport, "delete", lambda self, path: answered("DELETE", path))
    monkeypatch.setattr(Transport, "push", pushed)
    monkeypatch.setattr(Transport, "fetch", lambda self, path: state.blobs.get(path.rpartition("/")[2]))
    monkeypatch.setattr(state.deliveries, "begin", lambda model, manifest: None)
    monkeypatch.setenv("EDGEWARD_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("EDGEWARD_TOKEN", "t")
    monkeypatch.setenv("COLUMNS", "400")

    def run(*words: Any, fails: bool = False) -> str:
        done = CliRunner().invoke(cli, ["model", *map(str, words)])
        if fails:
            assert isinstance(done.exception, BadInput), done.output
            return str(done.exception)
        assert done.exception is None, done.exception
        return done.output

    return run


def planted(monkeypatch: pytest.MonkeyPatch, found: Converted) -> None:
    async def run_conversion(*_: object, **__: object) -> Converted:
        return found

    monkeypatch.setattr(push_verb, "run_conversion", run_conversion)


def test_a_push_sends_the_origin_of_a_model_and_reports_an_existing_version(
    state: State, edgeward: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted(monkeypatch, converted())
    source = tmp_path / "train.py"
    source.write_text("import numpy as np\nmodel, sample = b'onnx', np.arange(180.0).reshape(60, 3)\n")
    made = edgeward("push", source, "--name", "m", "--tag", "site=oslo", "--metric", "f1=0.9", "--licence", "MIT")
    assert "m v1 (1.0.0) passed its gates" in made
    assert edgeward("push", source, "--name", "m").endswith("\nsame bytes as m v1: no version was made\n")
    again = edgeward("push", source, "--name", "m", "--tag", "job=7", "--metric", "f1=0.8")
    assert again.splitlines()[-4:] == [
        "m v1 has got the tags job=7",
        "m v1 keeps its first metrics",
        "write what has changed as tags:",
        "edgeward model tag m@1 KEY=VALUE",
    ]
    assert json.loads(edgeward("push", source, "--name", "m", "--json").splitlines()[-1])["tags_added"] == {}
    assert "--metric" in edgeward("push", source, "--name", "m", "--metric", "f1=good", fails=True)
    found = state.registry.version("m", 1).lineage
    assert (found.tags, found.metrics, found.licence) == ({"site": "oslo"}, {"f1": 0.9}, "MIT")
    environment = state.registry.environment(found.environment_sha256)
    assert environment is not None
    assert "numpy" in environment.packages
    shown = edgeward("lineage", "m@1")
    for words in ("unknown: push with data=", "f1 0.9", "MIT", "packages"):
        assert words in shown


def test_names_tags_and_comments_are_in_lists_and_searches(state: State, edgeward: Any) -> None:
    for release in (1, 2):
        state.registry.add(version(release, artifact=b"%d" % release, metrics={"f1": release / 10}))
    assert "champion" in edgeward("alias", "m@1", "champion")
    assert edgeward("tag", "m@champion", "site=oslo", "job=7").strip() == "job=7, site=oslo"
    assert "job=7" not in edgeward("tag", "m@champion", "job=")
    assert "kept" in edgeward("note", "m@champion", "for the winter")
    assert "1 comment" in edgeward("comment", "m@champion", "good in the frost")
    assert "champion" in edgeward("show", "m")
    assert json.loads(edgeward("show", "m@champion", "--json"))["release"] == 1
    assert json.loads(edgeward("search", "frost", "--json"))["total"] == 1
    found = json.loads(edgeward("search", "--where", "metric.f1 > 0.05", "--sort", "-metric.f1", "--json"))
    assert [each["release"] for each in found["versions"]] == [2, 1]
    assert "2 in all; next: --offset 1" in edgeward("search", "--limit", "1")
    assert "no field" in edgeward("search", "--where", "accuracy > 1", fails=True)
    assert "m has no aliases" in edgeward("alias", "m", "champion", "--remove")
    assert "name the alias too" in edgeward("alias", "m@1", fails=True)


def test_two_versions_are_shown_side_by_side(state: State, edgeward: Any) -> None:
    state.registry.add(version(1, metrics={"f1": 0.8}, code=SourceCode(revision="a" * 40, dirty=False)))
    state.registry.add(version(2, artifact=b"longer", metrics={"f1": 0.9}, columns=("a", "c", "b"), parent=1,
                               data=digest_of("b")))  # fmt: skip
    shown = edgeward("diff", "m", "1", "newest")
    for words in ("m v1 -> v2: its columns come in another order", "0.8", "0.9", "artifact_bytes"):
        assert words in shown
    shown = edgeward("lineage", "m@2")
    assert shown.index("m v2") < shown.index("from v1")
    assert "100 rows" in shown


def test_gates_are_shown_limited_and_waived(
    state: State, edgeward: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limits = tmp_path / "gates.toml"
    limits.write_text("max_size_bytes = 2\n")
    limited, word = edgeward("policy", "m", "--set", limits).splitlines()
    assert json.loads(limited)["max_size_bytes"] == 2
    assert word == "m has no version yet: these limits count from its first push on"
    assert json.loads(edgeward("policy", "m"))["max_size_bytes"] == 2
    limits.write_text("max_size_bytes = \n")
    assert "gates.toml" in edgeward("policy", "m", "--set", limits, fails=True)
    planted(monkeypatch, converted())
    source = tmp_path / "train.py"
    source.write_text("import numpy as np\nmodel, sample = b'onnx', np.arange(180.0).reshape(60, 3)\n")
    refused = edgeward("push", source, "--name", "m", fails=True)
    assert "gates_not_passed: v1 is kept unreleased. size: 4 bytes, limit 2; fewer or shallower trees" in refused
    assert "fail" in edgeward("gates", "m")
    assert "may be rolled out" in edgeward("waive", "m@1", "--gate", "size", "--reason", "the gateway has room")
    assert "waived by local:ada: the gateway has room" in edgeward("gates", "m@1")
    assert "size waived by local:ada: the gateway has room" in edgeward("show", "m")


def test_unneeded_blobs_are_deleted_only_with_the_confirming_option(state: State, edgeward: Any) -> None:
    for release in (1, 2):
        state.registry.add(version(release, artifact=b"%d" % release))
    assert "with --apply" in edgeward("clean", "m", "--keep", "1")
    assert state.registry.removal("m", 1) is None
    assert "its blobs go in a day" in edgeward("clean", "m", "--keep", "1", "--apply")
    assert state.registry.removal("m", 1) is not None


def test_a_version_is_compared_with_the_reports_of_devices(state: State, edgeward: Any) -> None:
    state.registry.add(version(1, hardware=("x86_64",), limits=ModelLimits(memory_mb=128, load_s=10)))
    meet(state, "large")
    small = msgspec.structs.replace(HARDWARE, memory_mb=200)
    other = msgspec.structs.replace(HARDWARE, machine="riscv64")
    for name, hardware in (("other", other), ("small", small)):
        hear(state, Heartbeat(protocol=1, device=name, boot=1, seq=1, uptime_s=1, hardware=hardware, labels={}))
    found = json.loads(edgeward("check", "m", "--json"))
    assert (found["forms"], found["unknown"]) == ({"full": 1}, [])
    assert found["unfit"]["other"] == "riscv64: released for x86_64"
    assert found["unfit"]["small"] == "200 MB of memory: the version may take 128 to load"
    assert "1 device runs the form full" in edgeward("check", "m@1")


def test_devices_that_cannot_run_a_version_for_the_same_reason_are_one_row(state: State, edgeward: Any) -> None:
    state.registry.add(version(1, hardware=("x86_64",), runtime=Runtime(ir=10, opset=18, ml_opset=3)))
    old = msgspec.structs.replace(HARDWARE, onnxruntime="1.16.3")
    for number in range(5):
        beat = Heartbeat(protocol=1, device=f"d{number}", boot=1, seq=1, uptime_s=1, hardware=old, labels={})
        hear(state, beat)
    said = edgeward("check", "m@1")
    assert " ".join(said.split()).count("onnxruntime 1.16.3: the version needs 1.18") == 1
    assert "d0, d1, d2 and 2 more" in " ".join(said.split())


@pytest.mark.parametrize(
    ("text", "option", "expected"),
    [("m", None, ("m", None)), ("m@champion", None, ("m", "champion")), ("m", "3", ("m", "3"))],
)
def test_a_name_may_include_its_version(text: str, option: str | None, expected: tuple[str, str | None]) -> None:
    assert split_name(text, option) == expected


@pytest.mark.parametrize(("text", "option"), [("m@", None), ("@3", None), ("m@3", "4")])
def test_a_contradicting_or_incomplete_name_is_refused(text: str, option: str | None) -> None:
    with pytest.raises(BadInput) as refused:
        split_name(text, option)
    assert refused.value.code == Code.REQUEST_INVALID
    with pytest.raises(BadInput):
        split_version("m")


def test_the_commit_is_detected_and_changed_files_too(tmp_path: Path) -> None:
    import subprocess

    def git(*words: str) -> None:
        identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    assert source_code(tmp_path) is None or tmp_path.is_relative_to(Path.cwd())
    git("init")
    (tmp_path / "train.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-m", "first")
    found = source_code(tmp_path)
    assert found is not None
    assert (len(found["revision"]), found["dirty"]) == (40, False)
    (tmp_path / "train.py").write_text("x = 2\n")
    changed = source_code(tmp_path)
    assert changed is not None
    assert changed["dirty"]


def test_parameters_are_those_of_the_steps_and_rows_have_one_digest() -> None:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = parameters(make_pipeline(StandardScaler(), LogisticRegression(C=3.0)))
    assert found["logisticregression__C"] == "3.0"
    assert "logisticregression" not in found, "a step is no parameter, its own are"
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert data_digest(frame) == data_digest(frame.copy())
    assert data_digest(frame)["columns"] == ["a", "b"]
    assert data_digest(frame)["sha256"] != data_digest(frame[["b", "a"]])["sha256"]
    assert data_digest(np.zeros((3, 2)))["rows"] == 3
    assert told_of(b"onnx", data=frame)["params"] == {}


def test_a_comment_without_a_version_is_about_the_model_and_a_named_person_is_notified(
    state: State, edgeward: Any
) -> None:
    state.registry.add(version(1))
    assert "nobody has written" in edgeward("discussion", "m").lower()
    assert edgeward("comment", "m", "@bob is this the new sensor?").strip() == "1 comment"
    assert edgeward("review", "m", "bob").strip() == "waits for the look of bob"
    said = edgeward("discussion", "m")
    assert "is this the new sensor?" in said
    assert "waits for the look of bob" in said


def test_tables_of_versions_and_gates_are_written_as_csv(state: State, edgeward: Any) -> None:
    state.registry.add(version(1))
    assert edgeward("list", "--csv").splitlines()[0] == "model,versions,newest,newest that passed,devices"
    assert edgeward("show", "m", "--csv").splitlines()[1].startswith("v1,")
    assert edgeward("search", "--csv").splitlines()[1].startswith("m,v1,")
    assert edgeward("gates", "m", "--csv").splitlines()[0] == "gate,verdict,evidence,power,remedy"
    assert "no table" in edgeward("show", "m@1", "--csv", fails=True)


@pytest.mark.parametrize("form", ["devices", "bom"])
def test_an_export_of_a_version_whose_file_is_missing_is_refused_with_the_repair(
    state: State, edgeward: Any, tmp_path: Path, form: str
) -> None:
    state.registry.add(version(1))
    said = " ".join(edgeward("export", "m@1", "--out", tmp_path / "out", "--format", form, fails=True).split())
    assert "the model of m v1 cannot be read" in said
    assert said.endswith("restore it from a backup, or push that version again")
    assert not (tmp_path / "out").exists()
