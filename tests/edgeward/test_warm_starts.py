"""Warm starts: which estimators continue from the champion's, and the reason why others start again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import edgeward
from contract.errors import BadInput
from edgeward.answers.retraining import Claimed
from edgeward.pipelines.pipeline import load_pipeline
from edgeward.retraining import kept
from edgeward.retraining.kept import KeptEstimators, champion_file
from edgeward.retraining.warm import fit_from
from edgeward.retraining.worker import Worker
from tests.edgeward.test_retraining_worker import ATTEMPT, POLICY, PlayedController

X = np.random.default_rng(1).normal(size=(300, 3))
Y = (X.sum(axis=1) > 0).astype(np.int64)
OLD, NEW = slice(0, 150), slice(150, 300)


def champion(tmp_path: Path, estimator: Any) -> str:
    """The file of an estimator that has learnt from the older half."""
    path = tmp_path / "champion.skops"
    skops.io.dump(estimator.fit(X[OLD], Y[OLD]), path)
    return str(path)


def started(tmp_path: Path, estimator: Any, rows: Any = X[NEW], labels: Any = Y[NEW]) -> tuple[Any, str]:
    fitted, start = fit_from(champion(tmp_path, estimator), estimator, rows, labels, epochs=2)
    return fitted, str(start)


def test_a_network_continues_for_some_epochs_behind_the_champions_own_scaler(tmp_path: Path) -> None:
    network = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    fitted, said = started(tmp_path, network, X[NEW] + 5)
    assert said == "partial_fit, epochs: 2"
    assert fitted[0].mean_ == pytest.approx(X[OLD].mean(axis=0))
    assert not np.array_equal(fitted[1].coef_, network[1].coef_)


def test_counters_of_rows_count_each_row_once(tmp_path: Path) -> None:
    fitted, said = started(tmp_path, GaussianNB())
    assert said == "partial_fit, epochs: 1"
    assert fitted.class_count_.sum() == 300


def test_a_forest_replaces_its_oldest_trees_and_keeps_its_size(tmp_path: Path) -> None:
    forest = RandomForestClassifier(8, random_state=0)
    fitted, said = started(tmp_path, forest)
    assert said == "new trees: 2"
    assert len(fitted.estimators_) == fitted.n_estimators == 8
    stayed = [tree.tree_.threshold.tolist() for tree in fitted.estimators_[:6]]
    assert stayed == [tree.tree_.threshold.tolist() for tree in forest.estimators_[2:]]


def test_boosting_grows_to_twice_its_size_and_then_starts_anew(tmp_path: Path) -> None:
    small = GradientBoostingClassifier(n_estimators=5, random_state=0)
    grown, said = started(tmp_path, small)
    assert (grown.n_estimators, said) == (6, "more trees: 1")
    large = GradientBoostingClassifier(n_estimators=10, random_state=0)
    anew, start = fit_from(champion(tmp_path, large), small, X[NEW], Y[NEW])
    assert (anew.n_estimators, str(start)) == (5, "cold: 10 trees are 2 times as many as anew")


def test_a_regression_starts_from_the_champions_weights(tmp_path: Path) -> None:
    assert started(tmp_path, LogisticRegression())[1] == "warm_start, from its weights"


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (HistGradientBoostingClassifier(max_iter=3), "HistGradientBoostingClassifier cannot go on"),
        (MLPClassifier((2,), max_iter=2, early_stopping=True), "early_stopping"),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic")
def test_a_kind_that_cannot_continue_starts_anew_and_says_so(tmp_path: Path, estimator: Any, why: str) -> None:
    fitted, said = started(tmp_path, estimator)
    assert said.startswith("cold: ")
    assert why in said
    assert fitted.predict(X[:1]).shape == (1,)


def test_another_estimator_other_columns_and_a_new_label_start_anew(tmp_path: Path) -> None:
    file = champion(tmp_path, GaussianNB())
    for asked, rows, labels, why in (
        (GaussianNB(var_smoothing=0.1), X[NEW], Y[NEW], "other parameters"),
        (LogisticRegression(), X[NEW], Y[NEW], "another estimator"),
        (GaussianNB(), X[NEW, :2], Y[NEW], "2 columns"),
        (GaussianNB(), X[NEW], Y[NEW] + 1, "does not know the label 2"),
    ):
        fitted, start = fit_from(file, asked, rows, labels)
        assert why in str(start)
        assert fitted.n_features_in_ == rows.shape[1]


def test_a_truncated_file_and_one_with_foreign_types_are_not_used_as_a_start(tmp_path: Path) -> None:
    file = Path(champion(tmp_path, GaussianNB()))
    file.write_bytes(file.read_bytes()[:100])
    assert "cannot be read" in str(fit_from(str(file), GaussianNB(), X, Y)[1])
    skops.io.dump({"path": Path("x"), "model": GaussianNB().fit(X, Y), "own": KeptEstimators(tmp_path)}, file)
    assert "the champion's file holds" in str(fit_from(str(file), GaussianNB(), X, Y)[1])


class Registry(PlayedController):
    """A controller that knows versions and deletions too. `tags` are those of the champion, v3."""

    def __init__(self, tags: dict[str, str] | None = None, deleted: dict[int, str] | None = None) -> None:
        super().__init__()
        self.tags, self.deleted = tags or {}, deleted or {}

    def claim_retraining(self, worker: str, models: list[str]) -> Claimed:
        return Claimed.read({"retraining": ATTEMPT, "policy": POLICY | {"start": "warm"}})

    def version(self, model: str, release: int) -> Any:
        lineage = type("L", (), {"tags": self.tags if release == 3 else {}, "parent": release - 1})
        return type("V", (), {"model": model, "release": release, "digest": f"{release:064x}", "lineage": lineage})

    def deletions(self) -> Any:
        trained = [type("T", (), {"model": "m", "release": each}) for each in self.deleted]
        return [type("D", (), {"id": "e-1", "trained": trained})]

    def push(self, model: Any, **options: Any) -> Any:
        super().push(model, **options)
        return type("P", (), {"digest": f"{4:064x}"})


PIPELINE = """
import numpy as np
from sklearn.naive_bayes import GaussianNB
from edgeward.held_out import HeldOut
from edgeward.pipelines.pipeline import Pipeline
from edgeward.pipelines.step import step
from edgeward.retraining.candidate import Candidate
from edgeward.retraining.warm import fit_from


@step
def candidate({parameter}) -> Candidate:
    rows = np.array([[0.0], [1.0]])
    model, start = fit_from({given}, GaussianNB(), rows, [0, 1])
    return Candidate(model, rows, HeldOut(rows, np.zeros(2), np.arange(2.0), 0), start=start)


pipeline = Pipeline("again", [candidate])
"""


def run_here(place: str, params: dict[str, Any], *_: Any, **__: Any) -> Any:
    """A pipeline of one step in this process: three children would take three seconds to import scikit-learn."""
    pipeline = load_pipeline(place)
    found = pipeline.steps["candidate"](**pipeline.bind(params)["candidate"])
    return type("R", (), {"outputs": {"candidate": found}, "metrics": {}})


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeward.retraining.worker.run_pipeline", run_here)


def worked(tmp_path: Path, registry: Registry, parameter: str = "warm_from: str") -> dict[str, Any]:
    """Returns the pushes of the worker."""
    given = "warm_from" if parameter else "''"
    file = tmp_path / f"warm_{tmp_path.name.replace('-', '_')}_{bool(parameter)}.py"
    file.write_text(PIPELINE.format(parameter=parameter, given=given))
    Worker(registry, "lab", {"m": str(file)}, {}, tmp_path / "runs").work_once()  # type: ignore[arg-type]
    assert registry.failed == []
    return registry.pushed[0]


@pytest.mark.usefixtures("_in_this_process")
def test_a_worker_passes_on_its_stored_estimator_and_reports_how_the_training_started(tmp_path: Path) -> None:
    first = worked(tmp_path, Registry())
    assert first["start"].startswith("cold: this worker has not kept the estimator of v3")
    KeptEstimators(tmp_path / "runs").path(f"{4:064x}").rename(tmp_path / "runs/estimators" / f"{3:064x}.skops")
    second = worked(tmp_path, Registry())
    assert second["start"] == second["tags"]["start"] == "warm from v3: partial_fit, epochs: 1"
    assert second["model"].class_count_.sum() == 4


@pytest.mark.usefixtures("_in_this_process")
def test_a_pipeline_without_the_parameter_says_that_it_starts_anew(tmp_path: Path) -> None:
    said = worked(tmp_path, Registry(), parameter="")["start"]
    assert said == "cold: pipeline again has no parameter warm_from"


def test_a_champion_that_learnt_from_deleted_rows_and_its_successors_are_not_used_as_a_start(tmp_path: Path) -> None:
    estimators = KeptEstimators(tmp_path)
    for tags, deleted, why in (
        ({}, {3: "e-1"}, "v3 was trained on rows that deletion e-1 has deleted"),
        ({"start": "warm from v2"}, {2: "e-1"}, "v2 was trained on rows"),
        ({"start": "cold: the first"}, {2: "e-1"}, ""),
    ):
        estimators.keep(f"{3:064x}", GaussianNB().fit(X, Y))
        path, said = champion_file(Registry(tags, deleted), estimators, "m", 3)  # type: ignore[arg-type]
        assert said.startswith(why)
        assert bool(path) == (not why) == estimators.path(f"{3:064x}").exists()


def test_only_the_newest_estimators_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT", 2)
    estimators = KeptEstimators(tmp_path)
    for number in range(4):
        estimators.keep(str(number), GaussianNB().fit(X, Y))
    assert sorted(each.stem for each in (tmp_path / "estimators").iterdir()) == ["2", "3"]
    with pytest.raises(BadInput, match="cannot be kept"):
        estimators.keep("no", (each for each in ()))


def test_the_kind_of_start_is_among_the_numbers_of_the_run(tmp_path: Path) -> None:
    file = champion(tmp_path, GaussianNB())
    with edgeward.run("again", directory=tmp_path / "runs") as opened:
        fit_from(file, GaussianNB(), X[NEW], Y[NEW])
    assert opened.record.metrics == {"warm_start": 1.0, "warm_epochs": 1.0, "warm_trees": 0.0}
