"""A backtest: what each fit may learn, which span it takes, and which rows are evidence."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from contract.errors import BadInput, Code
from edgeward.held_out import HeldOut
from edgeward.retraining.backtest import backtest
from edgeward.retraining.candidate import with_never_forget

DAYS = 40
TIMES = np.arange(DAYS * 4) * 21_600.0  # four rows a day
ROWS = np.arange(len(TIMES), dtype=np.float64).reshape(-1, 1)
DAY_S = 86_400.0


class Newest:
    """A model that answers the number of the newest row it has learned, and notes what it has learned."""

    seen: list[tuple[int, int]]

    def __init__(self, seen: list[tuple[int, int]]) -> None:
        self.seen = seen

    def fit(self, rows: Any, labels: Any) -> "Newest":
        made = Newest(self.seen)
        self.seen.append((int(rows[0][0]), int(rows[-1][0])))
        made.newest = int(rows[-1][0])
        return made

    newest = -1

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self.newest)


def test_each_answer_is_of_a_fit_that_has_learned_only_rows_before_its_fold() -> None:
    seen: list[tuple[int, int]] = []
    found = backtest(Newest(seen).fit, ROWS, np.zeros(len(ROWS)), TIMES, fold_s=10 * DAY_S, folds=3)
    held = found.held_out
    assert held.answers.tolist() == [39] * 40 + [79] * 40 + [119] * 40
    assert (np.asarray(held.times) > np.asarray(held.fitted_until)).all()
    assert seen == [(0, 39), (0, 79), (0, 119), (0, 159)]
    assert (found.model.newest, found.fits, found.first) == (159, 4, 0)


def test_the_same_folds_are_found_again_when_rows_have_come() -> None:
    first: list[tuple[int, int]] = []
    second: list[tuple[int, int]] = []
    for seen, count in ((first, 150), (second, 155)):
        backtest(Newest(seen).fit, ROWS[:count], np.zeros(count), TIMES[:count], fold_s=10 * DAY_S, folds=3)
    assert first[:-1] == second[:-1]


def test_rows_that_the_champion_has_learned_are_no_evidence_and_cost_no_fit() -> None:
    seen: list[tuple[int, int]] = []
    found = backtest(Newest(seen).fit, ROWS, np.zeros(len(ROWS)), TIMES, fold_s=10 * DAY_S, since=float(TIMES[99]))
    assert np.asarray(found.held_out.times)[0] == TIMES[100]
    assert seen == [(0, 99), (0, 119), (0, 159)]


def test_a_fold_takes_the_span_that_was_best_in_the_folds_before_it() -> None:
    class Span:
        def __init__(self, length: int) -> None:
            self.length = length

        def predict(self, rows: Any) -> Any:
            return np.full(len(rows), self.length)

    labels = np.full(len(ROWS), 8)
    made = backtest(lambda rows, labels: Span(len(rows)), ROWS, labels, TIMES, fold_s=10 * DAY_S, folds=3, spans=(4, 8))
    assert made.held_out.answers.tolist() == [4] * 40 + [8] * 80
    assert (made.model.length, made.first, made.fits) == (8, 152, 7)


def test_a_regression_takes_the_span_with_the_smaller_error() -> None:
    class Mean:
        def __init__(self, labels: Any) -> None:
            self.mean = float(np.mean(labels))

        def predict(self, rows: Any) -> Any:
            return np.full((len(rows), 1), self.mean)

    grows = np.arange(len(ROWS), dtype=np.float64)
    made = backtest(
        lambda rows, labels: Mean(labels), ROWS, grows, TIMES, fold_s=10 * DAY_S, folds=2, spans=(None, 8),
        classifies=False,
    )  # fmt: skip
    assert made.first == 152


def test_frames_are_divided_by_row_and_dates_are_times() -> None:
    frame = pd.DataFrame({"a": ROWS[:, 0]})
    at = pd.to_datetime(TIMES, unit="s")
    found = backtest(
        lambda rows, labels: Newest([]).fit(rows.to_numpy(), labels), frame, pd.Series(np.zeros(len(frame))), at,
        fold_s=10 * DAY_S, folds=1,
    )  # fmt: skip
    assert list(found.held_out.rows.columns) == ["a"]
    assert found.held_out.trained_until == TIMES[-1]


def test_rows_without_an_older_row_to_learn_are_refused() -> None:
    with pytest.raises(BadInput, match="4 rows have no fold of 864000 s with older rows to learn") as refused:
        backtest(Newest([]).fit, ROWS[:4], np.zeros(4), TIMES[:4], fold_s=10 * DAY_S)
    assert refused.value.code == Code.SAMPLE_MISSING


def test_answers_of_a_backtest_come_with_the_time_until_which_their_fits_have_learned() -> None:
    with pytest.raises(BadInput, match="answers of a backtest need fitted_until"):
        HeldOut(ROWS, np.zeros(len(ROWS)), TIMES, 0.0, answers=np.zeros(len(ROWS))).encode()


def test_the_fixed_set_has_no_answers_of_the_backtest() -> None:
    newest = HeldOut(ROWS[:3], np.zeros(3), TIMES[:3], 9.0, answers=np.ones(3), fitted_until=np.zeros(3))
    both = with_never_forget(newest, ROWS[:2], np.ones(2))
    assert len(both.answers) == len(both.fitted_until) == len(both.rows) == 5
    both.encode()
