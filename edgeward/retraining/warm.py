"""Fits a candidate from the champion's fitted estimator if that kind can, and reports how the training started.

Decides which kinds can, how much of a forest is replaced, and why a fit started from scratch. Steps before the
estimator in a pipeline stay as in the champion. Refuses to know where the champion's file is from (`kept`) and
whether the candidate is good: the gates judge it as any other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code

RENEWED_PART = 0.25
"""The fraction of a forest's trees that is replaced, oldest first: four retrainings replace all, and the size stays."""
ADDED_PART = 0.2
"""The trees that boosting adds, as a fraction of its first trees."""
MAX_GROWTH = 2.0
"""The growth after which boosting starts from scratch, as a multiple of its first size: devices hold every tree."""
EPOCHS = 5
"""The default number of passes over the rows, for an estimator that learns in passes."""
LIBRARIES = ("sklearn.", "numpy.", "scipy.", "builtins.", "collections.")
"""Libraries whose types a champion's file may hold, in addition to those that skops trusts."""


@dataclass(frozen=True)
class Start:
    """How the training of a candidate started: evidence for its run and its version."""

    warm: bool
    how: str
    """`partial_fit`, `new trees`, `more trees`, `warm_start`; from scratch: `fit`."""
    epochs: int = 0
    """Passes over the rows; 0: the estimator does not learn in passes."""
    trees: int = 0
    """The number of trees that were fitted."""
    why: str = ""
    """The reason why it started from scratch."""

    def __str__(self) -> str:
        """Returns the start in words, without the champion's number."""
        if not self.warm:
            return f"cold: {self.why}"
        if self.epochs or self.trees:
            return f"{self.how}, epochs: {self.epochs}" if self.epochs else f"{self.how}: {self.trees}"
        return f"{self.how}, from its weights"


def fit_from(warm_from: str, estimator: Any, rows: Any, labels: Any, *, epochs: int = EPOCHS) -> tuple[Any, Start]:
    """Returns (a fitted estimator, how it began).

    `warm_from` is the parameter of that name that the worker hands to a pipeline: the file of the champion's
    estimator, or nothing. `estimator` is fitted from scratch if the champion's cannot continue: an estimator or a
    Pipeline, whose parameters the champion must have. `rows` (rows, features), `labels` (rows,): for estimators
    that learn in passes the newest rows suffice; new trees need as many rows as the trees that they replace. The
    numbers of the start become metrics of the run that is open. ValueError for less than one epoch.
    """
    if epochs < 1:
        raise ValueError(f"{epochs} epochs: expected at least 1")
    model, start = _begun(warm_from, estimator, rows, labels, epochs)
    _note(start)
    return model, start


def _begun(warm_from: str, estimator: Any, rows: Any, labels: Any, epochs: int) -> tuple[Any, Start]:
    champion, start = _gone_on(warm_from, estimator, rows, labels, epochs)
    if champion is not None and start.warm:
        return champion, start
    from sklearn.base import clone

    return clone(estimator).fit(rows, labels), start


def _gone_on(warm_from: str, estimator: Any, rows: Any, labels: Any, epochs: int) -> tuple[Any, Start]:
    """Returns (the champion's estimator after it continued, how), or (an unused value, why it did not)."""
    if not warm_from:
        return None, _cold("no estimator of the champion is here")
    try:
        champion = read_champion(Path(warm_from))
    except BadInput as error:
        return None, _cold(error.detail)
    last = _last(champion)
    go_on = next((way for kinds, way in _WAYS if _is_any(last, kinds)), None)
    if go_on is None and hasattr(last, "partial_fit"):
        go_on = _by_partial_fit
    if go_on is None:
        return None, _cold(f"{type(last).__name__} cannot go on from what it has learnt")
    if why := _other(champion, estimator, rows) or _strange_label(last, labels):
        return None, _cold(why)
    return champion, go_on(last, _last(estimator), _before_last(champion, rows), labels, epochs)


def _cold(why: str) -> Start:
    return Start(warm=False, how="fit", why=why[:200])


def read_champion(path: Path) -> Any:
    """The estimator of a file. BadInput `request_invalid`, `estimator_untrusted` with the types that it names."""
    import skops.io

    try:
        named = skops.io.get_untrusted_types(file=path)
        if foreign := [each for each in named if not each.startswith(LIBRARIES)]:
            raise BadInput(Code.ESTIMATOR_UNTRUSTED, f"the champion's file holds {', '.join(foreign[:5])}")
        return skops.io.load(path, trusted=named)
    except BadInput:
        raise
    except Exception as error:  # zip, JSON and skops' own errors: a damaged file raises any of them
        words = f"the champion's file cannot be read: {type(error).__name__}: {error}"
        raise BadInput(Code.REQUEST_INVALID, words[:200]) from None


def _other(champion: Any, estimator: Any, rows: Any) -> str:
    """Returns why the champion differs from the pipeline's estimator, or learnt from other columns; empty if
    neither.
    """
    if _described(champion) != _described(estimator):
        return "the pipeline asks for another estimator, or for other parameters, than the champion has"
    columns, known = getattr(rows, "columns", None), getattr(champion, "feature_names_in_", None)
    if columns is not None and known is not None and list(columns) != list(known):
        return "the rows have other columns than the champion has learnt from"
    if rows.shape[1] != champion.n_features_in_:
        return f"the rows have {rows.shape[1]} columns, and the champion has learnt from {champion.n_features_in_}"
    return ""


def _described(estimator: Any) -> list[tuple[str, str]]:
    """Kinds and parameters of an estimator and its parts, without those that a warm start itself changes."""
    parts = [each for _, each in estimator.steps] if hasattr(estimator, "steps") else [estimator]
    ours = ("warm_start", "n_estimators")
    kept = [{name: text for name, text in each.get_params().items() if name not in ours} for each in parts]
    return [(type(part).__name__, repr(sorted(params.items()))) for part, params in zip(parts, kept, strict=True)]


def _last(estimator: Any) -> Any:
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def _before_last(champion: Any, rows: Any) -> Any:
    return champion[:-1].transform(rows) if hasattr(champion, "steps") and len(champion.steps) > 1 else rows


def _strange_label(last: Any, labels: Any) -> str:
    """Returns why the champion cannot learn these labels; empty if it can."""
    import numpy as np

    known = getattr(last, "classes_", None)
    missing: Any = () if known is None else np.setdiff1d(np.asarray(labels), known)
    return f"the champion does not know the label {missing[0]}" if len(missing) else ""


def _is_any(last: Any, names: frozenset[str]) -> bool:
    """Names of classes in scikit-learn: a user's class with the same name does not count."""
    return type(last).__name__ in names and type(last).__module__.startswith("sklearn.")


def _by_partial_fit(last: Any, fresh: Any, rows: Any, labels: Any, epochs: int) -> Start:
    passes = epochs if "max_iter" in fresh.get_params() else 1  # counters of rows would count them twice
    try:
        for _ in range(passes):
            last.partial_fit(rows, labels)
    except ValueError as error:  # such as a network that stops early
        return _cold(f"{type(last).__name__}: {error}")
    return Start(warm=True, how="partial_fit", epochs=passes)


def _by_new_trees(last: Any, fresh: Any, rows: Any, labels: Any, _: int) -> Start:
    known = len(getattr(last, "classes_", ()))
    if known > len(set(labels)):
        return _cold(f"{known - len(set(labels))} labels that the champion knows are not in the rows")
    count = fresh.n_estimators
    new = max(1, round(RENEWED_PART * count))
    last.estimators_ = last.estimators_[-(count - new) :] if count > new else []
    last.set_params(warm_start=True, n_estimators=len(last.estimators_) + new).fit(rows, labels)
    last.set_params(warm_start=fresh.warm_start)
    return Start(warm=True, how="new trees", trees=new)


def _by_more_trees(last: Any, fresh: Any, rows: Any, labels: Any, _: int) -> Start:
    new = max(1, round(ADDED_PART * fresh.n_estimators))
    if last.n_estimators + new > MAX_GROWTH * fresh.n_estimators:
        return _cold(f"{last.n_estimators} trees are {MAX_GROWTH:g} times as many as anew")
    last.set_params(warm_start=True, n_estimators=last.n_estimators + new).fit(rows, labels)
    last.set_params(warm_start=fresh.warm_start)
    return Start(warm=True, how="more trees", trees=new)


def _by_weights(last: Any, fresh: Any, rows: Any, labels: Any, _: int) -> Start:
    last.set_params(warm_start=True).fit(rows, labels)
    last.set_params(warm_start=fresh.warm_start)
    return Start(warm=True, how="warm_start")


_WAYS: tuple[tuple[frozenset[str], Callable[[Any, Any, Any, Any, int], Start]], ...] = (
    (
        frozenset({"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}),
        _by_new_trees,
    ),
    (frozenset({"GradientBoostingClassifier", "GradientBoostingRegressor"}), _by_more_trees),
    (frozenset({"LogisticRegression"}), _by_weights),
)
"""Kinds whose warm start is right on other rows. Histogram boosting makes new bins for those, and its old trees
refer to the old bins: it starts from scratch.
"""


def _note(start: Start) -> None:
    """Logs the numbers of the start for the open run of this process."""
    from edgeward.runs.run import current_run

    if (opened := current_run()) is not None:
        opened.log_metrics(
            {"warm_start": float(start.warm), "warm_epochs": float(start.epochs), "warm_trees": float(start.trees)}
        )
