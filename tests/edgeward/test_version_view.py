"""`edgeward model show NAME@VERSION`: what can be rolled out, what is missing, who provides it, in 80 columns."""

import io
from typing import Any

import pytest
from rich.console import Console

from contract.errors import BadInput, Code, shortened
from contract.protocol import MAX_DETAIL_CHARS
from edgeward.answers.models import VersionDetail
from edgeward.cli.version_view import chosen_words, standing_of, version_view

BLOB = {"sha256": "ab" * 32, "length": 12_366, "chunk_bytes": 65_536, "chunks_sha256": "cd" * 32}
GOLDEN = {"blob": BLOB, "rows": 64, "rtol": "0.000001", "atol": "0", "max_row_mismatch_ratio": "0.02"}
AT = "2026-11-27T13:10:31+00:00"
TENSORS = [{"name": f"measured_value_{place}", "datatype": "FP32", "shape": [-1, 1]} for place in range(20)]


def gate(name: str, *, passed: bool = True, **more: Any) -> dict[str, Any]:
    words = "a long sentence about rows that differ in one of the many cases that were tried " * 4
    return {"gate": name, "passed": passed, "detail": f"{name}: {words}", **more}


def detail(**changed: Any) -> VersionDetail:
    plain = {
        "model": "weather", "release": 3, "semver": "1.2.0", "passed": True, "digest": "ab" * 32, "size_bytes": 12_366,
        "task": "classification", "estimator": "Pipeline", "created_at": AT, "created_by": "ann", "aliases": ["best"],
        "tags": {"site": "oslo"}, "metrics": {"accuracy": 0.93}, "licence": "", "gates": [gate("parity")],
        "withdrawn": None, "removed": None, "rolled_back": None, "devices": [], "deliveries": [], "environment": None,
        "manifest": {
            "release": 3, "artifact": BLOB, "golden": GOLDEN, "task": "classification", "columns": [],
            "inputs": TENSORS,
            "outputs": TENSORS[:1], "hardware": ["x86_64"], "runtime": {"ir": 8, "opset": 16, "ml_opset": 3},
            "limits": {"memory_mb": 64, "load_s": 10},
        },
        "lineage": {"created_at": AT, "created_by": "ann", "source": "skops", "source_sha256": "ef" * 32},
        "notes": {}, "evidence": {}, "measured": {},
    }  # fmt: skip
    return VersionDetail.read(plain | changed)


def seen(found: VersionDetail, *, signed: bool = True) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=80).print(version_view(found, signed=signed))
    return file.getvalue().splitlines()


def test_a_version_takes_less_than_a_screen_of_80_columns() -> None:
    lines = seen(detail())
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert lines[:2] == ["weather v3 (1.2.0), best", "it can be rolled out"]
    assert "and 8 more" in " ".join(lines)
    assert lines[-1] == "next: edgeward rollout start weather@3 --watch"


def test_failed_gates_are_first_with_all_their_details() -> None:
    lines = seen(detail(gates=[gate("parity"), gate("size", passed=False, remedy="fewer trees")]))
    marks = [line.split()[0] for line in lines if line.strip().startswith(("pass ", "fail "))]
    assert marks == ["fail", "pass"]
    assert "fewer trees" in " ".join(" ".join(lines).split())
    assert lines[-1] == "next: edgeward model waive weather@3 --gate 'size' --reason TEXT"


WAIVER = {"by": "eva", "at": AT, "reason": "a test"}


@pytest.mark.parametrize(
    ("changed", "signed", "free", "words", "command"),
    [
        ({}, True, True, "it can be rolled out", "rollout start weather@3"),
        ({}, False, False, "a release signer has not vouched for it", "trust sign weather"),
        ({"gates": [gate("size", passed=False)]}, True, False, "size failed", "model waive weather@3"),
        (
            {"gates": [gate("size", passed=False, waiver=WAIVER)]},
            True,
            True,
            "it can be rolled out",
            "rollout start weather@3",
        ),
        ({"withdrawn": WAIVER}, True, False, "withdrawn by eva", "version reinstate weather 3"),
        ({"removed": {"by": "eva", "at": AT}}, True, False, "whoever trained it pushes it again", "model push"),
        ({"lost": "the model of weather v3 cannot be read"}, True, False, "cannot be read", "push FILE --name weather"),
        ({"rolled_back": {"rollout": "r-1", "reason": "errors"}}, True, True, "only with --again: r-1", "--again"),
    ],
)
def test_a_version_that_cannot_be_rolled_out_names_what_is_missing(
    changed: dict[str, Any], signed: bool, free: bool, words: str, command: str
) -> None:
    standing = standing_of(detail(**changed), signed=signed)
    assert (standing.free, words in standing.words, command in standing.command) == (free, True, True), standing


def test_parameters_without_a_readable_value_are_left_out_and_counted() -> None:
    params = {"steps": "[('a', A())]", "a__n_jobs": "None", "a__dtype": "<class 'float'>", "a__depth": "3", "b": "'x'"}
    assert chosen_words(params) == "depth=3, b='x', 3 more: --json"
    assert chosen_words({}) == ""


def test_a_long_detail_ends_after_a_whole_word() -> None:
    error = BadInput(Code.GATES_NOT_PASSED, "many words " * 100)
    assert len(error.detail) <= MAX_DETAIL_CHARS
    assert error.detail.endswith(("many...", "words..."))
    assert shortened("short") == "short"
    assert len(shortened("x" * 600)) == MAX_DETAIL_CHARS


def test_two_models_in_a_row_and_values_kept_by_devices_are_named() -> None:
    manifest = dict(detail().manifest)
    fed = {"name": "LogisticRegression", "sha256": "cd" * 32, "feeds": [["X", "embedding"]]}
    manifest["stages"] = [{"name": "features.onnx", "sha256": "ab" * 32}, fed]
    kept = {"input": "state", "output": "stateN", "datatype": "FP32", "shape": [2, 1, 128]}
    manifest["state"] = {"tensors": [kept], "reset_after_s": "30.0", "max_keys": 64}
    lines = seen(detail(manifest=manifest))
    text = " ".join(" ".join(lines).split())
    assert "model 1 features.onnx, sha256 abababababab model 2 LogisticRegression, sha256 cdcdcdcdcdcd" in text
    assert "takes X from embedding" in text
    assert "state from stateN; up to 64 streams, 1024 bytes each, anew after 30 s without a request" in text
    assert max(map(len, lines)) <= 80


def test_rows_that_failed_parity_are_shown_and_a_passed_gate_tells_of_ties_in_full() -> None:
    row = {"row": "sample 17", "inputs": {"t": "1.5"}, "expected": {"label": "calm"}, "actual": {"label": "odd"}}
    failed = detail(gates=[gate("parity", passed=False)], evidence={"parity": {"worst": [row] * 5}})
    lines = [line.strip() for line in seen(failed)]
    assert lines.count("sample 17 expected label calm; got label odd; for t 1.5") == 3
    passed = seen(detail(evidence={"parity": {"worst": [row]}}))
    assert not any("sample 17" in line for line in passed)
    tied = seen(detail(gates=[gate("parity", evidence={"ties": 22.0})]))
    assert not any("..." in line for line in tied)
