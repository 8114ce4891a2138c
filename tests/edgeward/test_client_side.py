"""What the client sends, and where the controller is found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from contract.errors import BadInput, Code, WorldError
from contract.samples import decode_sample
from edgeward import Client
from edgeward.cli.main import cli
from edgeward.cli.model import pairs
from edgeward.cli.pushed_file import load
from edgeward.cli.rollout import read_strategy
from edgeward.encode import encode_model, encode_rows
from edgeward.settings import Settings, find_settings


def refused(act: Any) -> str:
    with pytest.raises(BadInput) as caught:
        act()
    return caught.value.code


def test_an_estimator_is_sent_as_skops_and_onnx_unchanged(tmp_path: Path) -> None:
    kind, raw = encode_model(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    assert (kind, raw[:2]) == ("skops", b"PK")
    assert encode_model(b"onnx bytes") == ("onnx", b"onnx bytes")
    (tmp_path / "m.onnx").write_bytes(b"x")
    assert encode_model(tmp_path / "m.onnx") == ("onnx", b"x")


def test_a_pickle_is_refused_with_the_alternative(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput) as caught:
        encode_model(path)
    assert "skops" in caught.value.detail


def test_an_invalid_model_or_sample_is_refused(tmp_path: Path) -> None:
    assert refused(lambda: encode_model(object())) == Code.REQUEST_INVALID
    assert refused(lambda: encode_model(tmp_path / "none.onnx")) == Code.REQUEST_INVALID
    assert refused(lambda: encode_rows([1, 2, 3])) == Code.SAMPLE_MISSING
    assert refused(lambda: encode_rows(np.array([["a"]]))) == Code.SAMPLE_MISSING


def test_rows_are_sent_as_a_matrix_or_as_named_columns_of_their_types() -> None:
    assert decode_sample(encode_rows([[1, 2], [3, 4]])).shape == (2, 2)  # type: ignore[union-attr]
    frame = pd.DataFrame({"t": [1.5], "n": [2], "site": ["a"]})
    columns = decode_sample(encode_rows(frame))
    assert {name: array.dtype.kind for name, array in columns.items()} == {"t": "f", "n": "i", "site": "U"}  # type: ignore[union-attr]
    assert list(decode_sample(encode_rows({"b": [1.0], "a": [2.0]}))) == ["b", "a"]


def test_the_controller_is_found_by_argument_environment_or_local_files(tmp_path: Path) -> None:
    local = {"EDGEWARD_DATA_DIR": str(tmp_path)}
    with pytest.raises(WorldError, match="no controller is named"):
        find_settings(environment=local)
    (tmp_path / "controller.json").write_text(json.dumps({"url": "http://local:1/"}))
    assert refused(lambda: find_settings(environment=local)) == Code.UNAUTHENTICATED
    (tmp_path / "token").write_text("t\n")
    assert find_settings(environment=local) == Settings("http://local:1", "t")
    named = {**local, "EDGEWARD_URL": "http://named:2", "EDGEWARD_TOKEN": "n"}
    assert find_settings(environment=named) == Settings("http://named:2", "n")
    assert find_settings("http://given:3", "g", environment=named) == Settings("http://given:3", "g")


def test_an_unreachable_controller_is_reported_with_what_to_do() -> None:
    with pytest.raises(WorldError) as caught:
        Client("http://127.0.0.1:9", "t").health()
    assert caught.value.code == Code.CONTROLLER_UNREACHABLE
    assert "edgeward-controller run" in caught.value.detail


def test_key_value_texts_and_strategies_are_read_or_refused(tmp_path: Path) -> None:
    assert pairs(("a=b", "c=d=e")) == {"a": "b", "c": "d=e"}
    assert refused(lambda: pairs(("a",))) == Code.REQUEST_INVALID
    assert read_strategy("canary") == "canary"
    (tmp_path / "s.toml").write_text('name = "s"')
    assert read_strategy(str(tmp_path / "s.toml")) == {"name": "s"}
    assert refused(lambda: read_strategy(str(tmp_path / "none.toml"))) == Code.STRATEGY_INVALID


def test_a_python_file_must_define_a_model_and_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("model = 1\nsample = 2\n")
    assert load(path, None) == (1, 2)
    path.write_text("model = 1\n")
    with pytest.raises(BadInput) as caught:
        load(path, None)
    assert "no sample" in caught.value.detail
    (tmp_path / "m.onnx").write_bytes(b"x")
    assert refused(lambda: load(tmp_path / "m.onnx", None)) == Code.SAMPLE_MISSING


def test_every_command_can_print_json_and_has_a_description() -> None:
    runner = CliRunner()
    groups = {
        "model": ("push", "list", "show"),
        "rollout": (
            *("plan", "start", "watch", "list", "explain", "approve", "policy", "judge"),
            *("pause", "resume", "promote", "abort", "rollback"),
        ),
        "device": ("list", "show", "why", "unquarantine", "config"),
    }
    for group, commands in groups.items():
        for command in commands:
            shown = runner.invoke(cli, [group, command, "--help"])
            assert shown.exit_code == 0
            assert "--json" in shown.output, (group, command)
    assert "--json" in runner.invoke(cli, ["demo", "--help"]).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell: str) -> None:
    shown = CliRunner().invoke(cli, ["completion", shell])
    assert shown.exit_code == 0
    assert "_EDGEWARD_COMPLETE" in shown.output
