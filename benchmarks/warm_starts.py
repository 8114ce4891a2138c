"""Cold against warm starts on one real stream: Beijing air, a retraining every eight weeks, by the code of the worker.

Cold: from scratch on the two preceding tenths of the stream. Warm: from the model before. A network learns from the
newest eight weeks; the new trees of a forest from as many rows as those that they replace, because a fitted tree
cannot learn more: on only eight weeks the accuracy of the forest was .56. Each is judged on the eight weeks that
follow; accuracy and seconds of processor are means over all retrainings.
"""

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.loop_streams import Stream, streams
from benchmarks.loop_world import DAY_S
from benchmarks.table import Row
from edgeward.retraining.warm import fit_from

EVERY_S = 56 * DAY_S
KINDS = {
    "network": make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=20, random_state=0)),
    "forest": RandomForestClassifier(12, max_depth=10, min_samples_leaf=5, random_state=0),
}


def measure() -> list[Row]:
    """Retrains two kinds of estimators through the life of the stream: two minutes on one core."""
    stream = next(each for each in streams() if each.name == "Beijing air")
    rows = []
    for name, estimator in KINDS.items():
        cold, warm = _lived(stream, estimator, warm=False), _lived(stream, estimator, warm=True)
        rows.append(Row(f"{name}: accuracy after a warm start", warm[0], cold[0], "", "cold"))
        rows.append(Row(f"{name}: seconds of a warm training", warm[1], cold[1], "s", "cold", 1.0))
    return rows


def _lived(stream: Stream, estimator: Any, *, warm: bool) -> tuple[float, float]:
    """(mean accuracy over the time after each retraining, mean seconds of a training)."""
    count = len(stream.at)
    marks = np.searchsorted(stream.at, np.arange(stream.at[count // 5], stream.at[-1] + EVERY_S, EVERY_S))
    right, seconds = [], []
    with tempfile.TemporaryDirectory() as directory:
        kept = Path(directory) / "champion.skops"
        for number, (now, end) in enumerate(pairwise(int(mark) for mark in marks)):
            newest_suffice = warm and number > 0 and hasattr(estimator, "steps")
            first = int(marks[number - 1]) if newest_suffice else max(0, now - 2 * (count // 10))
            began = time.process_time()
            model, start = fit_from(
                str(kept) if warm and number else "", estimator, stream.rows[first:now], stream.labels[first:now]
            )
            took = time.process_time() - began
            assert start.warm == (warm and number > 0), start
            if number:
                seconds.append(took)
                right.append(model.predict(stream.rows[now:end]) == stream.labels[now:end])
            skops.io.dump(model, kept)
    return float(np.concatenate(right).mean()), float(np.mean(seconds))
