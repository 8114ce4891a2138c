"""The comparison of an estimator with its ONNX form: what counts as different, and what is shown of it."""

from typing import Any

import numpy as np
import pytest

from contract.answers.asked import ask
from contract.tensors import Array
from contract.tolerance import OF_SPREAD, RESOLUTION, spread
from controller.convert.compare import MAX_WORST, by_output, compare, no_reference, tolerances
from controller.convert.sample_frame import SampleFrame
from controller.gates.parity import Compared, judge_parity

FIVE = SampleFrame(np.arange(10.0).reshape(5, 2), ("a", "b"), as_matrix=True)
LABELS = np.array([0, 1, 0, 1, 0])


class Classifier:
    """Answers its number of a column, and twice that as probability."""

    def predict(self, frame: Array) -> Array:
        return frame[:, 0] > 3

    def predict_proba(self, frame: Array) -> Array:
        return frame * 2


def outputs(estimator: Any, names: list[str]) -> dict[str, Array]:
    return by_output(names, ask(estimator, FIVE.frame))


def methods(**answers: float) -> Any:
    """An estimator that has these methods, each answering one number."""
    return type("Made", (), {name: lambda _, frame, n=n: np.full(len(frame), n) for name, n in answers.items()})()


def test_the_label_is_first_and_a_number_for_yes_or_no() -> None:
    found = outputs(Classifier(), ["label", "probabilities"])
    assert list(found) == ["label", "probabilities"]
    assert (found["label"].dtype, found["label"].tolist()) == (np.int64, [0, 0, 1, 1, 1])
    assert found["probabilities"].tolist() == (FIVE.frame * 2).tolist()


def test_one_output_needs_one_answer() -> None:
    assert outputs(methods(predict=1.5), ["variable"])["variable"].tolist() == [1.5] * 5


def test_a_transformer_answers_with_its_transformed_values() -> None:
    assert outputs(methods(transform=7.0), ["variable"])["variable"].tolist() == [7.0] * 5


def test_the_second_answer_is_the_first_available_of_probabilities_decision_scores_transform() -> None:
    order = ["predict_proba", "decision_function", "score_samples", "transform"]
    for place in range(len(order)):
        made = methods(predict=0.0, **{name: float(number) for number, name in enumerate(order) if number >= place})
        assert outputs(made, ["label", "scores"])["scores"].tolist() == [float(place)] * 5
    assert list(outputs(methods(predict=0.0), ["label", "scores"])) == ["label"]


def test_outputs_unknown_to_the_estimator_are_left_out() -> None:
    assert list(outputs(Classifier(), ["label", "probabilities", "path"])) == ["label", "probabilities"]


def compared(expected: dict[str, Array], actual: dict[str, Array]) -> tuple[Compared, list[str]]:
    found, worst = compare(FIVE, expected, actual, "sample", tolerances(expected, alone=False))
    return found, [row.row for row in worst]


def test_equal_answers_differ_in_no_row() -> None:
    assert compared({"label": LABELS}, {"label": LABELS}) == (
        Compared(rows=5, differing=0, max_abs_difference=0.0),
        [],
    )


def test_a_row_differs_if_any_of_its_outputs_differs() -> None:
    scores = np.zeros((5, 2))
    other_label, other_score = LABELS.copy(), scores.copy()
    other_label[1], other_score[3, 1] = 9, 0.5
    found = compared({"label": LABELS, "s": scores}, {"label": other_label, "s": other_score})
    assert (found[0].rows, found[0].differing, found[0].max_abs_difference) == (5, 2, 0.5)
    assert found[1] == ["sample 1", "sample 3"]


def test_numbers_within_tolerance_are_equal_and_their_difference_is_still_reported() -> None:
    want = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    within = OF_SPREAD * spread(want)
    assert compared({"v": want}, {"v": want + 0.9 * within})[0].differing == 0
    found, _ = compared({"v": want}, {"v": want + 1.2 * within})
    assert found.differing == 5
    assert found.max_abs_difference == pytest.approx(1.2 * within)
    assert found.max_spreads == pytest.approx(1.2 * OF_SPREAD)
    assert compared({"v": want}, {"v": want - 3.0})[0].max_abs_difference == pytest.approx(3.0)


def test_the_largest_difference_is_over_all_outputs_and_labels_have_none() -> None:
    found, _ = compared(
        {"a": np.zeros(5), "b": np.zeros(5), "label": LABELS},
        {"a": np.full(5, 3.0), "b": np.full(5, 2.0), "label": LABELS + 100},
    )
    assert found.max_abs_difference == 3.0


def test_a_column_and_a_flat_array_of_the_same_numbers_are_equal() -> None:
    assert compared({"v": np.arange(5.0)}, {"v": np.arange(5.0).reshape(5, 1)})[0].differing == 0
    assert compared({"v": np.arange(5.0).reshape(5, 1)}, {"v": np.arange(5.0)})[0].differing == 0


def test_an_answer_of_another_size_differs_in_every_row() -> None:
    found, _ = compared({"v": np.zeros(5)}, {"v": np.zeros((5, 2))})
    assert (found.differing, found.max_abs_difference) == (5, 0.0)


def test_a_missing_number_on_both_sides_is_equal_and_changes_no_difference() -> None:
    want = np.array([np.nan, 1.0, 2.0, 3.0, 4.0])
    got = want + np.array([0, 0, 0, 0, 0.5])
    found, _ = compared({"v": want}, {"v": got})
    assert (found.differing, found.max_abs_difference) == (1, 0.5)
    nothing = np.full(5, np.nan)
    assert compared({"v": nothing}, {"v": nothing})[0].max_abs_difference == 0.0


def test_zero_rows_are_compared_without_an_error() -> None:
    empty = SampleFrame(np.zeros((0, 2)), ("a", "b"), as_matrix=True)
    found, worst = compare(empty, {"v": np.zeros(0)}, {"v": np.zeros(0)}, "sample", {"v": np.zeros(())})
    assert (found, worst) == (Compared(rows=0, differing=0, max_abs_difference=0.0), [])


def test_a_worst_row_shows_its_inputs_and_both_answers() -> None:
    got = LABELS.copy()
    got[2] = 7
    _, (row,) = compare(FIVE, {"label": LABELS}, {"label": got}, "boundary", {})
    assert (row.row, row.inputs) == ("boundary 2", {"a": "4.0", "b": "5.0"})
    assert (row.expected, row.actual) == ({"label": "0"}, {"label": "7"})


def test_only_the_first_few_differing_rows_are_shown() -> None:
    rows = SampleFrame(np.zeros((20, 1)), ("a",), as_matrix=True)
    found, worst = compare(rows, {"v": np.zeros(20)}, {"v": np.ones(20)}, "sample", {"v": np.zeros(())})
    assert (found.differing, len(worst)) == (20, MAX_WORST)
    assert [row.row for row in worst] == [f"sample {number}" for number in range(MAX_WORST)]


def test_a_model_without_an_estimator_passes_the_gate_on_its_rows_alone() -> None:
    evidence = no_reference(12)
    nothing = Compared(rows=0, differing=0, max_abs_difference=0.0)
    assert (evidence.reference, evidence.precision, evidence.worst) == ("none", "as pushed", ())
    assert evidence.sample == Compared(rows=12, differing=0, max_abs_difference=0.0)
    assert evidence.boundary == nothing
    assert judge_parity(evidence).passed
    assert "nothing could be compared" in judge_parity(evidence).detail
    assert not judge_parity(no_reference(0)).passed


def test_the_tolerance_is_that_of_float32() -> None:
    assert (RESOLUTION, OF_SPREAD, MAX_WORST) == (1e-6, 1e-4, 5)
