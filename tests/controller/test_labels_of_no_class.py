"""Classes are read from the pushed model, and held-out labels of unknown classes are refused or counted in words."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from contract.errors import BadInput, Code
from contract.labels import plain_label
from controller.config import Config, StorageConfig
from controller.convert.classes import certain, classes_of_estimator, classes_of_graph
from controller.drift.labelled import labelled_blocks, unknown_label_rates
from controller.drift.signals import breach_signals
from controller.gates.evidence import HeldOut as Answered
from controller.gates.fairness import judge_fairness
from controller.gates.held_out import judge_held_out
from controller.gates.policy import GatePolicy
from controller.state import State, open_state
from edgeward.held_out import HeldOut
from tests.controller.gate_cases import FAIR, LABELS, SITE, flipped, held
from tests.controller.registry_worlds import plant, pushed, threshold_model
from tests.controller.test_gates_of_a_push import X, Y, brought
from tests.controller.test_quality_estimate import CONFIDENCE_EDGES, NOW, WEEK_S, Blocks, Shape, captured

__all__ = ["plant"]
TEXTS = np.where(Y == 1, "yes", "no")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    yield made
    made.close()


@pytest.mark.parametrize(("labels", "classes"), [(Y, ("0", "1")), (TEXTS, ("no", "yes")), (Y == 1, ("False", "True"))])
def test_the_classes_of_an_estimator_are_returned_as_text(labels: Any, classes: tuple[str, ...]) -> None:
    assert classes_of_estimator(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, labels)) == classes


def test_an_estimator_without_one_list_of_classes_has_no_known_classes() -> None:
    several = DecisionTreeClassifier(max_depth=2).fit(X, np.stack([Y, np.arange(400) % 3], axis=1))
    many = type("Many", (), {"classes_": np.arange(257)})()
    assert [classes_of_estimator(each) for each in (several, many, object())] == [(), (), ()]


@pytest.mark.parametrize(("labels", "classes"), [(Y, ("0", "1")), (TEXTS, ("no", "yes"))])
def test_the_classes_of_a_pushed_graph_are_those_of_its_classifier(labels: Any, classes: tuple[str, ...]) -> None:
    from skl2onnx import to_onnx

    graph = to_onnx(
        LogisticRegression().fit(X, labels), X[:1], options={LogisticRegression: {"zipmap": False}}
    ).SerializeToString()
    assert classes_of_graph(graph) == classes
    assert classes_of_graph(threshold_model((1.0, 1.0, 1.0)).forms[""][0].path) == ()


def test_classes_that_the_graph_does_not_output_are_ignored() -> None:
    assert certain(("no", "yes"), np.array(["yes", "no"])) == ("no", "yes")
    assert certain(("False", "True"), np.array([0, 1])) == ("False", "True")
    assert certain(("no", "yes"), np.array([0, 1])) == ()


@pytest.mark.parametrize("spelled", [LABELS.astype(float), LABELS.astype(str), LABELS == 1, LABELS.astype(object)])
def test_held_out_labels_in_any_spelling_are_the_same_labels(spelled: Any) -> None:
    found = judge_held_out(GatePolicy(), held(labels=spelled))
    assert found is not None
    assert found.evidence["accuracy"] == 1.0


def test_groups_are_judged_by_the_positive_label_in_any_spelling() -> None:
    plain, spelled = (
        judge_fairness(GatePolicy(fairness=FAIR), held(3, labels=labels)) for labels in (LABELS, LABELS.astype(float))
    )
    assert plain == spelled


def test_some_labels_of_unknown_classes_count_as_wrong_and_the_verdict_gives_their_number() -> None:
    labels = LABELS.astype("<U8")
    labels[:3] = ["neu", "neu", "Mittl"]
    found = judge_held_out(GatePolicy(), held(labels=labels, classes=("0", "1")))
    assert found is not None
    assert found.evidence["accuracy"] == 0.925
    words = "3 of them have a label that is no class of the version ('neu', 'Mittl') and count as wrong"
    assert words in found.detail
    unknown = Answered(task="classification", labels=labels, answers=flipped(), groups={"site": SITE}).unknown
    assert unknown == {}, "its classes are not known"


def test_held_out_rows_without_any_label_of_the_model_are_refused_in_words(
    state: State, plant: Any, tmp_path: Path
) -> None:
    made = threshold_model((1.0, 1.0, 1.0))
    plant(replace(made, answer=msgspec.structs.replace(made.answer, classes=("0", "1"))))
    with pytest.raises(BadInput) as refused:
        pushed(state, tmp_path, brought=brought(tmp_path, HeldOut(X, np.array(["x"] * 400))))
    assert refused.value.code == Code.LABEL_UNKNOWN
    assert refused.value.detail == (
        "none of the 400 held-out labels is a class of the model: they say 'x', it answers '0', '1'"
    )
    assert state.registry.models() == []
    version = pushed(state, tmp_path, brought=brought(tmp_path, HeldOut(X, Y.astype(float)))).version
    assert version.manifest.classes == ("0", "1")
    assert version.gates[1].evidence["accuracy"] == 1.0


def test_many_labels_of_unknown_classes_are_a_breach_of_the_data_contract_and_one_is_not() -> None:
    blocks = Blocks(NOW, WEEK_S, {0: Shape(outputs=(0,) * 12 + (99,))})
    classes = frozenset(map(plain_label, ("a", "b")))
    rows = [captured(NOW - 60, label="a") for _ in range(30)]
    one = [*rows, captured(NOW - 60, label="Mittl")]
    many = [*rows, *(captured(NOW - 60, label="neu") for _ in range(10))]
    old = [*rows, *(captured(NOW - WEEK_S - 60, label="neu") for _ in range(10))]
    assert [unknown_label_rates(each, 1, blocks, classes) for each in (one, old)] == [[], []]
    assert unknown_label_rates(many, 1, blocks, frozenset()) == []
    (found,) = unknown_label_rates(many, 1, blocks, classes)
    assert (found.breaches, found.rows, found.is_beyond) == (10, 40, True)
    (signal,) = breach_signals("m", [found])
    assert signal.why == "10 of 40 cells of _label are of no known class"


def test_captured_rows_with_a_label_of_an_unknown_class_do_not_change_the_estimate_of_quality() -> None:
    rows = [captured(NOW - 60, label=label) for label in ("a", "a", "b", "Mittl")]
    blocks = Blocks(NOW, WEEK_S, {0: Shape(outputs=(0,) * 12 + (99,))})
    all_rows, known = (
        labelled_blocks(rows, CONFIDENCE_EDGES, blocks, 1, classes)[0]
        for classes in (frozenset(), frozenset(map(plain_label, ("a", "b"))))
    )
    assert all_rows is not None
    assert known is not None
    assert (all_rows.rows.sum(), known.rows.sum()) == (4, 3)
    assert (all_rows.right.sum(), known.right.sum()) == (2, 2)
