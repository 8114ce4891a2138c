"""Rows with equally likely classes: ONNX gives the label of scikit-learn; where it cannot, no other row may differ."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as replace_fields
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from contract.answers.recorded import Recorded, decode_recorded
from contract.tensors import Array
from controller.convert import precision, sklearn
from controller.convert.judge import judge_conversion
from controller.convert.model_file import parse_model
from controller.convert.precision import Judged
from controller.gates.parity import NOTHING, Compared, Parity, answers_strictly, judge_parity
from edgeward.encode import encode_rows
from edgeward.recording import with_answers
from tests.controller.judged import BUDGET_S, answers, judged, passes

RNG = np.random.default_rng(0)
X = RNG.integers(0, 5, size=(300, 4)).astype(float)
NOISE = RNG.integers(-1, 2, 300)
TWO = (X[:, 0] + X[:, 1] + NOISE > 4).astype(int)
NAMES = np.array(["calm", "odd", "wildest"])[np.digitize(X[:, 0] + X[:, 1] + NOISE, [3, 6])]
FRESH = RNG.integers(0, 6, size=(1500, 4)).astype(float)
TREES = [("one", DecisionTreeClassifier(random_state=0)), ("two", DecisionTreeClassifier(max_features=2))]


def scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


def ties_among(model: Any, rows: Array) -> int:
    best = np.sort(model.predict_proba(rows), axis=1)
    return int((best[:, -1] - best[:, -2] < 1e-12).sum())


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (scaled(RandomForestClassifier(10, random_state=0)), TWO),
        (scaled(RandomForestClassifier(10, random_state=0)), NAMES),
        (scaled(ExtraTreesClassifier(6, max_depth=4, random_state=0)), TWO),
        (scaled(ExtraTreesClassifier(6, max_depth=4, random_state=0)), NAMES),
        (RandomForestClassifier(4, random_state=0), TWO),
        (RandomForestClassifier(4, max_depth=3, class_weight="balanced", random_state=0), NAMES),
        (DecisionTreeClassifier(min_samples_leaf=2, class_weight="balanced", random_state=0), TWO),
        (scaled(VotingClassifier(TREES, voting="soft")), NAMES),
        (scaled(VotingClassifier([*TREES, ("g", GaussianNB())], voting="soft", weights=[1, 1, 2])), TWO),
    ],
    ids=lambda given: "pipeline" if hasattr(given, "steps") else type(given).__name__,
)
def test_a_tie_gets_the_label_of_scikit_learn_on_rows_that_nobody_tried(model: Any, labels: Array) -> None:
    model.fit(X[:150], labels[:150])
    found = judged(model, X[150:])
    assert answers_strictly(found.parity)
    assert found.parity.ties == 0
    label, scores = answers(found, FRESH).values()
    np.testing.assert_array_equal(label, model.predict(FRESH))
    np.testing.assert_allclose(scores, model.predict_proba(FRESH), atol=1e-6)


def test_there_are_ties_among_the_rows_of_these_tests() -> None:
    forest = scaled(RandomForestClassifier(10, random_state=0)).fit(X[:150], TWO[:150])
    assert ties_among(forest, FRESH) > 20


def test_hard_votes_add_weights_as_scikit_learn_does() -> None:
    voting = VotingClassifier([*TREES, ("g", GaussianNB())], weights=[0.1, 0.2, 0.3])
    found = judged(voting.fit(X[:150], TWO[:150]), X[150:])
    assert answers_strictly(found.parity)
    np.testing.assert_array_equal(answers(found, FRESH)["label"], voting.predict(FRESH))


def test_an_even_number_of_neighbours_gives_ties_the_label_of_scikit_learn() -> None:
    rows = RNG.normal(size=(300, 3))
    model = scaled(KNeighborsClassifier(4)).fit(rows[:150], (rows[:150, 0] > 0).astype(int))
    found, fresh = judged(model, rows[150:]), RNG.normal(size=(500, 3))
    assert ties_among(model, fresh) > 20
    assert answers_strictly(found.parity)
    label, _ = answers(found, fresh).values()
    np.testing.assert_array_equal(label, model.predict(fresh))


def recorded_with(model: Any, change: Callable[[Array, Array], Array]) -> Judged:
    """Returns the push of a model whose recorded labels, by (labels, probabilities), are changed."""
    plain, recorded = decode_recorded(with_answers(model, X[150:], encode_rows(X[150:]), waived=False))
    assert isinstance(recorded, Recorded)
    every = [recorded.answers, recorded.row_answers]
    made = [{**each, "predict": change(each["predict"], each["predict_proba"])} for each in every]
    theirs = replace(recorded, answers=made[0], row_answers=made[1])
    return judge_conversion(model, plain, theirs, budget_s=BUDGET_S)


def other_label_of_ties(labels: Array, probabilities: Array) -> Array:
    """The labels of a forest whose threads add its trees in another order."""
    return np.where(np.abs(probabilities[:, 0] - 0.5) < 1e-12, 1 - labels, labels)


def test_ties_that_another_order_of_trees_decides_are_accepted_and_counted() -> None:
    model = scaled(RandomForestClassifier(10, random_state=0)).fit(X[:150], TWO[:150])
    found = recorded_with(model, other_label_of_ties)
    assert passes(found)
    assert found.parity.ties > 5
    assert found.parity.differing == 0
    assert found.real == "float64"
    words = judge_parity(found.parity).detail
    assert f"{found.parity.ties} more rows have equally likely classes, up to rounding" in words


@pytest.mark.parametrize("in_sample", [True, False], ids=["of the sample", "that tries the model"])
def test_a_label_that_differs_on_any_other_row_is_refused(in_sample: bool) -> None:
    model = scaled(RandomForestClassifier(10, random_state=0)).fit(X[:150], TWO[:150])

    def and_one_more(labels: Array, probabilities: Array) -> Array:
        changed = other_label_of_ties(labels, probabilities)
        if (len(labels) == 150) is in_sample:
            sure = np.flatnonzero(np.abs(probabilities[:, 0] - 0.5) > 0.05)[0]
            changed[sure] = 1 - changed[sure]
        return changed

    found = recorded_with(model, and_one_more)
    assert not passes(found)
    # a sample that contradicts itself says nothing about which score is which class: then no row counts as tied
    assert (found.parity.differing > 5, found.parity.ties) == (True, 0) if in_sample else (found.parity.differing == 1)


def swapped(made: Any) -> None:
    """Names each class by another one."""
    for tensor in made.graph.initializer:
        if tensor.data_type == 7 and list(tensor.int64_data or np.frombuffer(tensor.raw_data, np.int64)) == [0, 1]:
            tensor.raw_data = np.array([1, 0], np.int64).tobytes()


def without_a_threshold(made: Any) -> None:
    """Moves the first threshold of a forest."""
    for attribute in (each for node in made.graph.node for each in node.attribute):
        if attribute.name == "nodes_values":
            attribute.floats[0] = -5.0
        if attribute.name == "nodes_values_as_tensor":
            values = np.frombuffer(attribute.t.raw_data, np.float64).copy()
            values[0] = -5.0
            attribute.t.raw_data = values.tobytes()


@pytest.mark.parametrize("fault", [swapped, without_a_threshold])
def test_a_planted_fault_is_found_among_ties(fault: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    model = scaled(RandomForestClassifier(4, max_depth=3, random_state=0)).fit(X[:150], TWO[:150])
    real = sklearn.convert_sklearn

    def faulty(*arguments: Any, **options: Any) -> Any:
        made = real(*arguments, **options)
        before = made.SerializeToString()
        fault(made)
        assert made.SerializeToString() != before
        return made

    monkeypatch.setattr(sklearn, "convert_sklearn", faulty)
    assert not passes(judged(model, X[150:]))


def form(real: str, *, differing: int = 0, ties: int = 0, required: tuple[str, ...] | None = ()) -> Judged:
    sample = Compared(rows=100, differing=differing, max_abs_difference=3e-8, ties=ties)
    parity = Parity(reference="scikit-learn", precision=real, sample=sample, boundary=NOTHING)
    rows: Any = None
    return Judged(b"", real, rows, parity, {}, None, required)


@pytest.mark.parametrize(
    ("forms", "chosen"),
    [
        ([form("float32", ties=22), form("float64")], 1),
        ([form("float32", ties=1), form("float64", ties=9)], 1),
        ([form("float32", ties=9), form("float64", ties=1, required=None)], 0),
        ([form("float32", ties=9), form("float64", differing=1, ties=1)], 0),
        ([form("float32", differing=5, ties=9), form("float64", differing=3, ties=9)], 1),
    ],
    ids=["strict first", "float64 of two", "one that takes missing numbers", "nothing but ties", "fewest that differ"],
)
def test_a_form_with_ties_is_the_last_resort(forms: list[Judged], chosen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {each.real: each for each in forms}
    monkeypatch.setattr(precision, "precisions_for", lambda *_: ("float32", "float64"))
    monkeypatch.setattr(precision, "_judge", lambda _, __, tried: made[tried])
    monkeypatch.setattr(precision, "_with_witness", lambda _, __, parity: parity)
    reference: Any = type("Reference", (), {"sample": type("Sample", (), {"rows": None})})
    found = precision.best_precision(None, reference, BUDGET_S)
    assert found.parity == replace_fields(forms[chosen].parity, untried=())


def test_a_form_in_float64_repeats_the_trees_of_shared_leaves_for_each_class() -> None:
    model = RandomForestClassifier(4, max_depth=3, random_state=0).fit(X, TWO)
    raw = sklearn.convert(model, judged(model, X).rows, "float64")
    (trees,) = (node for node in parse_model(raw).graph.node if node.op_type == "TreeEnsemble")
    given = {each.name: each for each in trees.attribute}
    assert len(given["tree_roots"].ints) == 2 * 4
    assert given["n_targets"].i == 2
