"""Recording in the estimator's environment: test rows, its answers, tolerances by spread, few distinct rows."""

from typing import Any

import numpy as np
import pytest

from contract.answers.asked import ask, ask_each, methods_of, plain
from contract.answers.distinct import MIN_DISTINCT_ROWS, refuse_few
from contract.answers.perturbed_rows import (
    AWKWARD_TEXT,
    BOUNDARY,
    EMPTY_TEXT,
    FAR_OUT,
    INTEGERS,
    LACKING_NUMBERS,
    LACKING_TEXT,
    NEXT_NUMBER,
    THRESHOLD,
    UNKNOWN_TEXT,
    ZERO,
    groups_of,
    perturb,
    runs_of,
)
from contract.answers.recorded import Recorded, decode_recorded, encode_recorded
from contract.answers.tree_thresholds import thresholds_of
from contract.errors import BadInput, Code
from contract.golden import join_golden, mismatched_rows, with_tolerances
from contract.samples import encode_sample
from contract.tensors import Array
from contract.tolerance import OF_SPREAD, spread, tolerance
from firmware_sim.models import make_model

COLUMNS: dict[str, Array] = {
    "t": np.array([1.0, 2.0, 4.0, np.nan] * 20),
    "h": np.linspace(0.0, 1.0, 80),
    "n": np.array([1, 5, 9, 5] * 20),
    "site": np.array(["a", "b", "c", None] * 20, dtype=object),
}


def of_kind(kind: str, thresholds: dict[int, Array] | None = None) -> dict[str, Array]:
    made = perturb(COLUMNS, thresholds)
    assert isinstance(made.rows, dict)
    return {name: column[made.kinds == kind] for name, column in made.rows.items()}


def test_every_kind_of_column_has_its_rows_and_the_same_sample_gives_the_same_rows() -> None:
    first, again = perturb(COLUMNS, {0: np.array([1.5])}), perturb(COLUMNS, {0: np.array([1.5])})
    texts = (UNKNOWN_TEXT, EMPTY_TEXT, AWKWARD_TEXT, LACKING_TEXT)
    assert set(first.kinds) == {BOUNDARY, THRESHOLD, NEXT_NUMBER, ZERO, FAR_OUT, INTEGERS, *texts, *LACKING_NUMBERS}
    for name in COLUMNS:
        np.testing.assert_array_equal(first.rows[name].astype(str), again.rows[name].astype(str))  # type: ignore[index]


def test_boundary_rows_lie_midway_between_neighbouring_values() -> None:
    assert set(of_kind(BOUNDARY)["t"].tolist()) == {1.5, 3.0}


def beside(number: Any) -> set[float]:
    """A number and both neighbours of it in its own type."""
    return {float(number), *(float(np.nextafter(number, type(number)(side))) for side in (-np.inf, np.inf))}


def test_rows_at_a_threshold_lie_on_it_and_beside_it_in_the_types_in_which_readings_come() -> None:
    at = np.float32(1.5)
    exact = of_kind(THRESHOLD, {0: np.array([float(at)])})["t"]
    assert set(exact.tolist()) == beside(at), "float32 holds every reading of this column"
    at = np.float32(0.3)
    both = of_kind(THRESHOLD, {1: np.array([float(at)])})["h"]
    assert set(both.tolist()) == beside(at) | beside(np.float64(at))


def test_numbers_that_float32_cannot_hold_are_tried_at_the_next_one() -> None:
    moved = of_kind(NEXT_NUMBER)["h"]
    assert {float(each) for each in np.float32(moved)} <= {float(each) for each in np.float32(COLUMNS["h"])}
    assert not set(moved.tolist()) & set(COLUMNS["h"].tolist())


def test_integers_between_and_beyond_those_of_the_sample_are_tried() -> None:
    assert set(of_kind(INTEGERS)["n"].tolist()) == {3, 7, 0, 10, 16}


def test_texts_that_programs_split_differently_are_tried() -> None:
    changed = of_kind(AWKWARD_TEXT)["site"].tolist()
    assert any("é" in cell for cell in changed)
    assert set(of_kind(EMPTY_TEXT)["site"].tolist()) == {""}
    assert not set(of_kind(UNKNOWN_TEXT)["site"].tolist()) & set("abc")


def test_a_missing_number_is_tried_in_every_column_and_the_samples_own_pattern_is_repeated() -> None:
    one = of_kind(LACKING_NUMBERS[0])
    lacking = np.stack([np.isnan(one["t"]), np.isnan(one["h"])])
    assert (lacking.sum(axis=0) == 1).all()
    assert lacking.any(axis=1).all()
    own = of_kind(LACKING_NUMBERS[-1])
    assert np.isnan(own["t"]).all()
    assert not np.isnan(own["h"]).any()
    assert set(of_kind(LACKING_TEXT)["site"].tolist()) == {None}


def test_rows_of_one_kind_are_asked_together_and_rows_with_a_missing_number_by_column() -> None:
    made = perturb(COLUMNS)
    groups = groups_of(made)
    assert groups[0] == (0, int((made.kinds == BOUNDARY).sum()))
    one = [start for start, _ in groups if made.kinds[start] == LACKING_NUMBERS[0]]
    assert len(one) == 2  # t and h


def test_a_matrix_stays_a_matrix_of_its_type() -> None:
    made = perturb(np.arange(12, dtype=np.float32).reshape(6, 2))
    assert isinstance(made.rows, np.ndarray)
    assert (made.rows.dtype, made.rows.shape) == (np.float32, (len(made.kinds), 2))


class Picky:
    """Answers its only column, and refuses rows below zero."""

    def predict(self, rows: Array) -> Array:
        if (rows < 0).any():
            raise ValueError("below zero")
        return rows[:, 0]


def test_refused_rows_are_asked_alone_and_all_others_are_answered() -> None:
    rows = np.array([[1.0], [-2.0], [3.0], [4.0], [-5.0]])
    answers, answered = ask_each(lambda start, stop: ask(Picky(), rows[start:stop]), [[(0, 5)]], 5)
    assert answered.tolist() == [True, False, True, True, False]
    assert answers["predict"].tolist() == [1.0, 3.0, 4.0]


def test_a_run_of_groups_is_asked_once_and_its_groups_only_if_it_is_refused() -> None:
    rows, asked = np.array([[1.0], [2.0], [3.0], [4.0], [-5.0], [6.0]]), list[tuple[int, int]]()

    def note(start: int, stop: int) -> dict[str, Array]:
        asked.append((start, stop))
        return ask(Picky(), rows[start:stop])

    answers, answered = ask_each(note, [[(0, 1), (1, 3)], [(3, 4), (4, 5), (5, 6)]], 6)
    assert asked == [(0, 3), (3, 6), (3, 4), (4, 5), (5, 6)]
    assert answered.tolist() == [True] * 4 + [False, True]
    assert answers["predict"].tolist() == [1.0, 2.0, 3.0, 4.0, 6.0]


def test_rows_with_values_removed_for_the_test_form_their_own_run() -> None:
    made = perturb(COLUMNS)
    whole, lacking = runs_of(made)
    assert [*whole, *lacking] == groups_of(made)
    assert {str(made.kinds[start]) for start, _ in lacking} == {*LACKING_NUMBERS, LACKING_TEXT}
    assert not {str(made.kinds[start]) for start, _ in whole} & {*LACKING_NUMBERS, LACKING_TEXT}


def test_answers_become_arrays_and_methods_are_called_in_their_order() -> None:
    assert plain(np.array([True, False])).tolist() == [1, 0]
    assert plain(np.array(["a", "b"], dtype=object)).dtype.kind == "U"
    assert methods_of(Picky()) == ("predict",)
    assert methods_of(object()) == ()


def test_recorded_answers_are_read_back_unchanged_and_a_sample_without_answers_is_read_too() -> None:
    sample = {"a": np.arange(3.0), "b": np.array(["x", None, "z"], dtype=object)}
    recorded = Recorded(
        answers={"predict": np.arange(3)},
        rows=sample,
        kinds=np.array(["zero"] * 3),
        answered=np.array([True, False, True]),
        row_answers={"predict": np.arange(2)},
        libraries={"scikit-learn": "1.5.2"},
    )
    found, back = decode_recorded(encode_recorded(encode_sample(sample), recorded))
    assert isinstance(found, dict)
    assert found["b"].tolist() == ["x", None, "z"]
    assert back is not None
    assert back.libraries == {"scikit-learn": "1.5.2"}
    assert back.row_answers["predict"].tolist() == [0, 1]
    assert decode_recorded(encode_sample(sample))[1] is None


def test_recorded_answers_that_do_not_fit_their_rows_are_refused() -> None:
    sample = {"a": np.arange(3.0)}
    wrong = Recorded({"predict": np.arange(2)}, sample, np.array(["zero"] * 3), np.ones(3, dtype=bool), {})
    with pytest.raises(BadInput, match="do not fit") as caught:
        decode_recorded(encode_recorded(encode_sample(sample), wrong))
    assert caught.value.code == Code.TENSORS_INVALID


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_the_tolerance_is_a_fraction_of_the_spread_at_every_scale(scale: float) -> None:
    output = np.linspace(-1, 1, 201) * scale
    assert tolerance(output, alone=True) == pytest.approx(OF_SPREAD * spread(output))
    assert tolerance(output, alone=True) < 1e-3 * scale


def test_a_few_extreme_rows_do_not_widen_the_tolerance() -> None:
    output = np.linspace(-1, 1, 1001)
    output[:5] = 1e6
    assert spread(output) < 1.0


def test_each_target_of_a_regression_has_its_own_tolerance() -> None:
    outputs = np.stack([np.linspace(0, 1e5, 100), np.linspace(0, 1e-3, 100)], axis=1)
    large, small = tolerance(outputs, alone=True)
    assert small < 1e-6
    assert large > 1.0


def test_a_device_counts_rows_by_the_tolerances_of_the_golden_set() -> None:
    manifest = make_model(1, "good").manifest
    name, want = manifest.outputs[0].name, np.linspace(0, 1e-4, 50)
    arrays = join_golden({}, {name: want}) | with_tolerances({name: want}, alone=True)
    off = want + 1e-5  # a tenth of all that the output varies by: the manifest's own tolerance does not see it
    assert mismatched_rows([want], [off], manifest.golden, arrays, manifest) == 50
    assert mismatched_rows([want], [off], manifest.golden, {}, manifest) == 0


def test_too_few_distinct_rows_are_refused_regardless_of_their_count() -> None:
    refuse_few(np.arange(float(MIN_DISTINCT_ROWS)).reshape(-1, 1))
    with pytest.raises(BadInput, match="3 distinct rows"):
        refuse_few({"a": np.array([1.0, 2.0, 3.0] * 100)})


class Scaler:
    """Doubles each column, and has an inverse."""

    def inverse_transform(self, rows: Array) -> Array:
        return rows / 2


class OneSplit:
    """An estimator with one split of its second column at 3."""

    class tree_:  # noqa: N801 - scikit-learn's name
        children_left, children_right = np.array([1, -1, -1]), np.array([2, -1, -1])
        feature, threshold = np.array([1, -2, -2]), np.array([3.0, -2.0, -2.0])


def test_thresholds_of_trees_behind_a_scaler_are_found_too() -> None:
    steps: Any = type("Steps", (), {"steps": [("scale", Scaler()), ("tree", OneSplit())]})()
    assert thresholds_of(OneSplit(), 2)[1].tolist() == [3.0]
    assert thresholds_of(steps, 2)[1].tolist() == [1.5]
    steps.steps.insert(0, ("unknown", object()))
    assert thresholds_of(steps, 2) == {}
