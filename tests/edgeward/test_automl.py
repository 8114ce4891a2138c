"""A search under a device's limits: rows and splits, the front, what is measured and recorded, a teacher."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from contract.errors import BadInput, Code
from edgeward.answers.tried import Tried
from edgeward.automl.distil import Teacher, read_teacher
from edgeward.automl.folds import read_rows, task_of
from edgeward.automl.front import Limits, best_within, pareto_front
from edgeward.automl.trial import Trial


def trial(number: int, score: float, size_bytes: int, latency_us_p50: float = 10.0, **fields: Any) -> Trial:
    return Trial(number, "tree", {}, score=score, size_bytes=size_bytes, latency_us_p50=latency_us_p50, **fields)


def test_the_front_holds_every_candidate_that_no_other_beats_in_every_measure() -> None:
    found = [trial(0, 0.9, 500), trial(1, 0.8, 900), trial(2, 0.95, 2000), trial(3, 0.9, 500)]
    assert [each.number for each in pareto_front(found)] == [2, 0]


def test_a_trial_that_was_not_measured_is_not_on_the_front() -> None:
    skipped = trial(0, 0.99, 0, state="skipped")
    assert pareto_front([skipped, trial(1, 0.5, 100)])[0].number == 1


def test_the_best_score_within_the_limits_is_chosen_and_the_others_name_the_limit_they_exceed() -> None:
    front = pareto_front([trial(0, 0.99, 5_000_000), trial(1, 0.98, 500, 80.0), trial(2, 0.9, 400)])
    limits = Limits(max_bytes=1_000_000, max_latency_us_p50=50)
    chosen = best_within(front, limits)
    assert chosen is not None
    assert chosen.number == 2
    assert [limits.beyond(each) for each in front] == [("bytes",), ("latency",), ()]
    assert best_within(front, Limits(max_bytes=10)) is None


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 1, 1, 0], "classification"),
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([0.5, 1.25], "regression"),
        (list(range(100)), "regression"),
    ],
)
def test_the_task_is_recognised_by_the_values_of_the_target(labels: list[Any], task: str) -> None:
    assert task_of(np.asarray(labels)) == task


def test_rows_with_a_time_are_scored_only_on_later_rows() -> None:
    frame = pd.DataFrame({"at": np.arange(90)[::-1], "x": np.arange(90.0), "y": np.arange(90) % 2})
    rows = read_rows(frame, "y", time="at")
    assert "at" not in rows.features.columns
    assert rows.features["x"].tolist() == sorted(range(90), reverse=True)
    assert all(fit.max() < score.min() for fit, score in rows.folds)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"x": [1.0] * 90}), "no column 'y'"),
        (pd.DataFrame({"x": [1.0] * 9, "y": [0] * 9}), "9 rows"),
        (pd.DataFrame({"x": [1.0] * 90, "y": [0] * 90}), "there is one label"),
        (pd.DataFrame({"x": [1.0] * 90, "y": [0] * 89 + [1]}), "1 comes 1 times"),
        (pd.DataFrame({"y": [0, 1] * 45}), "there is no column to learn from"),
    ],
)
def test_rows_without_anything_to_learn_are_refused_in_words(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_rows(frame, "y")


def test_a_teacher_is_scored_on_rows_that_it_was_not_fitted_on() -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=300), "y": np.arange(300) % 2})
    teacher = Teacher(RandomForestClassifier(n_estimators=10, random_state=0))
    teacher.learn(read_rows(frame, "y"))
    assert teacher.score < 0.65  # the target is noise: one that had seen the rows would know nearly all


def test_a_pickled_teacher_is_refused(tmp_path: Path) -> None:
    (tmp_path / "teacher.pkl").write_bytes(b"")
    with pytest.raises(BadInput, match="a pickle is code"):
        read_teacher(tmp_path / "teacher.pkl")


def measured(pipeline: Any, _: Any) -> Tried:
    """A controller in a function: bytes grow with the number of trees, and forests are refused."""
    model = pipeline[-1]
    assert hasattr(model, "n_features_in_")
    trees = getattr(model, "n_estimators", getattr(model, "max_iter", 1))
    return Tried(
        task="classification", estimator=type(model).__name__, passed="Forest" not in type(model).__name__,
        detail="9 of 9 rows differ", digest="d" * 64, size_bytes=1000 * trees, latency_us_p50=5.0, latency_us_p95=6.0,
        load_s=0.1, load_mb=1.0, operators=(),
    )  # fmt: skip


@pytest.fixture
def frame() -> pd.DataFrame:
    chance = np.random.default_rng(7)
    found = pd.DataFrame(chance.normal(size=(150, 3)), columns=["a", "b", "c"])
    return found.assign(y=np.where(found.a + found.b > 0, "yes", "no"))


def test_a_search_records_each_trial_as_a_run_and_one_seed_gives_the_same_trials(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="no Optuna here: pip install 'edgeward[automl]'")
    from edgeward.automl.search import search
    from edgeward.runs.store import RunStore

    asked: dict[str, Any] = {"target": "y", "trials": 9, "minutes": 5, "seed": 3, "measure": measured}
    found, again = (search(frame, **asked, directory=tmp_path / name) for name in ("one", "two"))
    assert [each.params for each in found.trials] == [each.params for each in again.trials]
    assert {each.family for each in found.trials} >= {"linear", "tree", "forest", "boosted", "histogram", "network"}
    best = found.best
    assert best is not None
    assert best.pipeline.predict(frame[["a", "b", "c"]]).shape == (150,)
    refused = [each for each in found.trials if each.state == "failed"]
    assert all(each.reason.startswith("parity") for each in refused)
    records = {each.id: each for each in RunStore(tmp_path / "one").all()}
    assert set(records) == {each.run for each in found.trials}
    assert records[best.run].metrics["score"] == best.score
    assert records[best.run].seeds["seed"] == "3"
    assert records[best.run].tags["search"] == found.id


def test_a_student_learns_from_its_teacher_and_the_output_names_the_loss(frame: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="no Optuna here: pip install 'edgeward[automl]'")
    from edgeward.automl.search import search
    from edgeward.automl.shown import front_rows, plot_lines, sentences

    backwards = frame.assign(y=np.where(frame.y == "yes", "no", "yes"))
    contrary = LogisticRegression().fit(backwards[["a", "b", "c"]], backwards.y)
    found = search(
        frame, target="y", trials=3, minutes=5, teacher=contrary, measure=measured, directory=tmp_path / "runs"
    )
    assert found.best is not None
    assert found.best.agreement is not None
    assert found.best.agreement > 0.9
    assert any("agrees with" in line for line in sentences(found))
    assert len(front_rows(found)) >= 1
    assert all(len(line) <= 80 for line in plot_lines(found))


def test_a_wrong_target_is_reported_before_a_missing_optuna(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from edgeward.automl.search import search

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match="tarket") as refused:
        search(frame, target="tarket", measure=measured)
    assert refused.value.code is Code.REQUEST_INVALID


def test_without_optuna_the_error_names_the_command_that_installs_it(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from edgeward.automl.search import search

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match=r"edgeward\[automl\]") as refused:
        search(frame, target="y", measure=measured)
    assert refused.value.code is Code.CONFIG_INVALID
