"""Evidently's and NannyML's defaults on the streams of `benchmarks.drift`, in their own environment.

`PYTHON benchmarks/drift_yardsticks.py FOLDER`, where PYTHON has nannyml and evidently; prints a line of JSON for each
series. Chunks are weeks, the reference is the training sample, and everything else has the libraries' defaults.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MONTH_DAYS = 30.4
WITHIN = 0.03
MOST_ROWS = 10_000
MOST_WEEKS = 120
"""The most weeks for Evidently: of a longer series it gets about half as many weeks, spread evenly."""
MOST_WEEKLY = 1_000
"""Rows of the reference and of a week: Evidently takes a second for each week, for any rows."""


def main() -> None:
    warnings.filterwarnings("ignore")
    os.environ |= {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}  # both would send usage data to their makers
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        stream = np.load(path)
        found = {**_tried(_nannyml, stream), **_tried(_evidently, stream)}
        print(json.dumps([str(stream["name"]), found]), flush=True)


def _tried(measure: Callable[[Any], dict[str, float]], stream: Any) -> dict[str, float]:
    try:
        return measure(stream)
    except Exception as error:  # a library that fails on one stream is reported, not fatal
        print(f"{stream['name']}: {measure.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
        return {}


def _frames(stream: Any) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """(reference, what came after, months)."""
    columns = [str(each) for each in stream["columns"]]
    before = pd.DataFrame(stream["sample"], columns=columns)
    before["p"], before["y_pred"] = stream["sample_confidence"], 1
    before["y_true"] = stream["sample_right"].astype(int)
    step = max(1, len(before) // MOST_ROWS)
    after = pd.DataFrame(stream["rows"], columns=columns)
    after["p"], after["y_pred"], after["y_true"] = stream["confidence"], 1, stream["right"].astype(int)
    after["week"], after["day"] = stream["day"] // 7, stream["day"]
    after = after.groupby("week", group_keys=False).sample(frac=1.0, random_state=0)
    after = after[after.groupby("week").cumcount() < MOST_WEEKLY].sort_values("day").reset_index(drop=True)
    return before.iloc[::step].reset_index(drop=True), after, float(stream["day"][-1] + 1) / MONTH_DAYS


def _nannyml(stream: Any) -> dict[str, float]:
    import nannyml

    before, after, months = _frames(stream)
    columns = [str(each) for each in stream["columns"]]
    truth = pd.DataFrame({"right": stream["right"], "week": stream["day"] // 7}).groupby("week")["right"].mean()
    after["at"] = pd.Timestamp("2020-01-06") + pd.to_timedelta(after["day"], unit="D")
    before["at"] = pd.Timestamp("2019-01-07") + pd.to_timedelta(np.linspace(0, 363, len(before)).astype(int), unit="D")
    after = after.drop(columns=["week", "day"])
    quality = nannyml.CBPE(
        problem_type="classification_binary",
        y_pred_proba="p",
        y_pred="y_pred",
        y_true="y_true",
        timestamp_column_name="at",
        chunk_period="W",
        metrics=["accuracy"],
    )
    quality.fit(before)
    told = quality.estimate(after).filter(period="analysis").to_df()
    value, alert = told["accuracy", "value"].to_numpy(float), told["accuracy", "alert"].to_numpy(bool)
    both = min(len(value), len(truth))
    drift = nannyml.UnivariateDriftCalculator(column_names=columns, timestamp_column_name="at", chunk_period="W")
    drift.fit(before)
    moved = drift.calculate(after).filter(period="analysis").to_df()
    alerts = [column for column in moved.columns if column[-1] == "alert"]
    return {
        "nannyml_quality": float(alert.sum()) / months,
        "nannyml_near": float((np.abs(value[:both] - truth.to_numpy()[:both]) <= WITHIN).mean()),
        "nannyml_drift": float(moved[alerts].any(axis=1).sum()) / months,
    }


def _evidently(stream: Any) -> dict[str, float]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    before, after, months = _frames(stream)
    columns = [str(each) for each in stream["columns"]]
    definition = DataDefinition(numerical_columns=columns)
    reference = Dataset.from_pandas(before[columns], data_definition=definition)
    alarms, weeks = 0, sorted(after["week"].unique())
    looked_at = weeks if len(weeks) <= MOST_WEEKS else weeks[:: -(-len(weeks) // (MOST_WEEKS // 2))]
    for number in looked_at:
        week = after[after["week"] == number]
        current = Dataset.from_pandas(week[columns], data_definition=definition)
        told = json.loads(Report([DataDriftPreset()]).run(current, reference).json())
        first = next(
            metric
            for metric in told["metrics"]
            if "DriftedColumnsCount" in str(metric.get("metric_name", metric.get("metric_id")))
        )
        alarms += first["value"]["count"] > 0
    return {"evidently_drift": alarms / len(looked_at) * len(weeks) / months}


if __name__ == "__main__":
    main()
