"""Each gate before release: what it judges, a planted bad model that it stops, and that its stated power is true."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from controller.gates.evidence import Caller, Evidence, HeldOut
from controller.gates.fairness import MEASURES, rates_of
from controller.gates.judge import judge_all
from controller.gates.parity import Compared, Parity
from controller.gates.policy import FairnessPolicy, GatePolicy, HeldOutPolicy, SlicePolicy
from controller.gates.power import detectable_rate, margin
from controller.gates.verdict import GateVerdict
from tests.controller.registry_worlds import manifest

TOOLS = Path(__file__).parents[2] / ".venv" / "tools" / "bin" / "python"
ROWS = 1000
RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 2, ROWS)
SITE = np.where(np.arange(ROWS) % 10 == 0, "oslo", "bergen")
SEX = np.where(np.arange(ROWS) % 2 == 0, "f", "m")


def wrong(labels: Any, ratio: float, where: Any = None, seed: int = 1) -> Any:
    """Answers of which this fraction is wrong, among the rows `where`."""
    flip = np.random.default_rng(seed).random(len(labels)) < ratio
    return np.where(flip & (np.ones(len(labels), dtype=bool) if where is None else where), 1 - labels, labels)


def held(answers: Any = LABELS, **changes: Any) -> HeldOut:
    given: dict[str, Any] = {"groups": {"site": SITE, "sex": SEX}, **changes}
    return HeldOut(**{"task": "classification", "labels": LABELS, "answers": answers, **given})


def evidence(**changes: Any) -> Evidence:
    same = Compared(rows=500, differing=0, max_abs_difference=0.0)
    parity = Parity(reference="scikit-learn", precision="float32", sample=same, boundary=same)
    given: dict[str, Any] = {"manifest": manifest(), "parity": parity, "load_mb": 10.0}
    return Evidence(**{**given, "operators": ("Add", "MatMul"), **changes})


GOOD = evidence(
    latency_us_p50=20.0, latency_us_p95=50.0, licence="Apache-2.0",
    held_out=held(wrong(LABELS, 0.05), champion=wrong(LABELS, 0.06, seed=2), champion_name="v1",
                  times=np.arange(ROWS, dtype=np.float64), trained_until=-1.0),
    callers=(Caller(1, manifest(), 3),),
    own=(GateVerdict(gate="own business", passed=True, detail="", judged_by="ada"),),
)  # fmt: skip
POLICY = GatePolicy(
    max_size_bytes=1000,
    max_latency_us_p95=100.0,
    max_memory_mb=64.0,
    held_out=HeldOutPolicy(required=True, min_accuracy=0.9),
    slices=SlicePolicy(max_worse=0.1),
    fairness=FairnessPolicy(groups=("sex",), demographic_parity_difference=0.1, equalized_odds_ratio=0.5),
    same_signature=True,
    licences=("Apache-2.0", "MIT"),
    operators=("Add", "MatMul"),
    own=("business",),
)


def with_held(**changes: Any) -> dict[str, Any]:
    assert GOOD.held_out is not None
    fields = {name: getattr(GOOD.held_out, name) for name in HeldOut.__dataclass_fields__}
    return {"held_out": HeldOut(**{**fields, **changes})}


def judged(**changes: Any) -> dict[str, GateVerdict]:
    fields = {name: getattr(GOOD, name) for name in Evidence.__dataclass_fields__}
    return {each.gate: each for each in judge_all(POLICY, Evidence(**{**fields, **changes}))}


DIFFERING = replace(GOOD.parity, sample=Compared(rows=500, differing=5, max_abs_difference=1.0))
NOT_CALLABLE = replace(GOOD.manifest, columns=("a", "c", "b"))
PLANTED: dict[str, dict[str, Any]] = {
    "parity": {"parity": DIFFERING},
    "size": {"manifest": manifest(1, b"x" * 1001)},
    "memory": {"load_mb": 65.0},
    "latency": {"latency_us_p95": 101.0},
    "split": with_held(trained_until=500.0),
    "held_out": with_held(answers=wrong(LABELS, 0.15)),
    "slices": with_held(answers=wrong(LABELS, 0.4, where=SITE == "oslo")),
    "fairness": with_held(answers=np.where(SEX == "f", 1, LABELS)),
    "signature": {"manifest": NOT_CALLABLE},
    "licence": {"licence": "CC-BY-NC-4.0"},
    "operators": {"operators": ("Add", "Loop", "MatMul")},
    "own business": {"own": ()},
}


def test_a_good_model_passes_every_gate() -> None:
    found = judged()
    assert set(found) == set(PLANTED)
    assert [name for name, each in found.items() if not each.passed] == []


@pytest.mark.parametrize("gate", PLANTED)
def test_a_planted_bad_model_is_stopped_by_its_gate_with_evidence_and_a_remedy(gate: str) -> None:
    verdict = judged(**PLANTED[gate])[gate]
    assert not verdict.passed
    assert verdict.detail
    assert verdict.remedy or gate == "parity"


def test_without_a_policy_only_parity_and_the_pushed_evidence_are_judged() -> None:
    bare = evidence()
    assert [each.gate for each in judge_all(GatePolicy(), bare)] == ["parity"]
    found = judge_all(GatePolicy(), evidence(held_out=held(wrong(LABELS, 0.5))))
    assert [(each.gate, each.passed) for each in found] == [("parity", True), ("held_out", True)]


def test_without_a_policy_a_version_worse_than_the_champion_is_stopped_too() -> None:
    worse = held(wrong(LABELS, 0.12), champion=wrong(LABELS, 0.05, seed=2), champion_name="v1")
    verdict = judge_all(GatePolicy(), evidence(held_out=worse))[1]
    assert not verdict.passed
    assert "v1 reaches 0.961" in verdict.detail


def test_rows_with_a_time_need_a_split_by_time() -> None:
    assert judged(**with_held(trained_until=None))["split"].detail.endswith("it is not said when the training rows end")
    assert "501 of 1000" in judged(**with_held(trained_until=500.0))["split"].detail


def test_a_model_that_fails_only_on_its_newest_fifth_is_stopped() -> None:
    newest = np.arange(ROWS) >= 800
    verdict = judged(**with_held(answers=wrong(LABELS, 0.3, where=newest), groups={"sex": SEX}))["slices"]
    assert not verdict.passed
    assert "time=5/5" in verdict.detail


def test_small_slices_and_groups_are_left_out_and_counted() -> None:
    rare = np.where(np.arange(ROWS) < 5, "rare", "common")
    found = judged(**with_held(groups={"sex": np.where(rare == "rare", "x", SEX), "site": rare}, times=None))
    assert "2 are too small" in found["slices"].detail
    assert "1 groups are too small" in found["fairness"].detail


def test_a_regression_is_judged_by_its_own_error_and_against_the_champion() -> None:
    truth = RNG.normal(size=ROWS)
    policy = GatePolicy(held_out=HeldOutPolicy(max_error=0.2, max_worse=0.1))

    def verdict(error: float, champion: float) -> GateVerdict:
        rows = HeldOut("regression", truth, truth + error, champion=truth - champion, champion_name="v1")
        return judge_all(policy, evidence(held_out=rows))[1]

    assert verdict(0.1, 0.1).passed
    assert not verdict(0.3, 0.3).passed, "beyond the limit"
    worse = verdict(0.15, 0.1)
    assert not worse.passed, "50 % more error than the champion"
    assert worse.evidence["mean_absolute_error"] == pytest.approx(0.15)


def test_the_power_of_an_accuracy_gate_equals_its_stated_power() -> None:
    """Models that truly lie below the limit by the margin are stopped in 95 % of draws, within chance."""
    rows, limit = 400, 0.9
    below = limit - margin(float(np.sqrt(limit * (1 - limit))), rows)
    draws = np.random.default_rng(0).random((2000, rows)) < below
    stopped = (draws.mean(axis=1) < limit).mean()
    assert 0.92 < stopped < 0.99
    assert "points with 95 %" in judged()["held_out"].power


@pytest.mark.parametrize(("rows", "allowed"), [(60, 0), (500, 0), (2000, 2)])
def test_the_power_of_parity_is_the_exact_binomial_bound(rows: int, allowed: int) -> None:
    rate = detectable_rate(rows, allowed)
    caught = (np.random.default_rng(0).binomial(rows, rate, 20_000) > allowed).mean()
    assert caught == pytest.approx(0.95, abs=0.01)
    assert detectable_rate(0, 0) == 1.0


def test_fairness_measures_are_those_of_fairlearn() -> None:
    """By hand: group a selects 2 of 4 (1 of 2 true, 1 of 2 false), group b 1 of 4 (1 of 2 true, 0 of 2 false)."""
    groups = np.array(list("aaaabbbb"))
    labels = np.array([1, 1, 0, 0, 1, 1, 0, 0], dtype=bool)
    answers = np.array([1, 0, 1, 0, 1, 0, 0, 0], dtype=bool)
    rates = rates_of(labels, answers, groups)
    found = {name: call(rates) for name, call in MEASURES.items()}
    assert found == {
        "demographic_parity_difference": 0.25,
        "demographic_parity_ratio": 0.5,
        "equalized_odds_difference": 0.5,
        "equalized_odds_ratio": 0.0,
        "equal_opportunity_difference": 0.0,
    }


@pytest.mark.skipif(not TOOLS.exists(), reason="no Fairlearn here: make export-tools")
def test_fairness_measures_agree_with_fairlearn_itself() -> None:
    answers = wrong(LABELS, 0.3)
    script = """
import sys, json, fairlearn.metrics as metrics
names, labels, answers, groups = json.loads(sys.argv[1])
print(json.dumps({each: getattr(metrics, each)(labels, answers, sensitive_features=groups) for each in names}))
"""
    given = json.dumps([list(MEASURES), LABELS.tolist(), answers.tolist(), SITE.tolist()])
    done = subprocess.run([TOOLS, "-W", "ignore", "-c", script, given], capture_output=True, text=True, timeout=120)
    rates = rates_of(LABELS == 1, answers == 1, SITE)
    assert json.loads(done.stdout) == pytest.approx({name: call(rates) for name, call in MEASURES.items()})


def test_an_unknown_key_in_a_policy_file_is_refused() -> None:
    import tomllib

    text = 'max_size_bytes = 1000\n[held_out]\nmin_accuracy = 0.9\n[fairness]\ngroups = ["sex"]\n'
    policy = msgspec.convert(tomllib.loads(text), GatePolicy)
    assert (policy.held_out.min_accuracy, policy.fairness.groups) == (0.9, ("sex",))
    for wrong_text in ("max_sise_bytes = 1", "[held_out]\nmin_accuracy = 90", "max_size_bytes = 0"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(tomllib.loads(wrong_text), GatePolicy)
