"""Rows with equally likely classes: which labels are right, and which differences are still found."""

import numpy as np
import pytest
from msgspec.structs import replace

from contract.golden import join_golden, mismatched_rows, missed_in_steps, with_ties, with_tolerances
from contract.manifest import Manifest
from contract.tensors import Array, decode_tensors, encode_tensors
from contract.ties import among, rounding, ties_of
from firmware_sim.models import make_model

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8], [0.5, 0.5, 0.0], [0.4, 0.2, 0.4]])
LABELS = np.array(["calm", "odd", "wild", "calm", "calm"])
EXACT = rounding(10, "float64")


def right(scores: Array = SCORES, labels: Array = LABELS, relative: float = EXACT) -> list[set[str]]:
    ties = ties_of({"label": labels, "scores": scores}, relative)
    found = {} if ties is None else ties.permitted({"label": labels, "scores": scores})
    return [set(row) for row in found.get("label", labels[:, None]).tolist()]


def test_only_the_classes_with_the_best_score_are_right() -> None:
    assert right() == [{"calm"}, {"odd"}, {"wild"}, {"calm", "odd"}, {"calm", "wild"}]


def test_a_class_is_as_likely_up_to_rounding_of_its_floats_and_no_more() -> None:
    beside = SCORES.copy()
    beside[3, 1] += 3e-8
    assert right(beside)[3] == {"calm"}
    assert right(beside, relative=rounding(10, "float32"))[3] == {"calm", "odd"}
    assert rounding(100, "float32") < 1e-5
    assert rounding(100, "float64") < 1e-14


def test_margins_are_tied_where_they_are_zero() -> None:
    margins, labels = np.array([-2.0, 3.0, 0.0, 1e-3]), np.array([0, 1, 0, 1])
    ties = ties_of({"label": labels, "scores": margins}, EXACT)
    assert ties is not None
    found = ties.permitted({"label": labels, "scores": margins})["label"]
    assert [set(row) for row in found.tolist()] == [{0}, {1}, {0, 1}, {1}]


def test_nothing_is_tied_where_labels_do_not_follow_the_scores() -> None:
    assert ties_of({"label": np.array(["odd", "calm", "calm", "odd", "calm"]), "scores": SCORES}, EXACT) is None
    assert ties_of({"numbers": SCORES[:, 0], "scores": SCORES}, EXACT) is None
    assert ties_of({"label": LABELS}, EXACT) is None


def test_a_label_of_no_best_class_has_no_other_right_label() -> None:
    ties = ties_of({"label": LABELS, "scores": SCORES}, EXACT)
    assert ties is not None
    odd = np.array(["calm", "odd", "wild", "wild", "odd"])
    assert ties.permitted({"label": odd, "scores": SCORES}) == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_ties_with_nothing(bad: float) -> None:
    scores = SCORES.copy()
    scores[3] = [bad, 0.5, 0.0]
    assert right(scores)[3] == {"calm"}


def test_whole_numbers_and_texts_are_labels() -> None:
    assert among(np.array([0, 2, 1]), np.array([[0, 1], [0, 1], [1, 1]])).tolist() == [True, False, True]


def golden_of() -> tuple[dict[str, Array], list[Array]]:
    """A golden set of two rows, of which the second has equally likely classes, and its answers."""
    outputs = {"label": np.array([0, 0]), "scores": np.array([[0.9, 0.1], [0.5, 0.5]], dtype=np.float32)}
    seen = {"label": np.array([0, 1]), "scores": np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)}
    tied = with_ties(outputs, ties_of(seen, rounding(10, "float32")))
    golden = join_golden({}, outputs) | with_tolerances(outputs, alone=False) | tied
    return decode_tensors(encode_tensors(golden)), list(outputs.values())


def manifest_of() -> Manifest:
    simulated = make_model(1, "good").manifest
    outputs = tuple(replace(simulated.outputs[0], name=name) for name in ("label", "scores"))
    inputs = (replace(simulated.inputs[0], name="X", shape=(-1, 1)),)
    return replace(simulated, inputs=inputs, outputs=outputs, golden=replace(simulated.golden, rows=2))


@pytest.mark.parametrize(("answered", "missed"), [([0, 0], 0), ([0, 1], 0), ([1, 0], 1), ([1, 1], 1), ([0, 2], 1)])
def test_a_device_may_answer_either_label_of_a_tie_and_no_other(answered: list[int], missed: int) -> None:
    golden, (labels, scores) = golden_of()
    manifest = manifest_of()
    assert mismatched_rows([labels, scores], [np.array(answered), scores], manifest.golden, golden, manifest) == missed
    assert in_steps(np.array(answered), scores, golden) == missed


def in_steps(answered: Array, scores: Array, golden: dict[str, Array]) -> int:
    """How many rows differ where each is answered alone: a row's number is its input."""

    def run(inputs: dict[str, Array]) -> list[Array]:
        rows = inputs["X"][:, 0].astype(int)
        return [answered[rows], scores[rows]]

    rows = {"X": np.arange(2.0)[:, None]}
    steps = missed_in_steps(run, rows, golden | join_golden(rows, {}), manifest_of())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return int(end.value)


def test_the_scores_of_a_tie_must_agree_as_those_of_any_row() -> None:
    golden, (labels, scores) = golden_of()
    manifest, off = manifest_of(), scores + np.array([[0, 0], [0.1, -0.1]], dtype=np.float32)
    assert mismatched_rows([labels, scores], [np.array([0, 1]), off], manifest.golden, golden, manifest) == 1
