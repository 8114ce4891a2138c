"""A search under a device's limits (1 MB, 50 us) compared with FLAML's best without limits, at the same time budget.

Three data sets that scikit-learn brings. A quarter of each is held out of both searches; both are scored on it. FLAML
needs its own environment that EDGEWARD_FLAML_PYTHON names, because its dependencies conflict with the pins;
without it the comparison is with scikit-learn's HistGradientBoosting and its defaults, and the table says so. The
controller is found as by `edgeward`; the forms are measured on its machine. EDGEWARD_AUTOML_MINUTES (default 2) is the
time of each search.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.table import Row

MINUTES = float(os.environ.get("EDGEWARD_AUTOML_MINUTES", "2"))
FLAML = os.environ.get("EDGEWARD_FLAML_PYTHON", "")
SEED = 1
GOAL_POINTS = 1.0
"""Points of accuracy, or of R2, that may be lost by the limits."""
_SCRIPT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from flaml import AutoML
train, test, task, seconds = sys.argv[1:]
train, test = pd.read_csv(train), pd.read_csv(test)
search = AutoML()
metric = "accuracy" if task == "classification" else "r2"
search.fit(train.drop(columns="target"), train.target, task=task, metric=metric, time_budget=float(seconds), seed=1,
           n_jobs=1, verbose=0)
answers = search.predict(test.drop(columns="target"))
from sklearn.metrics import accuracy_score, r2_score
score = accuracy_score(test.target, answers) if task == "classification" else r2_score(test.target, answers)
print(json.dumps({"score": float(score), "by": search.best_estimator}))
"""


def measure() -> list[Row]:
    """Searches each data set with both: three times twice MINUTES."""
    rows: list[Row] = []
    for name, frame, task in _frames():
        train, test = _split(frame, task)
        ours = _ours(train, test, name)
        yardstick, by = _flaml(train, test, task) if FLAML else _defaults(train, test, task)
        points, unit = 100 * ours["score"], "points of accuracy" if task == "classification" else "points of R2"
        lost = 100 * yardstick - points
        rows += [
            Row(f"{name}: points lost to the limits", lost, 100 * yardstick, unit, by, GOAL_POINTS, absolute=True),
            Row(f"{name}: {ours['family']} as ONNX", ours["bytes"], 1e6, "bytes", "limit", 1.0),
            Row(f"{name}: one row, median", ours["us"], 50.0, "us", "limit", 1.0),
            Row(f"{name}: trials", ours["trials"], ours["measured"], "trials", "measured"),
        ]
    return rows


def _frames() -> list[tuple[str, Any, str]]:
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    found = []
    for name, load, task in (
        ("breast cancer", load_breast_cancer, "classification"),
        ("digits", load_digits, "classification"),
        ("diabetes", load_diabetes, "regression"),
    ):
        frame = load(as_frame=True).frame
        frame.columns = [str(column).replace(" ", "_") for column in frame.columns]
        found.append((name, frame, task))
    return found


def _split(frame: Any, task: str) -> tuple[Any, Any]:
    from sklearn.model_selection import train_test_split

    labels = frame.target if task == "classification" else None
    train, test = train_test_split(frame, test_size=0.25, random_state=SEED, stratify=labels)
    return train, test


def _ours(train: Any, test: Any, name: str) -> dict[str, Any]:
    from edgeward.automl.scoring import score_of
    from edgeward.automl.search import search

    with tempfile.TemporaryDirectory() as runs:
        model = name.replace(" ", "-")
        found = search(train, target="target", minutes=MINUTES, seed=SEED, name=model, directory=Path(runs))
    best = found.best
    assert best is not None, "nothing keeps to 1 MB and 50 us"
    score = score_of(found.rows.task, test.target.to_numpy(), best.pipeline.predict(test.drop(columns="target")))
    measured = sum(each.state == "measured" for each in found.trials)
    return {
        "score": score, "bytes": best.size_bytes, "us": best.latency_us_p50, "family": best.family,
        "trials": len(found.trials), "measured": measured,
    }  # fmt: skip


def _flaml(train: Any, test: Any, task: str) -> tuple[float, str]:
    with tempfile.TemporaryDirectory() as directory:
        paths = [str(Path(directory) / f"{name}.csv") for name in ("train", "test")]
        for frame, path in zip((train, test), paths, strict=True):
            frame.to_csv(path, index=False)
        command = [FLAML, "-c", _SCRIPT, *paths, task, str(60 * MINUTES)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300 + 120 * MINUTES)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["score"], f"FLAML ({found['by']})"


def _defaults(train: Any, test: Any, task: str) -> tuple[float, str]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    model = kind(random_state=SEED).fit(train.drop(columns="target"), train.target)
    return float(model.score(test.drop(columns="target"), test.target)), "HistGradientBoosting, defaults"
