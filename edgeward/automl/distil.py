"""A teacher from the user: its answers on each fold, with which students are fitted and compared.

Decides that the teacher is fitted again on the rows of each fold, so that no score is computed on rows that the teacher
has seen. Source: Bucila, Caruana, Niculescu-Mizil, "Model compression", KDD 2006. Refuses to know how students are
searched.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from edgeward.automl.folds import Rows
from edgeward.automl.scoring import score_of


class Teacher:
    """An estimator whose answers students learn."""

    def __init__(self, estimator: Any) -> None:
        """`estimator`: scikit-learn's interface, fitted or not. BadInput `request_invalid` for anything else."""
        if not hasattr(estimator, "get_params") or not hasattr(estimator, "predict"):
            words = f"{type(estimator).__name__} is no scikit-learn estimator: a teacher needs get_params and predict"
            raise BadInput(Code.REQUEST_INVALID, words)
        self.estimator = estimator
        self.score = 0.0
        """Mean over the folds, against the true target."""
        self._folds: list[tuple[Any, Any]] = []
        self._all: Any = None

    def learn(self, rows: Rows) -> None:
        """Fits the teacher on each fold and on all rows, and keeps its answers."""
        scores = []
        for fit, score in rows.folds:
            fitted = self._fitted(rows, fit)
            answers = [np.asarray(fitted.predict(rows.features.iloc[part])) for part in (fit, score)]
            self._folds.append((answers[0], answers[1]))
            scores.append(score_of(rows.task, rows.target[score], answers[1]))
        self._all = np.asarray(self._fitted(rows, np.arange(len(rows.target))).predict(rows.features))
        self.score = float(np.mean(scores))

    def answers(self, fold: int) -> tuple[Any, Any]:
        """Returns (answers to the rows for fitting, to those for scoring) of a fold."""
        return self._folds[fold]

    @property
    def answers_to_all(self) -> Any:
        """Returns the answers to all rows, with which the final student is fitted."""
        return self._all

    def _fitted(self, rows: Rows, positions: Any) -> Any:
        from sklearn.base import clone

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return clone(self.estimator).fit(rows.features.iloc[positions], rows.target[positions])
            except Exception as error:  # an estimator may raise anything
                words = f"the teacher cannot be fitted on these rows: {type(error).__name__}: {error}"
                raise BadInput(Code.REQUEST_INVALID, words[:400]) from None


def read_teacher(path: Path) -> Teacher:
    """A teacher from a .skops file. BadInput `request_invalid`, `estimator_untrusted` with the types that it names."""
    import skops.io

    if path.suffix != ".skops" or not path.is_file():
        raise BadInput(Code.REQUEST_INVALID, f"{path}: a teacher is a .skops file (skops.io.dump); a pickle is code")
    if foreign := skops.io.get_untrusted_types(file=path):
        words = (
            f"{path} holds types that are not known as safe: {', '.join(foreign[:5])}; pass a live estimator instead"
        )
        raise BadInput(Code.ESTIMATOR_UNTRUSTED, words)
    return Teacher(skops.io.load(path))
