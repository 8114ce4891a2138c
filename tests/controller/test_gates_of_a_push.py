"""The gates of a push: a child answers held-out rows by the converted model, and a failed gate stops a release."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aiohttp import FormData

from contract.errors import BadInput, Code
from contract.samples import encode_sample
from contract.tensors import decode_tensors, encode_tensors
from controller.config import Config, StorageConfig
from controller.evaluate.child import feed
from controller.evaluate.request import read_rows
from controller.gates.policy import GatePolicy, HeldOutPolicy
from controller.state import State, open_state
from controller.verbs.gates import Brought, OwnVerdict, policy_of, set_gates
from edgeward.held_out import HeldOut, run_gates, split_by_time
from tests.controller.registry_worlds import INPUT, manifest, plant, pushed, threshold_model
from tests.controller.test_api import call

__all__ = ["plant"]
TRUE, WORSE = (1.0, 1.0, 1.0), (1.0, 1.0, -1.0)
X = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int64)
ROWS = HeldOut(X, Y, groups={"site": np.where(X[:, 0] > 0, "oslo", "bergen")})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    yield made
    made.close()


def brought(directory: Path, rows: HeldOut = ROWS, **changes: Any) -> Brought:
    path = directory / "held_out"
    path.write_bytes(rows.encode())
    return Brought(held_out=path, **changes)


def test_a_version_worse_than_the_champion_on_held_out_rows_is_kept_and_not_released(
    state: State, plant: Any, tmp_path: Path
) -> None:
    plant(threshold_model(TRUE))
    first = pushed(state, tmp_path, brought=brought(tmp_path)).version
    assert {each.gate: each.passed for each in first.gates} == {"parity": True, "held_out": True}
    assert first.gates[1].evidence == {"rows": 400.0, "accuracy": 1.0}
    plant(threshold_model(WORSE))
    with pytest.raises(BadInput) as refused:
        pushed(state, tmp_path, brought=brought(tmp_path))
    assert refused.value.code == Code.GATES_NOT_PASSED
    assert "v2 is kept unreleased" in refused.value.detail
    assert "v1 reaches 1, a drop of at most 0.02 is allowed" in refused.value.detail
    second = state.registry.version("m", 2)
    assert second.gates[1].evidence["champion_accuracy"] == 1.0
    assert state.trust_metadata.signed("m") == {1}
    answer = call(state, "POST", "/v1/rollouts", json={"model": "m", "release": 2})[1]
    assert answer["code"] == "gates_not_passed"
    call(state, "POST", "/v1/models/m/versions/2/waive", json={"gate": "held_out", "reason": "for the test bench"})
    assert state.trust_metadata.signed("m") == {1, 2}, "waived: it may be rolled out"


def test_latency_and_operators_are_measured_on_the_golden_set_if_no_rows_were_pushed(
    state: State, plant: Any, tmp_path: Path
) -> None:
    set_gates(state, "m", GatePolicy(max_latency_us_p95=1e6, operators=("MatMul", "Greater", "Cast")), actor="ada")
    plant(threshold_model(TRUE))
    with pytest.raises(BadInput, match="Reshape are not allowed"):
        pushed(state, tmp_path)
    verdicts = {each.gate: each for each in state.registry.version("m", 1).gates}
    assert verdicts["latency"].passed
    assert 0 < verdicts["latency"].evidence["latency_us_p50"] <= verdicts["latency"].evidence["latency_us_p95"]


def test_custom_gates_are_recorded_and_a_missing_one_fails(state: State, plant: Any, tmp_path: Path) -> None:
    set_gates(state, "m", GatePolicy(own=("business",)), actor="ada")
    plant(threshold_model(TRUE))
    with pytest.raises(BadInput, match="own business: it is required and was not run"):
        pushed(state, tmp_path)
    told = OwnVerdict(gate="business", passed=True, detail="profit 12", evidence={"profit": 12.0})
    version = pushed(state, tmp_path, brought=Brought(own=(told,))).version
    assert version.passed
    assert (version.release, version.gates[1].judged_by) == (2, "ada"), "another verdict is worth another version"
    entries = [entry["detail"] for entry in state.journal.audit_entries(9) if entry["subject"] == "m v2"]
    assert any("own business passed: profit 12" in detail for detail in entries)


def test_a_policy_is_set_and_shown_through_the_api_and_checked_against_its_example(state: State) -> None:
    import tomllib

    import msgspec

    example = (Path(__file__).parents[2] / "configs" / "gates" / "example.toml").read_text()
    found = tomllib.loads(example)
    policy = msgspec.convert(found, GatePolicy)
    assert set(found) == set(GatePolicy.__struct_fields__), "the example names every key"
    for part in ("held_out", "slices", "fairness"):
        assert set(found[part]) == set(getattr(policy, part).__struct_fields__)
    assert call(state, "PUT", "/v1/models/m/gates", json=found)[0] == 200
    assert policy_of(state, "m") == policy
    assert call(state, "GET", "/v1/models/m/gates")[1]["held_out"]["min_accuracy"] == 0.9
    assert call(state, "GET", "/v1/models/other/gates")[1]["code"] == "unknown_model"
    refused = call(state, "PUT", "/v1/models/m/gates", json={"max_sise_bytes": 1})[1]
    assert (refused["code"], "max_sise_bytes" in refused["detail"]) == ("message_malformed", True)


def test_held_out_rows_are_sent_with_a_push_over_the_api(state: State, plant: Any) -> None:
    set_gates(state, "m", GatePolicy(held_out=HeldOutPolicy(required=True)), actor="ada")
    plant(threshold_model(TRUE))
    form = FormData()
    own = [{"gate": "g", "passed": True}]
    for part, content in {
        "request": json.dumps({"kind": "onnx", "own_gates": own}).encode(), "model": b"x", "sample": encode_sample(X),
        "held_out": ROWS.encode(),
    }.items():  # fmt: skip
        form.add_field(part, content, filename=part)
    status, answer = call(state, "POST", "/v1/models/m/versions", data=form)
    assert (status, answer["new"]) == (200, True)
    assert [each["gate"] for each in answer["gates"]] == ["parity", "held_out", "own g"]
    assert not list(state.config.data_dir.rglob("held_out")), "the rows themselves are not kept"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"no npz", Code.TENSORS_INVALID),
        (encode_sample(X), Code.TENSORS_INVALID),
    ],
    ids=["no arrays", "without labels"],
)
def test_invalid_held_out_rows_are_refused_before_the_conversion(wrong: bytes, code: Code) -> None:
    with pytest.raises(BadInput) as refused:
        read_rows(wrong)
    assert refused.value.code == code


def test_rows_and_labels_of_different_lengths_are_refused_by_the_client() -> None:
    with pytest.raises(BadInput, match="labels has the shape"):
        HeldOut(X, Y[:5]).encode()


def test_columns_are_passed_by_name_in_any_order() -> None:
    frame = {"b": np.array([2.0]), "c": np.array([3.0]), "a": np.array([1.0])}
    assert feed(encode_sample(frame), manifest())["X"].tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(BadInput, match="lack the columns c"):
        feed(encode_sample({"a": frame["a"], "b": frame["b"]}), manifest())
    assert INPUT.datatype == "FP32"


def test_a_split_by_time_keeps_rows_with_the_same_time_together() -> None:
    frame = pd.DataFrame({"t": [5, 1, 4, 4, 2, 3, 4, 6], "v": range(8)})
    older, newer = split_by_time(frame, "t", held_out=0.5)
    assert (older["t"].tolist(), newer["t"].tolist()) == ([1, 2, 3, 4, 4, 4], [5, 6])
    assert older["t"].max() < newer["t"].min()
    with pytest.raises(ValueError, match="choose another fraction"):
        split_by_time(frame.assign(t=1), "t")


def test_a_custom_gate_may_answer_in_three_ways_and_one_that_raises_fails() -> None:
    def raises(model: Any, rows: Any) -> bool:
        raise RuntimeError("no database")

    gates = {"a": lambda m, r: True, "b": lambda m, r: (False, "why", {"n": 1}), "c": raises}
    assert run_gates(gates, None, ROWS) == [
        {"gate": "a", "passed": True, "detail": "", "evidence": {}},
        {"gate": "b", "passed": False, "detail": "why", "evidence": {"n": 1.0}},
        {"gate": "c", "passed": False, "detail": "RuntimeError: no database"},
    ]
    with pytest.raises(BadInput, match="answer True or False"):
        run_gates({"d": lambda m, r: 0.9}, None, None)


def test_times_are_read_as_seconds_from_every_type() -> None:
    moments = pd.to_datetime(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
    rows = HeldOut(X[:2], Y[:2], times=moments, trained_until=pd.Timestamp("2025-12-31T00:00:00Z"))
    found = read_rows(rows.encode())
    assert found.times is not None
    assert found.times.tolist() == [1767225600.0, 1767312000.0]
    assert found.trained_until == 1767139200.0


def test_answers_of_a_backtest_without_the_end_of_their_training_are_refused() -> None:
    rows = HeldOut(X[:2], Y[:2], times=[1.0, 2.0], trained_until=0.0, answers=Y[:2], fitted_until=[0.0, 0.5])
    found = read_rows(rows.encode())
    assert found.answers is not None
    assert found.fitted_until is not None
    assert found.fitted_until.tolist() == [0.0, 0.5]
    arrays = decode_tensors(rows.encode())
    del arrays["fitted_until"]
    with pytest.raises(BadInput, match="answers and fitted_until come together or not at all"):
        read_rows(encode_tensors(arrays))
