"""Two years of hourly weather in Beijing, and whether the air was dirty: real rows with real drift.

Decides which rows v1 was trained on: one winter. Refuses to know what happens to v1. Source and licence: NOTICE.md.
"""

from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.held_out import HeldOut
from edgeward.retraining.candidate import with_never_forget

LABEL, TIME = "dirty", "time"
TRAINED_UNTIL = "2010-03-01"
HELD_OUT_UNTIL = "2010-03-15"
TURNS = "2011-04-17"
"""The beginning of the second spring. v1 knows winters only."""
NEVER_FORGET_ROWS = 200
FOREST = {"n_estimators": 30, "max_depth": 10, "min_samples_leaf": 5, "random_state": 0}


def load_air(path: Path | None = None) -> Any:
    """The rows as a DataFrame in the order of time; `path` another file of the same columns."""
    import pandas as pd

    with as_file(files("edgeward.demo.loop") / "air.csv.gz") as shipped:
        found = pd.read_csv(path or shipped)
    found[TIME] = pd.to_datetime(found[TIME])
    return found


def inputs_of(rows: Any) -> Any:
    """What the model sees of the rows, float32 of shape (rows, 9)."""
    return rows.drop(columns=[TIME, LABEL]).to_numpy(np.float32)


def labels_of(rows: Any) -> Any:
    """Whether the air was dirty, int64 of shape (rows,)."""
    return rows[LABEL].to_numpy(np.int64)


def train_on(rows: Any) -> Any:
    """A forest that was fitted on the rows."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**FOREST).fit(inputs_of(rows), labels_of(rows))


def held_out_of(rows: Any, trained_until: datetime) -> HeldOut:
    """Rows for the gates, with their times."""
    return HeldOut(inputs_of(rows), labels_of(rows), rows[TIME].to_numpy(), trained_until.timestamp())


def train_on_one_winter() -> tuple[Any, Any, HeldOut]:
    """Returns (v1, rows for its conversion, the held-out rows)."""
    rows = load_air()
    known = rows[rows[TIME] < TRAINED_UNTIL]
    held = rows[(rows[TIME] >= TRAINED_UNTIL) & (rows[TIME] < HELD_OUT_UNTIL)]
    return train_on(known), inputs_of(known), held_out_of(held, known[TIME].iloc[-1])


def never_forget() -> Any:
    """Returns the fixed set: the rows of the first winter on which a model of that winter is most
    certain, and right.
    """
    rows = load_air()
    first = rows[rows[TIME] < TRAINED_UNTIL]
    sure = train_on(first).predict_proba(inputs_of(first))
    right = sure.argmax(axis=1) == labels_of(first)
    order = np.argsort(-np.where(right, sure.max(axis=1), 0), kind="stable")
    return first.iloc[np.sort(order[:NEVER_FORGET_ROWS])]


def with_winter(newest: HeldOut, fixed: Any) -> HeldOut:
    """Held-out rows together with the fixed set."""
    return with_never_forget(newest, inputs_of(fixed), labels_of(fixed))
